"""kill -9 at any moment of somebody's transactions: the user's rows and the entities agree."""

import random
import subprocess
import sys
import time

import pytest

VICTIM = """
import random, sys
from pystator import Orchestrator, StateMachine, create_state_store

url, start = sys.argv[1], int(sys.argv[2])
machine = StateMachine.from_dict({
    "meta": {"machine_name": "order", "version": "1.0"},
    "states": [{"name": "new", "type": "initial"}],
    "transitions": [
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]}
    ],
})
if url.startswith("sqlite"):
    import sqlite3
    connection, mark = sqlite3.connect(url.removeprefix("sqlite:///")), "?"
else:
    import psycopg
    connection, mark = psycopg.connect(url, application_name="victim"), "%s"
orders = Orchestrator(machine, create_state_store(url).connect())
print("ready", flush=True)
luck = random.Random(start)
for number in range(start, start + 100_000):
    for entity in range(luck.randint(1, 3)):
        key = f"{number}-{entity}"
        connection.execute(f"INSERT INTO orders VALUES ({mark}, {entity})", (key,))
        orders.process_event(f"o-{entity}", "note", event_id=key, connection=connection)
    if luck.random() < 0.2:
        connection.rollback()
    else:
        connection.commit()
"""

KILLS = [3, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])]


@pytest.mark.parametrize("kills", KILLS)
def test_the_users_rows_and_the_entities_agree_after_each_kill(shop, orders, kills):
    luck = random.Random()
    for kill in range(kills):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, shop.url, str(kill * 100_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert victim.stdout.readline() == "ready\n"
            time.sleep(luck.random() * 0.3)
        finally:
            victim.kill()
            victim.communicate()
        shop.wait_for_the_end_of("victim")
        bought = shop.orders()
        for entity in range(3):
            mine = sorted(key for key in bought if key.endswith(f"-{entity}"))
            found = orders.get_entity(f"o-{entity}")
            history = shop.store.history(f"o-{entity}", limit=100_000).items
            known = [row.event_id for row in history if row.success]
            assert sorted(known) == mine
            assert [row.version for row in history if row.success] == [*range(1, len(mine) + 1)]
            assert (0 if found is None else found.context["notes"]) == len(mine)

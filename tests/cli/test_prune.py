"""``pystator db prune``: by a given age, or as the machines say; what is left is a history still."""

import os
import pty
import subprocess
import sys

import pytest

from pystator.orchestrator.replay import replay
from pystator.stores.sqlite import SQLiteStateStore
from pystator.testing.building import change

MACHINE = """
meta: {{machine_name: {name}, version: "1.0"{more}}}
states: [{{name: new, type: initial}}, {{name: paid}}]
transitions:
  - {{trigger: pay, source: new, dest: paid}}
  - {{trigger: note, source: paid, dest: paid, actions: [{{increment: n}}]}}
"""
RETENTION = ", retention: {history: 7d, dedup_window: 1d}"
NOW = 1_700_000_000_000_000
DAY = 86_400_000_000


@pytest.fixture
def orders(tmp_path):
    """A database with rows of 1970 and of this moment, and a machine that keeps none that old."""
    (tmp_path / "order.yaml").write_text(MACHINE.format(name="order", more=RETENTION))
    (tmp_path / "plain.yaml").write_text(MACHINE.format(name="plain", more=""))
    url = f"sqlite:///{tmp_path / 'pystator.db'}"
    with SQLiteStateStore(url, clock=lambda: DAY) as store:
        for name in ("a", "b"):
            for machine in ("order", "plain"):
                store.commit([change(name, machine=machine, steps=4, state="paid")])
    with SQLiteStateStore(url) as store:
        store.commit([change("a", machine="order", after=4, state="paid")])
    return url


def rows(url, entity_id="a", machine="order"):
    with SQLiteStateStore(url) as store:
        found = store.history(entity_id, machine_name=machine).items
        [entity] = [
            each
            for each in store.entities(machine_name=machine).items
            if each.entity_id == entity_id
        ]
        assert replay(found) == (entity.state, entity.context)
        return [(row.version, str(row.kind)) for row in found]


def test_one_row_is_told_in_the_singular(cli, tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'pystator.db'}"
    with SQLiteStateStore(url, clock=lambda: DAY) as store:
        store.commit([change("a", machine="order", state="paid")])
    answer = cli("db", "prune", "--older-than", "90d", "--force", url)
    assert answer.out == "1 row of 1 entity deleted, 1 snapshot in its place\n"


def test_an_age_is_given(cli, orders) -> None:
    answer = cli("db", "prune", "--older-than", "90d", "--force")
    assert (answer.code, answer.out) == (
        0,
        "16 rows of 4 entities deleted, 4 snapshots in their place\n",
    )
    assert (
        "every machine: rows of 90d and older, event ids known for 30d (--older-than)" in answer.err
    )
    assert rows(orders) == [(4, "snapshot"), (5, "event")]
    again = cli("db", "prune", "--older-than", "90d", "--force", orders)
    assert (again.code, again.out) == (0, "nothing to prune\n")


def test_only_a_machine_by_its_name_or_file(cli, orders) -> None:
    assert "8 rows of 2" in cli("db", "prune", "--older-than", "1h", "-m", "plain", "--force").out
    assert rows(orders)[0] == (1, "event")
    assert (
        "8 rows of 2" in cli("db", "prune", "--older-than", "1h", "-m", "order.yaml", "--force").out
    )


def test_a_file_says_how_long(cli, orders) -> None:
    answer = cli("db", "prune", "-m", "order.yaml", "--force")
    assert answer.out == "8 rows of 2 entities deleted, 2 snapshots in their place\n"
    assert "order: rows of 7d and older, event ids known for 1d (order.yaml)" in answer.err
    assert rows(orders, machine="plain")[0] == (1, "event")


def test_stored_machines_say_how_long(cli, orders, tmp_path) -> None:
    from pystator.definition.load import load_file
    from pystator.stores.named import newest_machines

    with SQLiteStateStore(orders) as store:
        for version, name in (("0.9", "plain"), ("1.0", "order"), ("1.0", "plain")):
            definition = load_file(tmp_path / f"{name}.yaml")
            config = str(definition.config).replace("'", '"')
            store.parts[0].writer().execute(
                "INSERT INTO machines (name, version, fingerprint, definition, created_at)"
                " VALUES (?, ?, '', ?, ?)",
                (name, version, config, NOW),
            )
        newest = newest_machines(store)
    assert {name: machine.version for name, machine in newest.items()} == {
        "order": "1.0",
        "plain": "1.0",
    }
    answer = cli("db", "prune", "--force", "--json", "--dedup-window", "2h")
    assert answer.json == {
        "database": orders,
        "dry_run": False,
        "policies": [
            {
                "machine_name": "order",
                "history": "7d",
                "dedup_window": "2h",
                "origin": "stored version 1.0",
            }
        ],
        "rows": 8,
        "entities": 2,
        "snapshots": 2,
        "kept": 0,
        "interrupted": False,
    }
    assert cli("db", "prune", "-m", "order", "--force").out == "nothing to prune\n"


def test_nobody_says_how_long(cli, orders) -> None:
    answer = cli("db", "prune", "--force")
    assert answer.code == 1
    assert "give --older-than 90d" in answer.err
    answer = cli("db", "prune", "-m", "plain.yaml", "--force")
    assert answer.code == 1
    assert "write meta: {retention: {history: 90d}}" in answer.err
    assert rows(orders)[0] == (1, "event")


def test_it_asks_first_and_a_dry_run_does_not(cli, orders) -> None:
    answer = cli("db", "prune", "--older-than", "90d", stdin="n\n")
    assert (answer.code, "nothing was deleted" in answer.err) == (1, True)
    answer = cli("db", "prune", "--older-than", "90d", "--dry-run")
    assert answer.out == "16 rows of 4 entities would be deleted, 4 snapshots in their place\n"
    assert rows(orders)[0] == (1, "event")
    answer = cli("db", "prune", "--older-than", "90d", "--batch", "3", stdin="y\n")
    assert answer.out == "16 rows of 4 entities deleted, 4 snapshots in their place\n"


def test_what_stays_for_its_id_is_said(cli, orders) -> None:
    with SQLiteStateStore(orders) as store:
        store.commit([change("c", steps=2, event_id="i")])
    answer = cli("db", "prune", "--older-than", "1ms", "-m", "m", "--force")
    assert answer.out == "nothing to prune\n2 older rows stay: their event ids are still known\n"


@pytest.mark.parametrize("age", ["90", "0d", "soon", "-3d", "1.5d", "99999999d", ""])
def test_an_age_that_is_none_is_refused(cli, orders, age) -> None:
    answer = cli("db", "prune", "--older-than", age, "--force")
    assert answer.code == 2
    assert "write a whole number with d, h, m or s, e.g. 90d" in answer.err.replace("\n", " ")


def test_a_database_that_is_not_there_is_an_answer(cli) -> None:
    answer = cli("db", "prune", "--older-than", "90d", "--force")
    assert answer.code == 1
    assert "pystator db init" in answer.err


def test_history_shows_the_snapshot(cli, orders) -> None:
    cli("db", "prune", "--older-than", "90d", "--force")
    lines = cli("history", "a", "-m", "order").out.splitlines()
    assert lines[2].split() == [
        "4", "1970-01-01", "00:00:00", "(snapshot)", "paid", "pruned", "up", "to", "here:",
    ]  # fmt: skip
    assert lines[3].split()[0] == "5"
    view = cli("history", "a", "-m", "order", "--json").json["history"]
    assert [row["kind"] for row in view] == ["snapshot", "event"]


INTERRUPTED = """
import os, signal, sys
from pystator.stores.sqlite import SQLiteStateStore
from pystator.cli.app import main

before = SQLiteStateStore.prune_rows
def prune_rows(self, cuts):
    os.kill(os.getpid(), signal.SIGINT)
    return before(self, cuts)
SQLiteStateStore.prune_rows = prune_rows
sys.argv = ["pystator", "db", "prune", "--older-than", "90d", "--force", "--batch", "2"]
main()
"""


def test_ctrl_c_stops_between_two_batches(cli, orders, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "stopped; run it again for the rest" in done.stderr
    assert "2 rows of 1 entity deleted" in done.stdout
    assert rows(orders)[-2:] == [(4, "snapshot"), (5, "event")]
    assert "14 rows of 4" in cli("db", "prune", "--older-than", "90d", "--force").out
    assert rows(orders) == [(4, "snapshot"), (5, "event")]


def test_a_terminal_sees_how_far_it_is(orders, tmp_path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pystator", "db", "prune", "--older-than", "90d", "--force"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm"} | {"NO_COLOR": ""},
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    try:
        while chunk := os.read(leader, 4096):
            seen += chunk
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(leader)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.decode()) == (
        0,
        "16 rows of 4 entities deleted, 4 snapshots in their place\n",
    )
    assert b"pruning" in seen

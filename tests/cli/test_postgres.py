"""Every command that works on entities, with its entities in PostgreSQL."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MACHINE = """
meta: {machine_name: order, version: "1.0"}
states:
  - {name: placed, type: initial, timeout: {seconds: 0.001, destination: expired}}
  - {name: paid}
  - {name: expired, type: terminal}
transitions:
  - {trigger: pay, source: placed, dest: paid, guards: [{expr: "amount > 0"}], actions: [{timestamp: paid_at}]}
  - {trigger: note, source: placed, dest: placed, internal: true}
  - {trigger: pay, source: paid, dest: paid, internal: true, actions: [{increment: extra}]}
"""


@pytest.fixture
def shop(
    cli: Callable[..., Any], tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """The command; the database is named by the environment, and a machine is in ``order.yaml``."""
    (tmp_path / "order.yaml").write_text(MACHINE)
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", postgres_url)

    def run(*words: object, code: int = 0, **options: Any) -> Any:
        answer = cli(*words, **options)
        assert answer.code == code, answer
        return answer

    return run


def test_events_are_sent_shown_and_listed(shop: Callable[..., Any]) -> None:
    machine = ("--machine", "order.yaml")
    sent = shop("send", "order-1", "pay", "amount=5", "--event-id", "e-1", "--json", *machine).json
    assert sent["target_state"] == "paid"
    again = shop("send", "order-1", "pay", "amount=5", "--event-id", "e-1", "--json", *machine).json
    assert again["replayed"]
    refused = shop("send", "order-2", "pay", "amount=0", *machine, code=1)
    assert "amount > 0" in refused.out + refused.err
    shown = shop("show", "order-1", "--json").json
    assert (shown["state"], shown["version"]) == ("paid", 1)
    assert "pay" in shop("history", "order-1").out
    assert "order-1" in shop("entities", "--state", "paid").out
    assert "order-1" not in shop("entities", "--state", "placed").out
    assert "paid" in shop("graph", "order.yaml", "--entity", "order-1").out
    shop("apply", "order-1", "note=late", *machine)
    assert shop("show", "order-1", "--json").json["context"]["note"] == "late"


def test_a_file_of_events_is_processed_and_again_without_effect(
    shop: Callable[..., Any], tmp_path: Path
) -> None:
    lines = [
        {
            "entity_id": f"order-{n % 20}",
            "trigger": "pay",
            "event_id": f"e-{n}",
            "context": {"amount": 1},
        }
        for n in range(200)
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = ("process", "--machine", "order.yaml", "--events", "events.jsonl", "--json")
    first, second = shop(*words).json, shop(*words).json
    assert (first["applied"], second["applied"]) == (200, 0)
    assert shop("show", "order-7", "--json").json["version"] == 10


def test_due_timers_are_fired(shop: Callable[..., Any]) -> None:
    shop("send", "order-1", "note", "--machine", "order.yaml")
    deadline = time.monotonic() + 10
    while "order-1" not in (told := shop("fire", "--machine", "order.yaml")).out:
        assert time.monotonic() < deadline
    assert "order-1  placed → expired" in told.out
    assert shop("show", "order-1", "--json").json["state"] == "expired"


def test_a_stored_machine_runs(shop: Callable[..., Any]) -> None:
    shop("db", "seed")
    assert shop("send", "o-1", "nonsense", "--machine", "order", code=1)
    assert "order@1.0" in shop("send", "o-1", "x", "--machine", "ordre", code=1).err


def test_a_database_without_tables_is_answered_by_the_command(
    cli: Callable[..., Any], empty_postgres_url: str
) -> None:
    """A command that only reads makes nothing."""
    answer = cli("show", "order-1", "--db", empty_postgres_url)
    assert answer.code == 1
    assert "pystator db init postgresql://" in answer.err

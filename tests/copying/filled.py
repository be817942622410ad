"""Stores with something in them, and what two stores have in common."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pystator.records import EntryKind, Key, Lookup, OutcomeKind, StoredMachine
from pystator.testing.building import change, note


def put(store: Any, *commits: Any) -> None:
    """Commit one after the other."""
    for commit in commits:
        [outcome] = store.commit([commit])
        assert outcome.kind is OutcomeKind.APPLIED, outcome


def fill(store: Any) -> list[Key]:
    """Entities of several machines under one id, an archived one, timers, traces, event ids, machines."""
    put(
        store,
        change("a", context={"n": 1, "x": {"deep": [1.5, None]}}, event_id="i1", actor="ada"),
        change("a", after=1, state="left+right", timers={"t": (5_000, 2)}, history={"box": ["up"]}),
        note("a", version=2, event_id="i2", error_code="guard_rejected", error_message="no\n"),
        note("a", version=1, kind=EntryKind.ACTION, ref=1),
        replace(change("a", machine="n", context={"other": True}), archived_at=77),
        change("b", steps=3, event_id="j", payload={"p": "é\x00"}, trace="00-ab-cd-01"),
        note("nobody", version=0, event_id="k"),
        change("é %{}", machine="", trigger=None, kind=EntryKind.SET),
    )
    for version in ("1.0", "1.1"):
        store.save_machine(
            StoredMachine("order", version, f"f{version}", "An order", '{"a": 1}', 5)
        )
    return [("a", "m"), ("a", "n"), ("b", "m"), ("nobody", "m"), ("é %{}", "")]


def rows_of(store: Any, key: Key) -> list[Any]:
    """The rows of a key without their ids."""
    rows = store.history(key[0], machine_name=key[1], limit=100_000).items
    return [replace(row, id=0) for row in rows]


def contents(store: Any, keys: Iterable[Key]) -> list[Any]:
    """What a store has of these keys."""
    return [(store.load([Lookup(*key)])[0].entity, rows_of(store, key)) for key in keys]


def machines_of(store: Any) -> list[StoredMachine]:
    """All machines."""
    return store.stored_machines(limit=1_000).items

"""What the tests of replication share: rich rows of one store, and two stores compared field by field."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from pystator.records import EntryKind, Lookup, Parcel
from pystator.testing.building import change, note


def rich(store) -> None:
    """Two machines under one id, every column in use, a run of events, rejections before there is an entity."""
    store.commit(
        [
            note(
                "a",
                version=0,
                event_id="early",
                error_message="no\x00 \x1f\x1e\x01 \U0001f600",
                error_code="x",
            )
        ]
    )
    store.commit(
        [
            change(
                "a",
                context={
                    "n": Decimal("1.10"),
                    "at": datetime(2026, 1, 2, tzinfo=UTC),
                    "\x00": "\U0001f600",
                    "big": 10**30,
                },
                patch=({"n": Decimal("1.10")}, ()),
                history={"p": ["q"]},
                timers={"t": (5_000, 1), "u": (4_000, 1)},
                payload={"x": b"\x00\xff"},
                actions=({"name": "act", "params": {"k": 1}},),
                event_id="i" * 200,
                actor="me",
                occurred_at=77,
                duration_us=12,
                request_hash="h" * 32,
            ),
            replace(
                change("a", machine="other", steps=3, state="p+q", event_id="run"), archived_at=88
            ),
            change("b", context={}, trace="00-ab-cd-01"),
            note("never", version=0),
        ]
    )
    store.commit(
        [change("a", after=1, state=None, timers={}, context=None, now=2_000, event_id="é" * 255)]
    )
    store.commit([note("a", version=2, kind=EntryKind.ACTION, ref=2)])


KEYS = [("a", "m"), ("a", "other"), ("b", "m"), ("never", "m")]


def key_rows(store, key):
    rows = []
    after = None
    while True:
        page = store.history(key[0], machine_name=key[1], after=after, limit=100)
        rows += page.items
        after = page.next
        if after is None:
            return rows


def parcel(store, key, *, base=0, after=None, rows=None) -> Parcel:
    """Everything of one key as a parcel."""
    entity = store.load([Lookup(*key)])[0].entity
    return Parcel(*key, entity, tuple(key_rows(store, key) if rows is None else rows), base, after)


def contents(store, keys):
    """Entities and rows without their ids, as texts: everything a store says of these keys."""
    said = {}
    for key in keys:
        entity = store.load([Lookup(*key)])[0].entity
        rows = key_rows(store, key)
        for row in rows:
            row.id = 0
        said[key] = (repr(entity), [repr(row) for row in rows])
    return said


def all_keys(store):
    """Keys that have rows."""
    keys = []
    after = None
    while True:
        page = store.prune_keys(after, 1_000)
        if not page:
            return keys
        keys += [key for key, _ in page]
        after = page[-1][0]

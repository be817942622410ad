"""What an event would do is what it then does, and asking changes nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from pystator import InMemoryStateStore, InvalidValueError, Orchestrator, StateMachine

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
MACHINE = {
    "meta": {"machine_name": "parcel", "version": "1"},
    "states": [
        {"name": "packed", "type": "initial"},
        {"name": "sent", "on_enter": ["call"]},
        {"name": "lost"},
    ],
    "transitions": [
        {"trigger": "send", "source": "packed", "dest": "sent", "guards": ["paid"],
         "actions": [{"set": {"by": "post"}}]},
        {"trigger": "find", "source": "lost", "dest": "packed"},
        {"after": "2d", "source": "sent", "dest": "lost"},
    ],
}  # fmt: skip


class Hook:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_before_process(self, *_) -> None:
        self.heard.append("before")

    def on_transition_start(self, *_) -> None:
        self.heard.append("start")


def made(guard, calls, hook):
    machine = StateMachine.from_dict(MACHINE)
    store = InMemoryStateStore()
    actions = {"call": lambda ctx: calls.append(dict(ctx))}
    return store, Orchestrator(machine, store, {"paid": guard}, actions, hooks=[hook])


def test_it_says_what_the_event_then_does_and_does_nothing() -> None:
    calls, hook = [], Hook()
    store, shop = made(lambda ctx: ctx.get("paid", False), calls, hook)
    told = shop.dry_run("a", "send", {"paid": True}, now=START)
    assert (store.load_one("a", "parcel"), calls, hook.heard) == (None, [], [])
    assert store.history("a").items == []
    done = shop.process_event("a", "send", {"paid": True}, now=START)
    assert told.to_dict() == done.to_dict()
    assert told.row is not None
    assert done.row is not None
    assert (told.version, told.row.patch) == (done.version, done.row.patch)


def test_a_rejection_is_told_and_recorded_nowhere() -> None:
    store, shop = made(lambda ctx: False, [], Hook())
    told = shop.dry_run("a", "send")
    assert (told.success, told.reason) == (False, "guard_rejected")
    assert store.history("a").items == []


def test_due_timers_fire_before_it_on_paper_only() -> None:
    store, shop = made(lambda ctx: True, [], Hook())
    shop.process_event("a", "send", now=START)
    later = START + timedelta(days=3)
    told = shop.dry_run("a", "find", now=later)
    assert (told.source_state, told.target_state, told.version) == ("lost", "packed", 3)
    assert store.load_one("a", "parcel").state == "sent"


async def slow(ctx) -> bool:
    return bool(ctx.get("paid"))


@pytest.mark.parametrize("paid", [True, False])
def test_async_guards_are_awaited(paid) -> None:
    import asyncio

    _, shop = made(slow, [], Hook())
    told = asyncio.run(shop.async_dry_run("a", "send", {"paid": paid}))
    assert told.success is paid


def test_every_result_has_its_row() -> None:
    """What a result says of its row is what history keeps."""
    store, shop = made(lambda ctx: True, [], Hook())
    results = [
        shop.create_entity("a", {"x": 1}),
        shop.process_event("a", "find"),
        shop.process_event("a", "send", event_id="1"),
        shop.process_event("a", "send", event_id="1"),
        shop.force_state("a", "lost", reason="lost", actor="ada"),
        shop.apply_data("a", {"y": 2}),
        shop.archive("a", reason="old", actor="ada"),
    ]
    rows = store.history("a").items

    def told(row):
        return row.kind, row.version, row.trigger, row.patch, row.target_state, row.event_id

    rows_of = [result.row for result in results]
    assert None not in rows_of
    kept = [told(row) for row in rows if row.kind != "action"]
    assert sorted(map(told, rows_of), key=str) == sorted([*kept, told(results[2].row)], key=str)


@pytest.mark.parametrize(
    ("entity_id", "context"), [("x" * 256, {}), ("a\x00", {}), ("a", {"paid": {1}})]
)
def test_what_could_not_be_stored_is_refused(entity_id, context) -> None:
    _, shop = made(lambda ctx: True, [], Hook())
    for ask in (shop.dry_run, shop.process_event):
        with pytest.raises(InvalidValueError):
            ask(entity_id, "send", context)

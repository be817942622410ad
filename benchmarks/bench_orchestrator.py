"""Whole events over the memory store, history included; SQLite stands in its own file.

The floor of one event is the engine's: a step on two dictionaries with a result of three slots. It
keeps nothing, while the case loads, decides, commits with a version and appends a row of history.
"""

import asyncio

from floors import Row, compare
from pystator import InMemoryStateStore, Orchestrator, StateMachine

MACHINE = {
    "meta": {"machine_name": "door", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "shut", "source": "open", "dest": "shut"},
        {"trigger": "open", "source": "shut", "dest": "open"},
        {"trigger": "count", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
    ],
}


class Small:
    """What the floor answers with."""

    __slots__ = ("context", "success", "target_state")

    def __init__(self, success, target_state, context):
        self.success = success
        self.target_state = target_state
        self.context = context


TABLE = {"open": {"shut": "shut", "count": "open"}, "shut": {"open": "open", "count": "shut"}}


def step(state, trigger, context):
    return Small(True, TABLE[state][trigger], context)


def floor():
    """Two steps."""
    step("open", "shut", {})
    step("shut", "open", {})


def run() -> list[Row]:
    """The rows of this benchmark."""
    machine = StateMachine.from_dict(MACHINE)
    one = Orchestrator(machine, InMemoryStateStore())
    one.process_event("door-1", "count")

    def pair():
        one.process_event("door-1", "shut")
        one.process_event("door-1", "open")

    def payload():
        one.process_event("door-1", "count", {"by": "ada"})
        one.process_event("door-1", "count", {"by": "bob"})

    number = iter(range(10**9))

    def identified():
        one.process_event("door-1", "count", event_id=str(next(number)))
        one.process_event("door-1", "count", event_id=str(next(number)))

    def refused():
        one.process_event("door-1", "open")
        one.process_event("door-1", "open")

    many = Orchestrator(machine, InMemoryStateStore())
    items = [(f"door-{n % 200}", "count") for n in range(1_000)]

    does = "two dictionary lookups and a result of three slots; nothing is kept"
    few = {"number": 200, "rounds": 60, "per_call": 2, "does": does}
    rows = [
        compare("event, memory with history", pair, floor, goal=0.04, **few),
        compare("event + payload + increment", payload, floor, **few),
        compare("event with event id", identified, floor, **few),
        compare("event rejected", refused, floor, **few),
    ]

    def bulk_floor():
        for _, trigger in items:
            step("open", trigger, {})

    rows.append(
        compare(
            "process_events of 1,000, per event",
            lambda: many.process_events(items),
            bulk_floor,
            does=does,
            number=1,
            rounds=30,
            per_call=1_000,
        )
    )
    rows.append(_tasks(machine, does))
    return rows


def _tasks(machine, does) -> Row:
    """64 concurrent async callers that share batches."""
    shared = Orchestrator(machine, InMemoryStateStore(), batching=True)
    loop = asyncio.new_event_loop()

    async def callers():
        calls = [shared.async_process_event(f"door-{n}", "count") for n in range(64)]
        await asyncio.gather(*calls)

    def tasks_floor():
        for _ in range(64):
            step("open", "count", {})

    try:
        return compare(
            "64 async callers, batched, per event",
            lambda: loop.run_until_complete(callers()),
            tasks_floor,
            does=does,
            number=5,
            rounds=60,
            per_call=64,
        )
    finally:
        loop.close()


if __name__ == "__main__":
    from floors import table

    print(table(run()))

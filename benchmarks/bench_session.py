"""A session: what it costs to begin one, to send it an event, and to keep it."""

import gc
import time
import tracemalloc
from collections import deque

from floors import Row, compare, table
from pystator import EntitySession, StateMachine

STATES = 50
KEPT = 1_000

MACHINE = {
    "meta": {"machine_name": "fifty", "version": "1"},
    "states": [{"name": f"s{n}", "type": "stable" if n else "initial"} for n in range(STATES)],
    "transitions": [
        *(
            {"trigger": "next", "source": f"s{n}", "dest": f"s{(n + 1) % STATES}"}
            for n in range(STATES)
        ),
        {"trigger": "count", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
    ],
}


class Floor:
    """The machine's own step, the clock, and what a session keeps; no more."""

    __slots__ = ("context", "log", "machine", "state", "times")

    def __init__(self, machine):
        self.machine = machine
        result = machine.begin({}, time.time_ns() // 1000)
        self.state = result.target_state
        self.context = result.context
        self.log = deque([result.facts], 32)
        self.times = deque([result.now], 32)

    def send(self, trigger):
        now = time.time_ns() // 1000
        result = self.machine.process(self.state, trigger, self.context)
        self.log.append(result.facts)
        self.times.append(now)
        if result.success:
            self.state = result.target_state
            self.context = result.context
        return result


def size(make) -> float:
    """Bytes that one of many takes, the list that holds them apart."""
    make()
    kept = [None] * KEPT
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for place in range(KEPT):
        kept[place] = make()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / KEPT


def run() -> list[Row]:
    """The rows of the table."""
    machine = StateMachine.from_dict(MACHINE)
    session, floor = EntitySession(machine), Floor(machine)

    def lived(events):
        def make():
            made = EntitySession(machine)
            for _ in range(events):
                made.send("next")
                made.send("count")
            return made

        return make

    def begun(kind):
        return lambda: kind(machine).send("next").success

    kilobyte = "a kilobyte"
    return [
        compare(
            "session begun", lambda: EntitySession(machine), lambda: Floor(machine),
            does="the machine's start, kept in five slots", goal=0.4, number=500, rounds=240,
        ),
        compare(
            "session begun and sent an event", begun(EntitySession), begun(Floor),
            does="the same, and an event", goal=0.4, number=500, rounds=240,
        ),
        compare(
            "session.send", lambda: session.send("next"), lambda: floor.send("next"),
            does="process, the clock, and what came of it kept", goal=0.4, number=500, rounds=240,
        ),
        compare(
            "session.send + increment", lambda: session.send("count"), lambda: floor.send("count"),
            does="process, the clock, and what came of it kept", goal=0.4, number=500, rounds=240,
        ),
        compare(
            "session.next()", lambda: session.next(),  # noqa: PLW0108 # the look-up is measured
            lambda: floor.send("next"),
            does="process, the clock, and what came of it kept", number=500, rounds=240,
        ),
        Row("bytes of a fresh session", size(lived(0)), 1024, 1, kilobyte, "B"),
        Row("bytes of one that had 1,000 events", size(lived(500)), 1024, 1, kilobyte, "B"),
    ]  # fmt: skip


if __name__ == "__main__":
    print(table(run()))

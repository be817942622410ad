"""What happens in a world before luck comes in: who sends what to whom, from which process, by which way.

A plan is data, made from a seed, so that it can be made smaller piece by piece (`simulation.shrink`).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulation.machines import MACHINES, event_of

__all__ = ["START", "CallerPlan", "Item", "Op", "Plan", "plan_of"]

START = 1_700_000_000_000_000
"""When these worlds begin, in microseconds."""

MODES = ("combined", "combined", "combined", "plain", "plain", "blocking")
"""Ways of a process: calls that share commits, calls that do not, and calls that block."""

EXTRAS = ("", "", "", "", "hooks", "newer", "strict", "scheduler")
"""What is special about a process: it has observers, a newer version of the machine, does not start missing entities, or
fires timers by itself."""

STYLES = ("any", "any", "any", "newest", "oldest")
"""Which of those that wait is answered next, for the most part."""

PACES = (0, 1_000, 1_000_000, 4_000_000, 15_000_000)
"""Microseconds that pass with each answer: from no time at all to half a timer's."""

PATIENCES = (0.0004, 0.1, 1e9, 1e9, 1e9, 1e9, 1e9)
"""Seconds, of the loop's: one more try, several, or as many as it takes."""

RATES = (0.0, 0.03, 0.1, 0.1, 0.2, 0.4)
"""How often a request meets trouble."""


_EVENTS = ("event", "batch", "pipeline", "stream", "once")
"""Calls whose events may expect a version."""


@dataclass(slots=True)
class Item:
    """One event.

    Attributes:
        tag: Its name, which its data carries into history.
        trigger: None for data alone.
        at: The time of its step, in microseconds; None for the clock's.
        expects: The version that it is to meet.
        wrong: ``"bad"``: no store can keep its data; ``"taken"``: its event id belongs to another.
    """

    entity: str
    tag: str
    trigger: str | None
    data: dict[str, Any]
    event_id: str | None
    wrong: str = ""
    at: int | None = None
    expects: int | None = None

    def __str__(self) -> str:
        name = "(data)" if self.trigger is None else self.trigger
        mark = "" if self.event_id is None else f" id={self.event_id}"
        if self.at is not None:
            mark += f" at={(self.at - START) / 1e6:+.0f}s"
        if self.expects is not None:
            mark += f" v={self.expects}"
        return f"{self.tag}:{name}>{self.entity}{mark}{' ' if self.wrong else ''}{self.wrong}"


@dataclass(slots=True)
class Op:
    """One call: ``event``, ``batch``, ``pipeline`` (calls at the same time), ``stream`` (calls that do not wait for
    each other), ``once`` (as a batch of group commit), ``create``, ``force``, ``archive``, ``unarchive`` or ``sweep``."""

    kind: str
    items: tuple[Item, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.kind, *map(str, self.items)])


@dataclass(slots=True)
class CallerPlan:
    """A caller: it makes its calls one after the other, and repeats one where that is safe."""

    name: str
    process: int
    ops: tuple[Op, ...]

    def __str__(self) -> str:
        return f"{self.name} in p{self.process}: {'; '.join(map(str, self.ops))}"


@dataclass(slots=True)
class Plan:
    """Everything but luck.

    Attributes:
        modes: The way of each process.
        extras: What is special about each, see `EXTRAS`.
        chatty: Guards and actions send events themselves.
        flights: Batches in flight of one process.
        room: Calls that a process lets wait.
        most: Events of one batch, and of one entity in it.
        skews: Microseconds by which the clock of each process jumps to and fro.
        patience: Seconds of reloading before an event is given up.
        eager: Every so many turns an answer comes in although there is still work to do; 0 never.
    """

    seed: int
    machine: str
    modes: tuple[str, ...]
    extras: tuple[str, ...]
    skews: tuple[int, ...]
    callers: tuple[CallerPlan, ...]
    rate: float = 0.0
    pace: int = 0
    style: str = "any"
    patience: float = 1e9
    flights: int = 1
    room: int = 10_000
    most: int = 256
    chatty: bool = False
    eager: int = 0

    @property
    def limit(self) -> int:
        """Steps in which everything has to be over."""
        return 400 + 100 * sum(len(op.items) or 1 for each in self.callers for op in each.ops)

    def __str__(self) -> str:
        processes = ", ".join(
            f"p{number} {mode}{extra and ' with '}{extra}"
            for number, (mode, extra) in enumerate(zip(self.modes, self.extras, strict=True))
        )
        bounds = (
            f"pace {self.pace} us, {self.flights} in flight, room for {self.room}, most {self.most}"
        )
        if self.chatty:
            bounds += ", guards and actions send events"
        lines = [
            f"machine {self.machine}; {processes}; {bounds}",
            *map(str, self.callers),
        ]
        return "\n".join(lines)


def plan_of(seed: int) -> Plan:
    """The plan of a seed: most are small, some are large."""
    luck = random.Random(seed)
    size = luck.random()
    if size < 0.08:  # wide batches
        callers, events, entities = 2, 6, 4
    elif size < 0.88:
        callers, events, entities = 2 + int(luck.random() * 2), 3, 1 + int(luck.random() ** 2 * 4)
    elif size < 0.985:
        callers, events, entities = 3 + int(luck.random() * 3), 4, 1 + int(luck.random() * 3)
    else:
        callers, events, entities = 6 + int(luck.random() * 5), 8, 2 + int(luck.random() * 3)
    machine = MACHINES[int(luck.random() * 2.3)]
    count = 1 + int(luck.random() * min(3, callers))
    plan = Plan(
        seed,
        machine,
        tuple([_any(luck, MODES) for _ in range(count)]),
        tuple([_any(luck, EXTRAS) for _ in range(count)]),
        tuple(
            [int(luck.random() * 40_000_000) if luck.random() < 0.2 else 0 for _ in range(count)]
        ),
        tuple(_callers(luck, machine, callers, count, events, [f"e{n}" for n in range(entities)])),
        _any(luck, RATES),
        _any(luck, PACES),
        _any(luck, STYLES),
        _any(luck, PATIENCES),
        eager=_any(luck, (0, 0, 2, 3)),
        flights=_any(luck, (1, 2, 2, 3)),
        room=_any(luck, (1, 2, 3, 10_000, 10_000)),
        most=_any(luck, (1, 2, 256, 256)),
        chatty=luck.random() < 0.15,
    )
    return _conditional(plan, random.Random(f"{seed} conditional"))


def _conditional(plan: Plan, luck: random.Random) -> Plan:
    """With some luck of its own: events that expect versions, entities that are put away and taken back."""
    if luck.random() < 0.15:
        for op in (op for caller in plan.callers for op in caller.ops):
            for item in op.items if op.kind in _EVENTS else ():
                if luck.random() < 0.5:
                    item.expects = int(luck.random() ** 2 * 5)
    if luck.random() < 0.1:
        plan.callers = tuple([_putting_away(each, luck) for each in plan.callers])
    return plan


def _putting_away(caller: CallerPlan, luck: random.Random) -> CallerPlan:
    ops = list(caller.ops)
    entities = sorted({item.entity for op in ops for item in op.items})
    if not entities or luck.random() < 0.5:
        return caller
    entity = _any(luck, entities)
    place = 0
    for kind in ("archive", "unarchive", "archive")[: 1 + int(luck.random() * 3)]:
        place += int(luck.random() * (len(ops) - place + 1))
        tag = f"{caller.name}{kind}{place}"
        ops.insert(place, Op(kind, (Item(entity, tag, None, {}, None),)))
        place += 1
    return CallerPlan(caller.name, caller.process, tuple(ops))


def _any(luck: random.Random, choices: Any) -> Any:
    return choices[int(luck.random() * len(choices))]


def _callers(
    luck: random.Random, machine: str, count: int, processes: int, events: int, entities: list[str]
) -> Iterator[CallerPlan]:
    first: list[Op] = []
    for number in range(count):
        name = "abcdefghijkl"[number]
        home = int(luck.random() * processes)
        if number and luck.random() < 0.08 and first:
            yield CallerPlan(name, home, tuple(first))  # the same events come to two of them
            continue
        items = list(_items(luck, machine, name, 1 + int(luck.random() * events), entities))
        ops = list(_ops(luck, items))
        yield CallerPlan(name, home, tuple(ops))
        if not first:
            other = {item.tag for op in ops if op.kind in {"create", "force"} for item in op.items}
            first = [
                Op("event", (each,))
                for each in items
                if each.event_id and not each.wrong and each.tag not in other
            ]
    if luck.random() < 0.6:
        sweeps = 1 + int(luck.random() * 3)
        yield CallerPlan("z", int(luck.random() * processes), (Op("sweep"),) * sweeps)


def _items(
    luck: random.Random, machine: str, name: str, count: int, entities: list[str]
) -> Iterator[Item]:
    with_ids = luck.random() < 0.6
    for number in range(count):
        tag = f"{name}{number}"
        trigger, data = event_of(machine, luck)
        data["tag"] = tag
        if luck.random() < 0.15:
            data["deep"] = {"list": [number]}
        item = Item(_any(luck, entities), tag, trigger, data, tag if with_ids else None)
        chance = luck.random()
        if chance < 0.02:
            item.wrong, data["bad"] = "bad", float("nan")
        elif chance < 0.05 and number and with_ids:
            item.wrong, item.event_id = "taken", f"{name}{number - 1}"
        elif chance > 0.96:
            item.at = START + int(luck.random() * 120e6 - 60e6)
        yield item


def _ops(luck: random.Random, items: list[Item]) -> Iterator[Op]:
    place = 0
    while place < len(items):
        item = items[place]
        chance = luck.random()
        if item.wrong == "taken":
            item.entity = items[place - 1].entity
            if items[place - 1].event_id is None:
                item.wrong, item.event_id = "", None
        taken = 1
        if item.wrong == "taken" or chance < 0.55:
            yield Op("event", (item,))
            if item.event_id and not item.wrong and chance > 0.48:
                yield Op("event", (item,))  # its caller has forgotten that it was answered
        elif chance < 0.62:
            yield Op("create", (item,))
        elif chance < 0.66:
            item.wrong, item.event_id, item.at = "", None, None
            yield Op("force", (item,))
        else:
            while (
                taken < 5 and place + taken < len(items) and items[place + taken].wrong != "taken"
            ):
                taken += 1
            some = tuple(items[place : place + taken])
            kind = "batch" if chance < 0.79 else "pipeline" if chance < 0.87 else "stream"
            if chance > 0.95:
                kind = "once"
            if chance > 0.76 and item.event_id is not None and kind == "batch":
                some = (*some, item)  # the same event twice in one call
            yield Op(kind, some)
        place += taken

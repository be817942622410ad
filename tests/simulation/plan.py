"""What happens in a world before luck comes in: who sends what to whom, from which process, by which way.

A plan is data, made from a seed, so that it can be made smaller piece by piece (`simulation.shrink`).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulation.machines import MACHINES, event_of

__all__ = ["CallerPlan", "Item", "Op", "Plan", "plan_of"]

MODES = ("combined", "combined", "combined", "plain", "plain", "blocking")
"""Ways of a process: calls that share commits, calls that do not, and calls that block."""

STYLES = ("any", "any", "any", "newest", "oldest")
"""Which of those that wait is answered next, for the most part."""

PACES = (0, 1_000, 1_000_000, 4_000_000, 15_000_000)
"""Microseconds that pass with each answer: from no time at all to half a timer's."""

RATES = (0.0, 0.05, 0.1, 0.2, 0.35)
"""How often a request meets trouble."""


@dataclass(slots=True)
class Item:
    """One event.

    Attributes:
        tag: Its name, which its data carries into history.
        trigger: None for data alone.
        wrong: ``"bad"``: no store can keep its data; ``"taken"``: its event id belongs to another.
    """

    entity: str
    tag: str
    trigger: str | None
    data: dict[str, Any]
    event_id: str | None
    wrong: str = ""

    def __str__(self) -> str:
        name = "(data)" if self.trigger is None else self.trigger
        mark = "" if self.event_id is None else f" id={self.event_id}"
        return f"{self.tag}:{name}>{self.entity}{mark}{' ' if self.wrong else ''}{self.wrong}"


@dataclass(slots=True)
class Op:
    """One call: ``event``, ``batch``, ``pipeline`` (calls at the same time), ``once`` (as a batch of
    group commit), ``create``, ``force`` or ``sweep``."""

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
        skews: Microseconds by which the clock of each process jumps to and fro.
        patience: Seconds of reloading before an event is given up.
        eager: Every so many turns an answer comes in although there is still work to do; 0 never.
    """

    seed: int
    machine: str
    modes: tuple[str, ...]
    skews: tuple[int, ...]
    callers: tuple[CallerPlan, ...]
    rate: float = 0.0
    pace: int = 0
    style: str = "any"
    patience: float = 1e9
    eager: int = 0

    def __str__(self) -> str:
        processes = ", ".join(f"p{number} {mode}" for number, mode in enumerate(self.modes))
        lines = [
            f"machine {self.machine}; {processes}; pace {self.pace} us",
            *map(str, self.callers),
        ]
        return "\n".join(lines)


def plan_of(seed: int) -> Plan:
    """The plan of a seed: most are small, some are large."""
    luck = random.Random(seed)
    size = luck.random()
    if size < 0.88:
        callers, events, entities = 2 + int(luck.random() * 2), 3, 1 + int(luck.random() ** 2 * 4)
    elif size < 0.985:
        callers, events, entities = 3 + int(luck.random() * 3), 4, 1 + int(luck.random() * 3)
    else:
        callers, events, entities = 6 + int(luck.random() * 5), 8, 2 + int(luck.random() * 3)
    machine = MACHINES[int(luck.random() * 2)]
    count = 1 + int(luck.random() * min(3, callers))
    return Plan(
        seed,
        machine,
        tuple([_any(luck, MODES) for _ in range(count)]),
        tuple(
            [int(luck.random() * 40_000_000) if luck.random() < 0.2 else 0 for _ in range(count)]
        ),
        tuple(_callers(luck, machine, callers, count, events, [f"e{n}" for n in range(entities)])),
        _any(luck, RATES),
        _any(luck, PACES),
        _any(luck, STYLES),
        0.0 if luck.random() < 0.1 else 1e9,
        _any(luck, (0, 0, 2, 3)),
    )


def _any(luck: random.Random, choices: Any) -> Any:
    return choices[int(luck.random() * len(choices))]


def _callers(
    luck: random.Random, machine: str, count: int, processes: int, events: int, entities: list[str]
) -> Iterator[CallerPlan]:
    for number in range(count):
        name = "abcdefghijkl"[number]
        home = int(luck.random() * processes)
        items = list(_items(luck, machine, name, 1 + int(luck.random() * events), entities))
        yield CallerPlan(name, home, tuple(_ops(luck, items)))
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
        event_id = f"{tag}" if with_ids else None
        wrong = ""
        chance = luck.random()
        if chance < 0.02:
            wrong, data["bad"] = "bad", float("nan")
        elif chance < 0.05 and number and with_ids:
            wrong, event_id = "taken", f"{name}{number - 1}"
        yield Item(_any(luck, entities), tag, trigger, data, event_id, wrong)


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
        if item.wrong or chance < 0.55:
            yield Op("event", (item,))
        elif chance < 0.62:
            yield Op("create", (item,))
        elif chance < 0.66:
            item.event_id = None
            yield Op("force", (item,))
        else:
            taken = 1
            while taken < 3 and place + taken < len(items) and not items[place + taken].wrong:
                taken += 1
            some = tuple(items[place : place + taken])
            kind = "batch" if chance < 0.8 else "pipeline" if chance < 0.94 else "once"
            if chance > 0.76 and item.event_id is not None and kind == "batch":
                some = (*some, item)  # the same event twice in one call
            yield Op(kind, some)
        place += taken

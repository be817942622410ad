"""What happens to the entities of a machine: events, data, time."""

from dataclasses import dataclass
from typing import Any

from w3c_reference.choices import Choices
from w3c_reference.reference import Outcome, Reference

__all__ = ["NOW", "Entity", "Step", "beginning", "happening"]

NOW = 1_700_000_000_000_000


@dataclass(frozen=True)
class Step:
    """One thing that happens to an entity."""

    kind: str  # start, event, fire, apply or place
    name: str = ""
    data: dict[str, Any] | None = None
    now: int = NOW
    shuffled: bool = False  # the configuration is given in another order

    def __str__(self) -> str:
        parts = [self.kind, self.name, "" if self.data is None else repr(self.data)]
        parts.append(f"at {self.now - NOW:+,} us")
        return " ".join(part for part in parts if part)


@dataclass
class Entity:
    """What is kept of one entity."""

    configuration: str | None
    context: dict[str, Any]
    timers: dict[str, int]
    now: int = NOW

    def after(self, outcome: Outcome, now: int) -> None:
        """Keep what a step did."""
        self.now = now
        self.context = outcome.context
        self.timers = {
            timer: deadline
            for timer, deadline in (self.timers | outcome.armed).items()
            if timer not in outcome.cancelled
        }
        if outcome.success:
            self.configuration = outcome.target


def beginning(choices: Choices) -> Step:
    """A start with some data."""
    data: dict[str, Any] = {}
    if not choices.chance(15):
        data = {"n": choices.below(4), "m": choices.below(3), "f": 0}
    if choices.chance(50):
        data["flag"] = choices.chance(50)
    if choices.chance(70):
        data["o"] = {"k": choices.below(3)}
    if choices.chance(60):
        data["due"] = NOW + 1_000_000 * choices.below(10)
    return Step("start", data=data)


def happening(choices: Choices, reference: Reference, entity: Entity) -> Step:
    """The next thing that happens to an entity: mostly one that it can take."""
    weights = {"taken": 60, "declared": 8, "unknown": 4, "apply": 8, "place": 3}
    if entity.timers:
        weights["due"] = 16
    if reference.document.timers:
        weights["timer"] = 2
    kind = choices.weighted(weights)
    now = entity.now + choices.below(200) * 1_000
    shuffled = choices.chance(8)
    match kind:
        case "due":
            timer = choices.pick(sorted(entity.timers))
            return Step("fire", timer, now=max(entity.now, entity.timers[timer]), shuffled=shuffled)
        case "timer":
            return Step("fire", choices.pick(sorted(reference.document.timers)), now=now)
        case "apply":
            return Step("apply", "", payload(choices), now, shuffled)
        case "place":
            return Step("place", place(choices, reference), now=now)
    data = payload(choices) if choices.chance(35) else {}
    return Step("event", trigger(choices, reference, entity, kind), data, now, shuffled)


def place(choices: Choices, reference: Reference) -> str:
    """Where somebody puts an entity: a state, or some of the leaves that come with it."""
    names = [state.name for state in reference.document.states if state.kind != "region"]
    name = choices.pick(names)
    leaves = [s.name for s in reference.configuration(name) if not s.children]
    return (
        "+".join(choices.several(leaves, choices.between(1, len(leaves))))
        if choices.chance(50)
        else name
    )


def trigger(choices: Choices, reference: Reference, entity: Entity, kind: str) -> str:
    """The name of an event."""
    document = reference.document
    names = sorted(document.triggers)
    if kind == "taken":
        active = reference.configuration(entity.configuration)
        here = {t.event for state in active for t in state.transitions} & document.triggers
        names = sorted(here) or names
    if kind == "unknown" or not names:
        return choices.pick(["nonsense", f"done.state.{document.states[0].name}"])
    name = choices.pick(names)
    if "event_normalizer" in document.meta and choices.chance(40):
        name = name.swapcase()
    return name


def payload(choices: Choices) -> dict[str, Any]:
    """What an event carries."""
    fields = {
        "n": choices.below(5),
        "m": choices.below(4),
        "f": 0,
        "flag": choices.chance(50),
        "k": 1,
        "due": choices.pick([None, NOW + 5_000_000]),
    }
    keys = choices.several(list(fields), choices.between(1, 3))
    return {key: fields[key] for key in keys}

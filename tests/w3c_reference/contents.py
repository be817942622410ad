"""Guards and actions of machines that are made up.

The context holds small numbers `n`, `m` and `f`, a `flag`, an object `o`, a list `log` and a moment
`due`; any of them may be missing. `f` bounds what would go on for ever: most loops look at it.
"""

from collections.abc import Callable
from typing import Any

from w3c_reference.choices import Choices

__all__ = ["GUARDS", "Contents"]


def _even(context: dict[str, Any]) -> bool:
    return context.get("n", 0) % 2 == 0


def _flagged(context: dict[str, Any]) -> bool:
    return bool(context.get("flag"))


def _small(context: dict[str, Any]) -> bool:
    return context.get("m", 0) < 3


def _broken(context: dict[str, Any]) -> bool:
    return context["nothing"] > 1


GUARDS: dict[str, Callable[[Any], bool]] = {
    "even": _even,
    "flagged": _flagged,
    "small": _small,
    "broken": _broken,
}

EXPRESSIONS = (
    "n < 3", "n + m < 6", "n % 2 == 0", "not flag", "n > 1 or flag", "flag and m < 4", "m != 2",
    "_event.name == 'go'", "_event.data.k == 1", "o.k > 0", "missing == null", "missing < 3",
)  # fmt: skip
FAILING = ("10 % n > 1", "missing + 1 > 0", "o > 1")
CHECKS: tuple[dict[str, Any], ...] = (
    {"field": "n", "op": "lt", "value": 3},
    {"field": "n", "op": "gte", "value": 1},
    {"field": "m", "op": "eq", "value": 1},
    {"field": "m", "op": "neq", "value": 2},
    {"field": "m", "op": "in", "values": [0, 1, 2]},
    {"field": "n", "op": "not_in", "values": [1, 3]},
    {"field": "flag", "op": "is_set"},
    {"field": "o.k", "op": "lte", "value": 1},
    {"field": "o.x", "op": "is_null"},
)
EFFECTS: tuple[dict[str, Any], ...] = (
    {"compute": {"n": "(n + 1) % 5"}},
    {"compute": {"m": "(m + n) % 4"}},
    {"set": {"flag": True}},
    {"set": {"flag": False, "o.k": 2}},
    {"increment": "m"},
    {"increment": {"o.k": {"expr": "n"}}},
    {"decrement": {"m": 2}},
    {"clear": "flag"},
    {"name": "copy_key", "params": {"from": "n", "to": "m"}},
    {"timestamp": "at"},
)
PARAMS: tuple[dict[str, Any], ...] = (
    {"n": {"expr": "n"}, "m": {"expr": "m"}},
    {"why": {"expr": "_event.name"}, "list": [1, {"expr": "flag"}]},
    {"plain": 1},
)
SPENT = {"check": {"field": "f", "op": "lt", "value": 5}}


class Contents:
    """Makes up guards and actions.

    Args:
        choices: Decide.
        places: Names of states and regions, for `in_state`.
        triggers: Those that may be raised.
        lenient: Guards that nobody registered may be named.
    """

    def __init__(
        self, choices: Choices, places: list[str], triggers: list[str], *, lenient: bool
    ) -> None:
        self.choices = choices
        self.places = places
        self.triggers = triggers
        self.lenient = lenient

    def guards(self, percent: int) -> list[Any]:
        """Guards, so often; mostly one."""
        if not self.choices.chance(percent):
            return []
        return [self.guard() for _ in range(self.choices.weighted({1: 3, 2: 1}))]

    def guard(self, depth: int = 0) -> Any:
        """One guard."""
        weights = {"check": 20, "expr": 20, "named": 12, "in_state": 24, "failing": 1}
        if depth < 2:
            weights |= {"not": 8, "allOf": 4, "anyOf": 5}
        form = self.choices.weighted(weights)
        match form:
            case "check":
                return {"check": self.choices.pick(CHECKS)}
            case "expr":
                return {"expr": self.choices.pick(EXPRESSIONS)}
            case "failing":
                return {"expr": self.choices.pick(FAILING)}
            case "in_state":
                return {"in_state": self.choices.pick(self.places)}
            case "named":
                names = {"even": 12, "flagged": 12, "small": 12, "broken": 1}
                return self.choices.weighted(names | {"unknown": 8 if self.lenient else 1})
            case "not":
                return {"not": self.guard(depth + 1)}
        return {form: [self.guard(depth + 1) for _ in range(self.choices.between(1, 2))]}

    def block(self, name: str, percent: int) -> list[Any]:
        """Actions of one place, so often: one that tells the place, effects, what is raised."""
        if not self.choices.chance(percent):
            return []
        actions: list[Any] = []
        for _ in range(self.choices.weighted({1: 5, 2: 3, 3: 1})):
            actions.extend(self.action(name))
        return actions

    def action(self, name: str) -> list[Any]:
        """One action; two that belong together."""
        form = self.choices.weighted(
            {"call": 50, "effect": 28, "append": 8, "raise": 9, "branch": 3}
        )
        if form == "call":
            return [self.call(name)]
        if form == "append":
            return [{"append": {"field": "log", "value": name}}]
        if form == "branch":
            branch = {"when": self.guard(1), "then": self.action(name)}
            if self.choices.chance(50):
                branch["else"] = self.action(name)
            return [{"branch": branch}]
        if form == "raise" and self.triggers:
            return self.raising()
        effect = dict(self.choices.pick(EFFECTS))
        if self.choices.chance(12):
            effect["when"] = self.guard(1)
        return [effect]

    def call(self, name: str) -> Any:
        """A registered action that is named after its place."""
        action: dict[str, Any] = {"name": name}
        if self.choices.chance(30):
            action["params"] = self.choices.pick(PARAMS)
        if self.choices.chance(10):
            action["when"] = self.guard(1)
        return name if len(action) == 1 else action

    def raising(self) -> list[Any]:
        """Raise an event: mostly only so often."""
        entry: dict[str, Any] = {"raise": self.choices.pick(self.triggers)}
        if self.choices.chance(5):
            return [entry]
        return [{"increment": "f"}, {**entry, "when": SPENT}]

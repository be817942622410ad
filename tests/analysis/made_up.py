"""Machines that are made up, small enough to try everything: flat, compound and parallel ones."""

from random import Random
from typing import Any

TRIGGERS = ("e", "f", "g")
NUMBERS = (None, 0, 1, 2, 3, 4)
WORDS = (None, "a", "b", "z")

CONTEXTS = [
    {key: value for key, value in (("n", n), ("s", s)) if value is not None}
    for n in NUMBERS
    for s in WORDS
]
"""Every context that guards can tell apart: they compare with 1, 2 and 3, ``a`` and ``b``."""

OPERATORS = ("eq", "neq", "lt", "lte", "gt", "gte")
SYMBOLS = ("==", "!=", "<", "<=", ">", ">=")


def guard(random: Random, names: list[str], depth: int = 0) -> Any:
    """A guard about ``n`` and ``s``, and now and then about states."""
    kind = random.choices(
        ("check", "in", "null", "expr", "and", "not", "state"), (8, 3, 2, 8, 3, 2, 1)
    )[0]
    if depth > 1 and kind in {"and", "not"}:
        kind = "check"
    match kind:
        case "check":
            return {
                "check": {
                    "field": "n",
                    "op": random.choice(OPERATORS),
                    "value": random.randint(1, 3),
                }
            }
        case "in":
            words = random.choice((["a"], ["b"], ["a", "b"]))
            return {"check": {"field": "s", "op": random.choice(("in", "not_in")), "values": words}}
        case "null":
            return {
                "check": {"field": random.choice("ns"), "op": random.choice(("is_set", "is_null"))}
            }
        case "expr":
            return {"expr": expression(random)}
        case "and":
            parts = [guard(random, names, depth + 1) for _ in range(2)]
            return {random.choice(("allOf", "anyOf")): parts}
        case "not":
            return {"not": guard(random, names, depth + 1)}
        case _:
            return {"in_state": random.choice(names)}


def expression(random: Random) -> str:
    number, symbol = random.randint(1, 3), random.choice(SYMBOLS)
    return random.choice(
        (
            f"n {symbol} {number}",
            f"{number} {symbol} n",
            f"n {symbol} {number} and s == 'a'",
            f"n {symbol} {number} or s != 'b'",
            f"not (n {symbol} {number})",
            f"1 < n <= {number}",
            f"coalesce(n, {number}) {symbol} 2",
            f"s in ['a', 'b'] and n {symbol} {number}",
            f"n {symbol} {number} if s == 'a' else n is null",
            "n is not null",
            "s",
        )
    )


class Builder:
    """One machine."""

    def __init__(self, seed: int, form: str) -> None:
        self.random = Random(seed)
        self.states: list[dict[str, Any]] = []
        self.holders: list[str] = []
        self.parallels: list[tuple[str, list[list[str]]]] = []
        self.count = 0
        self.form = form

    def build(self) -> dict[str, Any]:
        random = self.random
        top = [
            self.state(0)
            for _ in range(random.randint(4, 7) if self.form == "flat" else random.randint(2, 4))
        ]
        plain = [each for each in top if each.get("type") is None and "regions" not in each]
        (plain or top)[0].setdefault("type", "initial")
        if not any(each.get("type") == "initial" for each in self.states):
            initial = {"initial": top[0]["name"]}
        else:
            initial = {}
        transitions = [way for entry in self.states for way in self.ways(entry)]
        if random.random() < 0.15:
            transitions.append({"source": "*", "trigger": "g", "dest": random.choice(self.names)})
        meta: dict[str, Any] = {"machine_name": "made_up"}
        if random.random() < 0.2:
            meta["classification"] = {"auto_route": True}
            for entry in self.states:
                if random.random() < 0.3:
                    entry["when"] = [guard(random, self.names)]
        return {"meta": meta, **initial, "states": self.states, "transitions": transitions}

    @property
    def names(self) -> list[str]:
        return [entry["name"] for entry in self.states]

    # States -----------------------------------------------------------------------------------

    def state(self, depth: int, parent: str | None = None, first: bool = True) -> dict[str, Any]:
        random = self.random
        self.count += 1
        entry: dict[str, Any] = {"name": f"s{self.count}"}
        if parent is not None:
            entry["parent"] = parent
        self.states.append(entry)
        roll = random.random()
        if self.form == "compound" and depth < 2 and roll < 0.45:
            self.holders.append(entry["name"])
            for place in range(random.randint(1, 3)):
                self.state(depth + 1, entry["name"], first=place == 0)
        elif self.form == "parallel" and depth < 2 and roll < 0.4:
            self.parallel(entry, depth)
        elif roll > 0.86 and not (first and parent):
            entry["type"] = "terminal"
        elif roll > 0.74 and not (first and parent):
            entry["type"] = "choice"
        if depth and "regions" not in entry and entry.get("type") is None and random.random() < 0.1:
            entry["type"] = "error"
        if random.random() < 0.15:
            entry["on_enter"] = [self.effect()]
        return entry

    def parallel(self, entry: dict[str, Any], depth: int) -> None:
        entry["type"] = "parallel"
        entry["regions"] = []
        self.holders.append(entry["name"])
        inside: list[list[str]] = []
        for place in range(2):
            region = f"r{self.count}_{place}"
            entry["regions"].append({"name": region})
            self.holders.append(region)
            before = len(self.states)
            for child in range(self.random.randint(1, 3)):
                self.state(depth + 1, region, first=child == 0)
            inside.append(
                [each["name"] for each in self.states[before:] if each["parent"] == region]
            )
        self.parallels.append((entry["name"], inside))

    # Transitions ------------------------------------------------------------------------------

    def ways(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        random, kind = self.random, entry.get("type")
        if entry["name"] in self.holders and random.random() < 0.5:
            entry["on_done"] = self.dest(entry["name"])
        if kind == "terminal":
            return []
        if kind == "choice":
            made = [self.way(entry, {}) for _ in range(random.randint(1, 3))]
            if random.random() < 0.5:
                made[-1].pop("guards", None)
        else:
            count = random.choice((0, 1, 1, 2, 2, 3))
            made = [self.way(entry, self.enabling()) for _ in range(count)]
        if made and "guards" in made[-1] and random.random() < 0.2:  # the other case
            other = {
                key: value for key, value in made[-1].items() if key not in {"internal", "dest"}
            }
            guards = [{"not": {"allOf": made[-1]["guards"]}}]
            made.append({**other, "dest": self.dest(entry["name"]), "guards": guards})
        return made

    def enabling(self) -> dict[str, Any]:
        roll = self.random.random()
        if roll < 0.14:
            return {"auto": True}
        if roll < 0.28:
            return {"after": f"{self.random.randint(1, 3)}s"}
        return {"trigger": self.random.choice(TRIGGERS)}

    def way(self, entry: dict[str, Any], enabling: dict[str, Any]) -> dict[str, Any]:
        random, name = self.random, entry["name"]
        made: dict[str, Any] = {"source": name, **enabling}
        if random.random() < 0.12 and entry.get("type") != "choice":
            made["internal"] = True
        else:
            made["dest"] = self.dest(name)
        if random.random() < (0.6 if "auto" in enabling or not enabling else 0.5):
            made["guards"] = [guard(random, self.names) for _ in range(random.choice((1, 1, 2)))]
        if random.random() < 0.2:
            made["actions"] = [self.effect()]
        return made

    def dest(self, name: str) -> Any:
        random = self.random
        roll = random.random()
        if self.holders and roll < 0.12:
            return f"{random.choice(('H', 'H*'))}({random.choice(self.holders)})"
        if self.parallels and roll < 0.25:
            return [random.choice(region) for region in random.choice(self.parallels)[1]]
        if roll < 0.45:  # a neighbour: what is inside stays inside
            parent = next(each.get("parent") for each in self.states if each["name"] == name)
            return random.choice([n["name"] for n in self.states if n.get("parent") == parent])
        return random.choice(self.names)

    def effect(self) -> dict[str, Any]:
        random = self.random
        return random.choice(
            (
                {"set": {"n": random.randint(0, 4)}},
                {"set": {"s": random.choice("abz")}},
                {"clear": "n"},
                {"set": {"other": 1}},
                {"raise": random.choice(TRIGGERS)},
            )
        )


def machine(seed: int, form: str) -> dict[str, Any]:
    """A machine of a form: ``flat``, ``compound`` or ``parallel``; some are refused at load."""
    return Builder(seed, form).build()

"""Machines that are made up: every part of the format that the algorithm gives a meaning to."""

from typing import Any

from w3c_reference.choices import Choices
from w3c_reference.contents import SPENT, Contents
from w3c_reference.document import as_list
from w3c_reference.shapes import Shape, Spot

__all__ = ["machine"]

TRIGGERS = ("go", "next", "back", "a.b", "do:it", "z-1")
DELAYS: tuple[Any, ...] = (5, 1000, "1s", "2m", "250ms")


def machine(choices: Choices) -> dict[str, Any]:
    """Make up a machine; a few of them are refused when they are loaded."""
    return _Builder(choices).machine()


class _Builder:
    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.calm = choices.chance(25)  # most events stay in their region
        self.shape = Shape(choices, calm=self.calm)
        self.meta = self.make_meta()
        self.routes = "classification" in self.meta
        self.triggers = list(TRIGGERS[: choices.between(2, len(TRIGGERS))])
        lenient = not self.meta.get("strict_guard_registry", self.meta.get("strict_mode", True))
        names = [spot.name for spot in [*self.shape.states, *self.shape.regions]]
        self.contents = Contents(choices, names, [], lenient=lenient)
        self.count = 0

    def machine(self) -> dict[str, Any]:
        transitions = self.make_transitions()
        used = {entry["trigger"] for entry in transitions if "trigger" in entry}
        self.contents.triggers = sorted(used)
        for entry in transitions:
            self.fill(entry)
        for spot in self.shape.states:
            self.fill_state(spot)
        whole = {"meta": self.meta, **self.shape.write(), "transitions": transitions}
        if self.choices.chance(8):
            whole["events"] = [{"name": name} for name in self.triggers]
        if self.meta.get("validate_context") or self.choices.chance(10):
            whole["state_variables"] = [
                {"key": "n", "type": "number", "default": 2},
                {"key": "log", "default": []},
                "m",
            ]
            if self.choices.chance(60):
                whole["context_invariants"] = [{"expr": "n < 4 or m < 2"}]
        return whole

    def make_meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = {"machine_name": "made_up", "version": "1"}
        if self.choices.chance(15):
            meta["event_normalizer"] = self.choices.pick(["lower", "upper"])
        if self.choices.chance(10):
            meta["strict_mode"] = False
        if self.choices.chance(5):
            meta["reject_invalid_events"] = self.choices.chance(50)
        if self.choices.chance(5):
            meta["strict_guard_registry"] = self.choices.chance(50)
        if self.choices.chance(10):
            meta["validate_context"] = True
        if self.choices.chance(15):
            meta["classification"] = {"auto_route": True}
        return meta

    # Transitions ------------------------------------------------------------------------------

    def make_transitions(self) -> list[dict[str, Any]]:
        """Transitions of the states, in the order of the states; then some in any order."""
        made: list[dict[str, Any]] = []
        for spot in self.shape.states:
            if spot.kind == "choice":
                made.extend(self.branches(spot))
            elif spot.kind != "final":
                count = self.choices.weighted({1: 4, 2: 3, 3: 1, 0: 2})
                made.extend(self.transition(spot) for _ in range(count))
        if self.choices.chance(15):
            made.append({**self.dest(self.shape.states[0]), "source": "*", **self.event()})
        if self.choices.chance(30):
            made = self.choices.shuffled(made)
        return made

    def transition(self, spot: Spot) -> dict[str, Any]:
        entry: dict[str, Any] = {"source": spot.name}
        auto = 1 if self.calm else 12
        how = self.choices.weighted({"event": 70, "auto": auto, "timer": 15, "both": 3})
        internal = self.choices.chance(9)
        if how == "auto":
            entry["auto"] = True
        if how in {"event", "both"}:
            entry |= self.event()
        if how in {"timer", "both"}:
            entry |= self.timer()
        if internal:
            return entry | self.staying(spot)
        entry |= self.dest(spot)
        if self.choices.chance(10):
            self.more_sources(entry, spot)
        else:
            self.assert_region(entry, spot)
        return entry

    def event(self) -> dict[str, Any]:
        trigger = self.choices.pick(self.triggers)
        if self.choices.chance(4):  # done events may be waited for, and sent, by their names
            trigger = (
                f"done.state.{self.choices.pick(self.shape.parents() or self.shape.states).name}"
            )
        if "event_normalizer" in self.meta and self.choices.chance(40):
            trigger = trigger.title()
        return {"trigger": trigger}

    def timer(self) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if self.choices.chance(25):
            entry["at"] = self.choices.pick(["due", {"expr": "due"}])
        else:
            entry["after"] = self.choices.pick(DELAYS)
        if self.choices.chance(50):
            self.count += 1
            entry["id"] = f"timer-{self.count}"
        return entry

    def branches(self, spot: Spot) -> list[dict[str, Any]]:
        """The ways out of a choice: guards, and mostly a last one without."""
        made: list[dict[str, Any]] = []
        for _ in range(self.choices.between(0, 2)):
            entry = {"source": spot.name, **self.leaving(spot)}
            made.append({**entry, "guards": [self.contents.guard()]})
        if not made or self.choices.chance(80):
            made.append({"source": spot.name, **self.leaving(spot)})
        return made

    def leaving(self, spot: Spot) -> dict[str, Any]:
        """A destination that is not the state itself, and rarely one that leads back to it."""
        found = self.dest(spot)
        if found["dest"] == spot.name or self.choices.chance(75):
            near = [each for each in spot.parent.children if each is not spot]
            plain = [each for each in near or self.shape.root.children if not each.children]
            found = {"dest": self.choices.pick(plain or self.shape.root.children).name}
        return found

    def staying(self, spot: Spot) -> dict[str, Any]:
        """Internal: no destination, the source, or inside of a compound source."""
        below = self.shape.inside(spot)
        if spot.kind == "compound" and self.choices.chance(70):
            return {"internal": True, "dest": self.choices.pick(below).name}
        return {"internal": True, **({"dest": spot.name} if self.choices.chance(20) else {})}

    def more_sources(self, entry: dict[str, Any], spot: Spot) -> None:
        others = [
            s for s in self.shape.states if s.kind not in {"final", "choice"} and s is not spot
        ]
        if others:
            entry["source"] = [spot.name, self.choices.pick(others).name]
            entry.pop("id", None)

    def assert_region(self, entry: dict[str, Any], spot: Spot) -> None:
        """Say in which region a transition lies; out of a parallel state it makes it lie there."""
        if spot.kind == "parallel" and self.choices.chance(30):
            region = self.choices.pick(spot.children)
            entry["region"] = region.name
            entry["dest"] = self.choices.pick(self.shape.inside(region)).name
            return
        regions = [each for each in spot.above() if each.kind == "region"]
        if regions and self.choices.chance(15):
            region = self.choices.pick(regions)
            inside = [each.name for each in self.shape.inside(region)]
            if isinstance(entry["dest"], str) and entry["dest"] in inside:
                entry["region"] = region.name

    # Destinations -----------------------------------------------------------------------------

    def dest(self, spot: Spot) -> dict[str, Any]:
        """Where a transition leads."""
        parents, parallels = self.shape.parents(), self.shape.parallels()
        weights = {"near": 400 if self.calm else 34, "any": 34, "self": 6, "around": 8}
        if parents:
            weights["history"] = 14
        if parallels:
            weights["several"] = 12
        ends = [each for each in spot.parent.children if each.kind == "final"]
        if ends:
            weights["end"] = 16
        how = self.choices.weighted(weights)
        if how == "history" and parents:
            return {"dest": self.history(self.choices.pick(parents))}
        if how == "several":
            return {"dest": self.several(self.choices.pick(parallels))}
        pool = {
            "near": self.shape.inside(spot.parent),
            "end": ends,
            "self": [spot],
            "around": [each for each in spot.above() if each.kind != "region"],
        }.get(how) or self.shape.states
        return {"dest": self.choices.pick(pool).name}

    def history(self, parent: Spot) -> str:
        return f"H({parent.name})" if self.choices.chance(40) else f"H*({parent.name})"

    def several(self, parallel: Spot) -> list[str]:
        """Destinations in several regions; now and then one is a history state."""
        names = self.shape.names_in(parallel)
        if self.choices.chance(12):
            place = self.choices.below(len(names))
            spot = next(each for each in self.shape.states if each.name == names[place])
            if spot.children:
                names[place] = self.history(spot)
        return names

    # Content ----------------------------------------------------------------------------------

    def fill(self, entry: dict[str, Any]) -> None:
        """Guards and actions of a transition."""
        self.count += 1
        guards = entry.get("guards") or self.contents.guards(15 if self.calm else 40)
        content = self.contents.block(f"way_{self.count}", 55)
        loop = entry.get("internal") or entry.get("dest") in as_list(entry["source"])
        if entry.get("auto") and (loop or self.choices.chance(95)):
            guards = [*guards, SPENT]
            content = [{"increment": "f"}, *content]
        if guards:
            entry["guards"] = guards
        if content:
            entry["actions"] = content

    def fill_state(self, spot: Spot) -> None:
        for key, word in (("on_enter", "in"), ("on_exit", "out")):
            block = self.contents.block(f"{word}_{spot.name}", 65)
            if block:
                spot.entry[key] = block
        if self.choices.chance(45 if self.routes else 8):
            when = [self.contents.guard() for _ in range(self.choices.between(1, 2))]
            spot.entry["when"] = when[0] if len(when) == 1 else when
        if self.choices.chance({"compound": 50, "parallel": 80}.get(spot.kind, 0)):
            spot.entry["on_done"] = self.on_done(spot)
        if spot.kind not in {"final", "choice"} and self.choices.chance(7):
            dest = self.choices.pick(self.shape.states).name
            spot.entry["timeout"] = {"seconds": self.choices.pick([1, 1.5]), "destination": dest}

    def on_done(self, spot: Spot) -> Any:
        """A destination, several, or candidates with guards."""
        how = self.choices.weighted({"plain": 2, "mapping": 6, "candidates": 3})
        if how == "plain":
            return self.leaving(spot)["dest"]
        count = 1 if how == "mapping" else self.choices.between(1, 3)
        made = [self.done_way(spot) for _ in range(count)]
        return made[0] if how == "mapping" else made

    def done_way(self, spot: Spot) -> dict[str, Any]:
        self.count += 1
        internal = self.choices.chance(12)
        entry = {"internal": True} if internal else self.dest(spot)
        guards = self.contents.guards(35)
        content = self.contents.block(f"done_{self.count}", 60)
        if self.choices.chance(85):
            guards, content = [*guards, SPENT], [{"increment": "f"}, *content]
        return (
            entry
            | ({"guards": guards} if guards else {})
            | ({"actions": content} if content else {})
        )

"""Trees of states, and the ways to write them in a file."""

from collections.abc import Iterator  # noqa: TC003 # as everywhere here
from dataclasses import dataclass, field
from typing import Any

from w3c_reference.choices import Choices

__all__ = ["Shape", "Spot"]

DEPTH = 4


@dataclass(eq=False)
class Spot:
    """A state or a region of a machine that is being made up."""

    name: str
    kind: str  # root, atomic, compound, parallel, region, final or choice
    parent: "Spot | None" = None
    children: "list[Spot]" = field(default_factory=list)
    entry: dict[str, Any] = field(default_factory=dict)

    def below(self) -> "Iterator[Spot]":
        """All states and regions below."""
        for child in self.children:
            yield child
            yield from child.below()

    def above(self) -> "list[Spot]":
        """Ancestors, inner first, without the root."""
        found, spot = [], self.parent
        while spot is not None and spot.kind != "root":
            found.append(spot)
            spot = spot.parent
        return found


class Shape:
    """A tree of states.

    Args:
        calm: Wide regions of states in which one can rest.

    Attributes:
        root: Of the tree.
        states: All states, in the order in which they were made up.
        regions: All regions.
    """

    def __init__(self, choices: Choices, *, calm: bool) -> None:
        self.choices = choices
        self.calm = calm
        self.left = choices.between(3, 15)
        self.root = Spot("", "root")
        self.states: list[Spot] = []
        self.regions: list[Spot] = []
        self.grow(self.root, choices.between(2, 4), 1)
        self.share_names()

    # Growing ----------------------------------------------------------------------------------

    def grow(self, parent: Spot, count: int, depth: int) -> None:
        """Make up children."""
        for place in range(count):
            kind = self.kind(parent, first=place == 0, depth=depth)
            spot = Spot(f"s{len(self.states)}", kind, parent)
            parent.children.append(spot)
            self.states.append(spot)
            self.left -= 1
            if kind == "compound":
                self.grow(spot, self.choices.between(1, 3), depth + 1)
            elif kind == "parallel":
                for _ in range(self.choices.weighted({2: 4, 3: 1})):
                    region = Spot(f"r{len(self.regions)}", "region", spot)
                    spot.children.append(region)
                    self.regions.append(region)
                    count = self.choices.between(2, 4) if self.calm else self.choices.between(1, 3)
                    self.grow(region, count, depth + 1)

    def kind(self, parent: Spot, *, first: bool, depth: int) -> str:
        """What the next state is; the first child is rarely one that nobody can rest in."""
        ends = 44 if parent.kind == "region" else 22
        weights = {"atomic": 50, "final": 3 if first else ends, "choice": 2 if first else 6}
        if self.calm:
            weights = {"atomic": 50, "final": 0 if first else 6}
        if first and depth == 1:
            weights = {"atomic": 50}
        if self.left > 0 and depth < DEPTH:
            weights |= {"compound": 26, "parallel": 30 if depth < 3 else 14}
        return self.choices.weighted(weights)

    def share_names(self) -> None:
        """Now and then a region has the name of a state: they do not clash."""
        for region in self.regions:
            if self.choices.chance(4):
                name = self.choices.pick(self.states).name
                if all(other.name != name for other in self.regions):
                    region.name = name

    def parents(self) -> list[Spot]:
        """Those whose history can be asked for: what has children, and its name to itself."""
        taken = {spot.name for spot in self.states}
        regions = [region for region in self.regions if region.name not in taken]
        return [spot for spot in [*self.states, *regions] if spot.children]

    def parallels(self) -> list[Spot]:
        """The parallel states."""
        return [spot for spot in self.states if spot.kind == "parallel"]

    # Writing ----------------------------------------------------------------------------------

    def write(self) -> dict[str, Any]:
        """The keys `states` and `initial` of a file; entries of the spots are filled."""
        machine: dict[str, Any] = {"states": []}
        self.write_initial(machine)
        for spot in self.states:
            entry = {"name": spot.name, **self.type_of(spot), **spot.entry}
            if spot.kind == "compound":
                self.write_default(spot, entry)
            spot.entry = entry
        for spot in self.states:
            if spot.kind == "parallel":
                spot.entry["regions"] = [self.region(each) for each in spot.children]
        for spot in self.states:
            if "inside" in spot.entry:
                del spot.entry["inside"]
                continue
            if spot.parent.kind == "compound":
                spot.entry["parent"] = spot.parent.name
            machine["states"].append(spot.entry)
        if self.choices.chance(25):
            machine["states"] = self.choices.shuffled(machine["states"])
        return machine

    def type_of(self, spot: Spot) -> dict[str, str]:
        """The key `type`, where it is not left out."""
        words = {"final": "terminal", "choice": "choice", "parallel": "parallel"}
        return {"type": words[spot.kind]} if spot.kind in words else {}

    def write_initial(self, machine: dict[str, Any]) -> None:
        """Where an entity starts: a type, a name, or names in several regions."""
        first = self.root.children[0]
        parallels = self.parallels()
        if parallels and self.choices.chance(12):
            machine["initial"] = self.names_in(self.choices.pick(parallels))
        elif self.choices.chance(12):
            machine["initial"] = self.choices.pick(self.states).name
        elif first.kind in {"atomic", "compound"}:
            first.entry["type"] = "initial"
        else:
            machine["initial"] = first.name

    def names_in(self, parallel: Spot) -> list[str]:
        """A state in each of several regions of a parallel state."""
        count = self.choices.between(2, len(parallel.children))
        regions = self.choices.several(parallel.children, count)
        return [self.choices.pick(self.inside(region)).name for region in regions]

    def inside(self, spot: Spot) -> list[Spot]:
        """The states below, regions left out."""
        return [each for each in spot.below() if each.kind != "region"]

    def write_default(self, spot: Spot, entry: dict[str, Any]) -> None:
        """The default child of a compound state: named, marked, or the first."""
        how = self.choices.weighted({"first": 4, "named": 4, "deep": 2, "marked": 2})
        child = self.choices.pick(spot.children)
        if how == "named":
            entry["initial_child"] = child.name
        elif how == "deep":
            entry["initial_child"] = self.choices.pick(self.inside(spot)).name
        elif how == "marked" and child.kind in {"atomic", "compound"}:
            child.entry["type"] = "initial"

    def region(self, region: Spot) -> dict[str, Any]:
        """The entry of a region: its states inline, by name, or pointing at it themselves."""
        entry: dict[str, Any] = {"name": region.name}
        if self.choices.chance(60):
            entry["initial"] = self.choices.pick(region.children).name
        shared = any(spot.name == region.name for spot in self.states)
        how = self.choices.pick(["inline", "names"] if shared else ["inline", "names", "parent"])
        if how == "inline":
            entry["states"] = [child.entry for child in region.children]
            for child in region.children:
                child.entry["inside"] = True
        elif how == "names":
            entry["states"] = [child.name for child in region.children]
        else:
            for child in region.children:
                child.entry["parent"] = region.name
        return entry

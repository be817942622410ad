"""Which container each part of an arrow is led through, before anything has a place.

An arrow is led in the innermost container that holds both ends, between the two children of it
that hold them; from there on it passes the borders of those children at *ports*, to the ends::

    +- c ------------------+       in c:  a -> b, with the label
    |  +- a ---+  +- b --+ |       in a:  u -> port in the last row
    |  |   u --|--|-> w  | |       in b:  port in the first row -> w
    |  +-------+  +------+ |
    +----------------------+

All parts lead downward; an arrow that would close a circle is *flipped*: led from its target down
to its source, and drawn with its head at the upper end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from pystator.definition.drawing.chart import ROOT, Chart, Form, Shape
from pystator.definition.drawing.ranks import backward

__all__ = ["Nest", "Part", "Route"]

Side = Literal["first", "last"]


@dataclass(slots=True)
class Part:
    """An arrow's part in one container.

    Attributes:
        tail: The child where it starts; None: at a port in the first row.
        head: The child where it ends; None: at a port in the last row.
        labelled: The label stands here.
    """

    arrow: int
    tail: str | None
    head: str | None
    labelled: bool = False


@dataclass(slots=True)
class Route:
    """An arrow's way, from above to below.

    Attributes:
        holders: The containers it is led in, in order.
        flipped: It points upward.
        under: The parallel state below whose regions it passes from one to another; then ``turn``
            of the holders belong to the way down, the others to the way up.
        above: A parallel state whose upper border it starts at; ``below``: ends at.
    """

    holders: list[str] = field(default_factory=list[str])
    flipped: bool = False
    under: str | None = None
    turn: int = 0
    above: str | None = None
    below: str | None = None


class Nest:
    """A chart's shapes as containers, with the parts of arrows in each.

    Attributes:
        shapes: Those of the chart, and a place for the history marks of each parallel state.
        kids: Key of a container -> the keys in it.
        parts: Key of a container -> what is led in it.
        under: Key of a parallel state -> arrows from one of its regions to another.
        loops: Key of a shape -> arrows from it to itself.
        routes: For each arrow.
    """

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.shapes = dict(chart.shapes)
        self.parents: dict[str, str] = {}
        self.kids: dict[str, list[str]] = {}
        for key, shape in chart.shapes.items():
            self._hold(key, shape.children)
        self.parts: dict[str, list[Part]] = {key: [] for key in self.kids}
        self.under: dict[str, list[int]] = {}
        self.loops: dict[str, list[int]] = {}
        self.routes = [Route() for _ in chart.arrows]
        self._lead()

    def _hold(self, key: str, children: list[str]) -> None:
        if not children:
            return
        shape = self.shapes[key]
        marks = [child for child in children if self.shapes[child].form is not Form.REGION]
        if shape.form is Form.PARALLEL and marks:
            corner = Shape(f"{key}:marks", Form.REGION, "", key)
            self.shapes[corner.key] = corner
            self._hold(corner.key, marks)
            children = [corner.key, *(child for child in children if child not in marks)]
        self.kids[key] = children
        self.parents.update(dict.fromkeys(children, key))

    def inward(self) -> list[str]:
        """The containers so that each comes after what holds it."""
        order = [ROOT]
        for key in order:
            order += [kid for kid in self.kids[key] if kid in self.kids]
        return order

    def above(self, key: str) -> list[str]:
        """The shape and what holds it, innermost first; the root comes last."""
        path = [key]
        while key != ROOT:
            key = self.parents[key]
            path.append(key)
        return path

    # Leading --------------------------------------------------------------------------------

    def _lead(self) -> None:
        meetings: dict[str, list[tuple[int, list[str], list[str]]]] = {}
        for number, arrow in enumerate(self.chart.arrows):
            up, down = self.above(arrow.source), self.above(arrow.target)
            if arrow.source == arrow.target:
                self.loops.setdefault(arrow.source, []).append(number)
            elif arrow.source in down:
                self._into(number, down[: down.index(arrow.source) + 1])
            elif arrow.target in up:
                self._out_to(number, up[: up.index(arrow.target) + 1])
            else:
                common = next(key for key in up if key in set(down))
                one, other = up[: up.index(common)], down[: down.index(common)]
                meetings.setdefault(common, []).append((number, one, other))
        for common, met in meetings.items():
            if self.shapes[common].form is Form.PARALLEL:
                for number, one, other in met:
                    self._beneath(common, number, one, other)
            else:
                self._meet(common, met)

    def _meet(self, common: str, met: list[tuple[int, list[str], list[str]]]) -> None:
        """Between two children; what closes a circle is flipped."""
        places = {kid: place for place, kid in enumerate(self.kids[common])}
        pairs = [(places[one[-1]], places[other[-1]]) for _, one, other in met]
        flipped = backward(len(places), pairs)
        for position, (number, one, other) in enumerate(met):
            route = self.routes[number]
            route.flipped = position in flipped
            upper, lower = (other, one) if route.flipped else (one, other)
            self._down_from(number, upper)
            self.parts[common].append(Part(number, upper[-1], lower[-1], labelled=True))
            route.holders.append(common)
            self._down_to(number, lower)

    def _down_from(self, number: int, path: list[str]) -> None:
        """From the innermost of the path through the last row of each container in it."""
        for kid, holder in pairwise(path):
            if self.shapes[holder].form is not Form.PARALLEL:
                self.parts[holder].append(Part(number, kid, None))
                self.routes[number].holders.append(holder)

    def _down_to(self, number: int, path: list[str]) -> None:
        for kid, holder in reversed(list(pairwise(path))):
            if self.shapes[holder].form is not Form.PARALLEL:
                self.parts[holder].append(Part(number, None, kid))
                self.routes[number].holders.append(holder)

    def _into(self, number: int, path: list[str]) -> None:
        """From a container's upper border to something in it."""
        self._down_to(number, path)
        self._label_first(number, self.routes[number].holders[0])
        if self.shapes[path[-1]].form is Form.PARALLEL:
            self.routes[number].above = path[-1]

    def _out_to(self, number: int, path: list[str]) -> None:
        """From something in a container to its lower border."""
        self._down_from(number, path)
        self._label_first(number, self.routes[number].holders[-1])
        if self.shapes[path[-1]].form is Form.PARALLEL:
            self.routes[number].below = path[-1]

    def _label_first(self, number: int, holder: str) -> None:
        next(part for part in self.parts[holder] if part.arrow == number).labelled = True

    def _beneath(self, common: str, number: int, one: list[str], other: list[str]) -> None:
        """From one region to another: out below the one, and from below into the other."""
        route = self.routes[number]
        route.under = common
        self._down_from(number, one)
        self._label_first(number, one[-1])
        route.turn = len(route.holders)
        self._down_from(number, other)
        self.under.setdefault(common, []).append(number)

    def ends(self) -> dict[str, int]:
        """Key of a shape -> how many arrows end at that one of its sides where most do."""
        counts: dict[tuple[str, Side], int] = {}
        for part in self._all_parts():
            if part.tail is not None:
                counts[part.tail, "last"] = counts.get((part.tail, "last"), 0) + 1
            if part.head is not None:
                counts[part.head, "first"] = counts.get((part.head, "first"), 0) + 1
        most: dict[str, int] = {}
        for (key, _), count in counts.items():
            most[key] = max(most.get(key, 0), count)
        return most

    def _all_parts(self) -> Iterator[Part]:
        for parts in self.parts.values():
            yield from parts

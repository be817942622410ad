"""Where everything stands: each container laid out on its own, inner ones first.

A container that has been laid out is a box to the one around it, with ports where arrows pass
through its border. In the end all places are added up from the outside.
"""

from dataclasses import dataclass, field

from pystator.definition.drawing.chart import ROOT, Chart, Form
from pystator.definition.drawing.grid import Box, Link
from pystator.definition.drawing.layered import layered
from pystator.definition.drawing.routes import Nest, Part
from pystator.definition.drawing.sizes import LINE, LOOP, Label, Size, label_of, size_of, title_of

__all__ = ["Frame", "Picture", "Way", "layout"]

PAD = 14.0
"""Between a container's border and what is in it."""

TURN = 12.0
"""Room around the turn of an arrow below the regions of a parallel state."""

Point = tuple[float, float]

UNLABELLED = frozenset({Form.INITIAL, Form.FORK})
"""Shapes whose arrows have nothing to say: one row is enough."""


@dataclass(slots=True)
class Frame:
    """A shape's place: its box, and where its name begins.

    Attributes:
        x: The left edge; ``y``: the upper one.
        title: Left and upper edge of the name and the lines; a container's only.
    """

    x: float
    y: float
    width: float
    height: float
    title: Point = (0.0, 0.0)


@dataclass(slots=True)
class Way:
    """An arrow's place.

    Attributes:
        points: From its source to its target.
        label: What it says, if anything, with the middle of its upper edge in ``label_at``.
        bend: How it gets from point to point: ``swing`` starts and ends each step vertically;
            ``loop`` leaves at the right and comes back there; ``behind`` goes straight.
    """

    points: list[Point]
    label: Label | None = None
    label_at: Point | None = None
    bend: str = "swing"


@dataclass(slots=True)
class Picture:
    """Everything in its place.

    Attributes:
        dividers: For each region its left edge, its upper and lower end, and whether it is the
            first one of its parallel state.
        straight: How many arrows were too long to be led around the boxes.
    """

    width: float
    height: float
    frames: dict[str, Frame]
    ways: list[Way]
    dividers: list[tuple[float, float, float, bool]] = field(
        default_factory=list[tuple[float, float, float, bool]]
    )
    straight: int = 0


@dataclass(slots=True)
class _Inside:
    """A container that is laid out; places are distances from its upper left corner.

    Attributes:
        at: Key of a child -> its middle line and upper edge.
        ports: Arrow -> its place on the border, from the container's middle line. An arrow
            passes a border once.
        above: The ports in the upper border; ``below``: in the lower one.
        led: Arrow -> its points.
        channels: Arrow -> how far down it turns below the regions.
    """

    width: float
    height: float
    title: Point
    at: dict[str, Point] = field(default_factory=dict[str, Point])
    ports: dict[int, float] = field(default_factory=dict[int, float])
    above: list[float] = field(default_factory=list[float])
    below: list[float] = field(default_factory=list[float])
    led: dict[int, list[Point]] = field(default_factory=dict[int, list[Point]])
    labels: dict[int, Point] = field(default_factory=dict[int, Point])
    channels: dict[int, float] = field(default_factory=dict[int, float])


def layout(chart: Chart) -> Picture:
    """Place all shapes and arrows of a chart."""
    return _Layout(chart).picture()


class _Layout:
    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.nest = Nest(chart)
        self.labels = [label_of(arrow.words) for arrow in chart.arrows]
        self.ends = self.nest.ends()
        self.insides: dict[str, _Inside] = {}
        self.sizes: dict[str, Size] = {}
        self.straight: set[int] = set()
        self.containers = self.nest.inward()
        for key in reversed(self.containers):
            parallel = self.nest.shapes[key].form is Form.PARALLEL
            self.insides[key] = self._parallel(key) if parallel else self._compound(key)

    # Sizes ----------------------------------------------------------------------------------

    def _size(self, key: str) -> Size:
        """The box of a shape with the loops at its right side."""
        if key in self.sizes:
            return self.sizes[key]
        inside = self.insides.get(key)
        if inside is None:
            size = size_of(self.nest.shapes[key], self.ends.get(key, 0))
        else:
            size = Size(inside.width, inside.height, inside.width / 2, inside.width / 2 - PAD)
        loops = self.nest.loops.get(key, ())
        if loops:
            labels = [self.labels[number] for number in loops]
            beside = LOOP + 6 + max((label.width for label in labels if label), default=0.0)
            size.right = max(size.right, size.width / 2 + beside)
            needed = sum(self._loop_height(number) for number in loops) + 8
            if inside is not None:
                inside.height = max(inside.height, needed)
            size.height = max(size.height, needed)
        self.sizes[key] = size
        return size

    def _loop_height(self, number: int) -> float:
        label = self.labels[number]
        return max(LINE * 1.6, label.height + 6 if label else 0.0)

    def _header(self, key: str) -> tuple[float, float]:
        """Width and height of a container's name and lines."""
        shape = self.nest.shapes[key]
        if not shape.label:
            return 0.0, 0.0
        _, width, height = title_of(shape)
        return width, height

    # Containers -----------------------------------------------------------------------------

    def _compound(self, key: str) -> _Inside:
        kids = self.nest.kids[key]
        boxes: list[Box] = []
        header = None
        if key != ROOT:
            width, height = self._header(key)
            header = len(boxes)
            boxes.append(Box(0.0, width, height, pin="first"))
        places: dict[str, int] = {}
        for kid in kids:
            size = self._size(kid)
            places[kid] = len(boxes)
            box = Box(size.width / 2, size.right, size.height, slack=size.slack)
            box.pointed = self.nest.shapes[kid].form is Form.CHOICE
            held = self.insides.get(kid)
            if held is not None:
                box.above, box.below = tuple(held.above), tuple(held.below)
            boxes.append(box)
        links = [self._link(part, places, boxes) for part in self.nest.parts[key]]
        layered(boxes, links, header=header)
        return self._boxed(key, boxes, links, places)

    def _link(self, part: Part, places: dict[str, int], boxes: list[Box]) -> Link:
        label = self.labels[part.arrow] if part.labelled else None
        ends: list[int] = []
        ports: list[float | None] = []
        short = part.tail is None or part.head is None
        for kid in (part.tail, part.head):
            if kid is None:
                boxes.append(Box(0.0, 0.0, 0.0, pin="first" if not ends else "last"))
                ends.append(len(boxes) - 1)
                ports.append(None)
            else:
                short = short or self.nest.shapes[kid].form in UNLABELLED
                ends.append(places[kid])
                inside = self.insides.get(kid)
                ports.append(inside.ports.get(part.arrow) if inside else None)
        size = (label.width, label.height) if label else None
        rows = 1 if short and label is None else 2
        upward = self.nest.routes[part.arrow].flipped
        return Link(ends[0], ends[1], rows, size, ports[0], ports[1], upward)

    def _boxed(
        self, key: str, boxes: list[Box], links: list[Link], places: dict[str, int]
    ) -> _Inside:
        """Draw a border around what has been placed."""
        pad = 0.0 if key == ROOT else PAD
        lefts = [box.x - box.left for box in boxes] + [
            x for link in links for x in _reach(link, -1)
        ]
        rights = [box.x + box.right for box in boxes] + [
            x for link in links for x in _reach(link, 1)
        ]
        left = min(lefts) - pad
        width = max(rights) + pad - left
        height = max(box.y + box.height for box in boxes) + 2 * pad
        inside = _Inside(width, height, (pad, pad))
        for kid, number in places.items():
            inside.at[kid] = (boxes[number].x - left, boxes[number].y + pad)
        for part, link in zip(self.nest.parts[key], links, strict=True):
            points = [(x - left, y + pad) for x, y in link.points]
            if part.tail is None:
                points.insert(0, (points[0][0], 0.0))
                inside.ports[part.arrow] = points[0][0] - width / 2
                inside.above.append(inside.ports[part.arrow])
            if part.head is None:
                points.append((points[-1][0], height))
                inside.ports[part.arrow] = points[-1][0] - width / 2
                inside.below.append(inside.ports[part.arrow])
            inside.led[part.arrow] = points
            if link.label_at:
                inside.labels[part.arrow] = (link.label_at[0] - left, link.label_at[1] + pad)
            if link.loose:
                self.straight.add(part.arrow)
        return inside

    def _parallel(self, key: str) -> _Inside:
        """Regions side by side; arrows from one to another turn below them."""
        nest = self.nest
        wide, high = self._header(key)
        top = PAD + high + PAD / 2
        x, height = 0.0, max(self.insides[kid].height for kid in nest.kids[key])
        inside = _Inside(0.0, 0.0, (PAD, PAD))
        turning = set(nest.under.get(key, ()))
        ports: dict[int, float] = {}
        for kid in nest.kids[key]:
            region = self.insides[kid]
            middle = x + region.width / 2
            inside.at[kid] = (middle, top)
            inside.above += [middle + port for port in region.above]
            for part in nest.parts[kid]:
                if part.arrow in region.ports and part.arrow not in turning:
                    ports[part.arrow] = middle + region.ports[part.arrow]
                    if part.head is None:
                        inside.below.append(ports[part.arrow])
            region.height = height
            x += region.width
        inside.title = (_room(inside.above, wide), PAD)
        inside.width = max(x, inside.title[0] + wide + PAD)
        y = top + height
        for arrow in nest.under.get(key, ()):
            y += TURN
            inside.channels[arrow] = y
        inside.height = y + (TURN if inside.channels else 0.0)
        half = inside.width / 2
        inside.ports = {arrow: at - half for arrow, at in ports.items()}
        inside.above = [at - half for at in inside.above]
        inside.below = [at - half for at in inside.below]
        return inside

    # All together ---------------------------------------------------------------------------

    def picture(self) -> Picture:
        """Add up the places from the outside."""
        root = self.insides[ROOT]
        picture = Picture(root.width, root.height, {ROOT: Frame(0, 0, root.width, root.height)}, [])
        for key in self.containers:
            self._place(key, picture)
        for number, arrow in enumerate(self.chart.arrows):
            if arrow.source == arrow.target:
                picture.ways.append(Way([], self.labels[number], bend="loop"))
            else:
                picture.ways.append(self._way(number, picture.frames))
        for key, numbers in self.nest.loops.items():
            self._loop(picture, key, numbers)
        picture.straight = len(self.straight)
        return picture

    def _place(self, key: str, picture: Picture) -> None:
        inside, frame = self.insides[key], picture.frames[key]
        frame.title = (frame.x + inside.title[0], frame.y + inside.title[1])
        for kid, (middle, top) in inside.at.items():
            held = self.insides.get(kid)
            size = held or self._size(kid)
            x, y = frame.x + middle - size.width / 2, frame.y + top
            picture.frames[kid] = Frame(x, y, size.width, size.height)
            shape = self.nest.shapes[kid]
            if shape.form is Form.REGION:
                is_first = kid == self.nest.kids[key][0]
                picture.dividers.append((x, y, frame.y + frame.height, is_first))

    def _way(self, number: int, frames: dict[str, Frame]) -> Way:
        arrow, route = self.chart.arrows[number], self.nest.routes[number]
        way = Way([], self.labels[number])
        down: list[Point] = []
        up: list[Point] = []
        for position, holder in enumerate(route.holders):
            inside, frame = self.insides[holder], frames[holder]
            side = up if route.under and position >= route.turn else down
            side += [(frame.x + x, frame.y + y) for x, y in inside.led[number]]
            if number in inside.labels:
                x, y = inside.labels[number]
                way.label_at = (frame.x + x, frame.y + y)
        if route.under:
            self._turn(number, way, (down, up), frames[route.under])
        else:
            if route.above:
                down.insert(0, (down[0][0], frames[route.above].y))
            if route.below:
                down.append((down[-1][0], _bottom(frames[route.below])))
            way.points = down[::-1] if route.flipped else down
        for position, key in ((0, arrow.source), (-1, arrow.target)):
            if self.nest.shapes[key].form is Form.CHOICE:
                way.points[position] = _on_diamond(frames[key], way.points[position])
        if number in self.straight:
            way.points, way.label, way.bend = [way.points[0], way.points[-1]], None, "behind"
        return way

    def _turn(
        self, number: int, way: Way, sides: tuple[list[Point], list[Point]], frame: Frame
    ) -> None:
        """Down from one region, over, and up into the other."""
        down, up = sides
        inside = self.insides[self.nest.routes[number].under or ROOT]
        level = frame.y + inside.channels[number]
        down.append((down[-1][0], level))
        up.append((up[-1][0], level))
        way.points = down + up[::-1]

    def _loop(self, picture: Picture, key: str, numbers: list[int]) -> None:
        """One below the other, at the right side."""
        frame = picture.frames[key]
        right = frame.x + frame.width
        needed = sum(self._loop_height(number) for number in numbers)
        y = frame.y + max(4.0, (frame.height - needed) / 2)
        for number in numbers:
            height, label = self._loop_height(number), self.labels[number]
            middle = y + height / 2
            way = picture.ways[number]
            way.points = [(right, middle - 8), (right, middle + 8)]
            if label:
                way.label_at = (right + LOOP + label.width / 2, middle - label.height / 2)
            y += height


def _reach(link: Link, side: int) -> list[float]:
    """How far to one side a link and its label reach."""
    reach = [x for x, _ in link.points]
    if link.label and link.label_at:
        reach.append(link.label_at[0] + side * link.label[0] / 2)
    return reach


def _bottom(frame: Frame) -> float:
    return frame.y + frame.height


def _on_diamond(frame: Frame, point: Point) -> Point:
    """The point of its slanted edge above or below this one."""
    aside = abs(point[0] - frame.x - frame.width / 2)
    is_above = point[1] < frame.y + frame.height / 2
    return point[0], frame.y + aside if is_above else _bottom(frame) - aside


def _room(passing: list[float], width: float) -> float:
    """Where a name of this width begins so that no arrow from above runs through it."""
    x = PAD
    for at in sorted(passing):
        if at - 8 >= x + width:
            break
        x = max(x, at + 8)
    return x

"""A chart as SVG: one file with nothing outside it - no script, no font, no program to draw it.

It has its own background and follows the reader's light or dark setting. Every state and every
transition is a group with ``data-`` attributes, for a style sheet or a script of your own.
"""

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from pystator.definition.drawing.chart import ROOT, Arrow, Chart, Form, Mark, Shape
from pystator.definition.drawing.fonts import width_of
from pystator.definition.drawing.lines import one_line
from pystator.definition.drawing.nested import Frame, Picture, Point, Way, layout
from pystator.definition.drawing.sizes import BIG, INDENT, LINE, LOOP, RING, SMALL, title_of
from pystator.definition.drawing.styles import STYLE

__all__ = ["drawing", "svg"]

MARGIN = 24.0
TITLE = 34.0
SAME = 0.05
"""Two places that differ by less are one."""

ROUND = 10.0
"""Radius of a corner."""

HEAD = 7.0
"""Length of an arrow's head."""


def svg(chart: Chart) -> str:
    """The picture."""
    return drawing(chart)[0]


def drawing(chart: Chart) -> tuple[str, int]:
    """The picture, and how many arrows of it run behind boxes as there are too many."""
    picture = layout(chart)
    return "\n".join(_Drawing(chart, picture).lines()) + "\n", picture.straight


class _Drawing:
    def __init__(self, chart: Chart, picture: Picture) -> None:
        self.chart = chart
        self.picture = picture

    def lines(self) -> Iterator[str]:
        """The whole text."""
        chart, picture = self.chart, self.picture
        top = MARGIN + (TITLE if chart.title else 0.0)
        wide = max(picture.width, width_of(chart.title, 16, bold=True)) + 2 * MARGIN
        high = picture.height + top + MARGIN
        name = f"pystator-{chart.fingerprint[:12]}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pystator" role="img" '
            f'aria-labelledby="{name}-title {name}-desc" width="{_n(wide)}" height="{_n(high)}" '
            f'style="max-width:100%;height:auto" viewBox="0 0 {_n(wide)} {_n(high)}">'
        )
        yield f'<title id="{name}-title">{_text(chart.title or "State machine")}</title>'
        yield f'<desc id="{name}-desc">{_text(_story(chart))}</desc>'
        yield f"<style>{STYLE}</style>"
        yield f'<rect class="page" width="{_n(wide)}" height="{_n(high)}" rx="8"/>'
        if chart.title:
            yield _words("title", MARGIN, MARGIN + 14, chart.title)
        yield f'<g transform="translate({_n((wide - picture.width) / 2)} {_n(top)})">'
        yield from self._arrows(behind=True)
        for key, shape in chart.shapes.items():
            if key != ROOT:
                yield from _shape(shape, picture.frames[key])
        yield from self._dividers()
        yield from self._arrows(behind=False)
        yield from ("</g>", "</svg>")

    def _arrows(self, *, behind: bool) -> Iterator[str]:
        for arrow, way in zip(self.chart.arrows, self.picture.ways, strict=True):
            if (way.bend == "behind") is behind:
                yield from _arrow(arrow, way)

    def _dividers(self) -> Iterator[str]:
        for x, top, bottom, is_first in self.picture.dividers:
            if not is_first:
                yield f'<path class="divider" d="M{_n(x)} {_n(top)}V{_n(bottom)}"/>'


def _story(chart: Chart) -> str:
    """The picture for those who do not see it."""
    states = [shape for shape in chart.shapes.values() if shape.form in STATES]
    ways = {arrow.index for arrow in chart.arrows if arrow.index is not None}
    parts = [f"State machine with {len(states)} states and {len(ways)} arrows."]
    if chart.description:
        parts.insert(0, f"{chart.description.rstrip('.')}.")
    starts = [
        chart.shapes[arrow.target].label
        for arrow in chart.arrows
        if arrow.source == f"{ROOT}:initial"
    ]
    if starts:
        parts.append(f"It starts in {', '.join(starts)}.")
    here = [shape.label for shape in states if shape.mark is Mark.CURRENT]
    if here:
        parts.append(f"Active: {', '.join(here)}.")
    return " ".join(parts)


STATES = frozenset({Form.STATE, Form.TERMINAL, Form.CHOICE, Form.COMPOUND, Form.PARALLEL})

# Shapes -----------------------------------------------------------------------------------------


def _shape(shape: Shape, frame: Frame) -> Iterator[str]:
    words = ["shape", str(shape.form), *(["error"] if shape.error else [])]
    words += [str(shape.mark)] if shape.mark else []
    data = f' data-state="{_text(shape.key)}"' if shape.form in STATES else ""
    if shape.form is Form.REGION:
        data = f' data-region="{_text(shape.label)}"'
    yield f'<g class="{" ".join(words)}"{data}>'
    if shape.description:
        yield f"<title>{_text(shape.description)}</title>"
    match shape.form:
        case Form.INITIAL | Form.SHALLOW | Form.DEEP:
            yield from _circle(shape, frame)
        case Form.CHOICE:
            yield from _diamond(shape, frame)
        case Form.FORK:
            yield f'<rect{_rect(frame)} rx="2"/>'
        case _:
            yield from _box(shape, frame)
    yield "</g>"


def _box(shape: Shape, frame: Frame) -> Iterator[str]:
    lines, _, _ = title_of(shape)
    if shape.form is not Form.REGION:
        yield f'<rect{_rect(frame)} rx="{8 if shape.holds else 10}"/>'
    if shape.holds:
        x, y = frame.title
        yield _words("name", x, y + BIG, shape.label)
        yield from _lines(lines, x, y + BIG + 5 + LINE, "inside")
        return
    middle = frame.x + frame.width / 2
    tall = BIG + (8 + LINE * len(lines) if lines else 0)
    y = frame.y + (frame.height - tall) / 2 + BIG - 2
    shift = RING / 2 if shape.form is Form.TERMINAL else 0
    if shape.form is Form.TERMINAL:
        yield from _ring(shape, frame, y)
    yield _words("name middle", middle + shift, y, shape.label)
    if lines:
        yield f'<path class="rule" d="M{_n(frame.x)} {_n(y + 8)}H{_n(frame.x + frame.width)}"/>'
        yield from _lines(lines, frame.x + 12, y + 8 + LINE - 1, "inside")


def _ring(shape: Shape, frame: Frame, y: float) -> Iterator[str]:
    """The second border of a final state, and its bull's-eye."""
    inner = Frame(frame.x + 3, frame.y + 3, frame.width - 6, frame.height - 6)
    x = frame.x + (frame.width - width_of(shape.label, BIG, bold=True) - RING) / 2 + 6
    yield f'<rect class="inner"{_rect(inner)} rx="7"/>'
    yield f'<circle class="ring" cx="{_n(x)}" cy="{_n(y - 4.5)}" r="6"/>'
    yield f'<circle class="dot" cx="{_n(x)}" cy="{_n(y - 4.5)}" r="3"/>'


def _circle(shape: Shape, frame: Frame) -> Iterator[str]:
    x, y, radius = frame.x + frame.width / 2, frame.y + frame.height / 2, frame.width / 2
    yield f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>'
    if shape.label:
        yield _words("small middle", x, y + 4, shape.label)


def _diamond(shape: Shape, frame: Frame) -> Iterator[str]:
    x, y, half = frame.x + frame.width / 2, frame.y + frame.height / 2, frame.width / 2
    corners = ((x, y - half), (x + half, y), (x, y + half), (x - half, y))
    yield f'<path d="M{"L".join(f"{_n(a)} {_n(b)}" for a, b in corners)}z"/>'
    yield _words("small", x + half + 6, y + 4, shape.label)


def _lines(lines: list[str], x: float, y: float, words: str) -> Iterator[str]:
    for number, line in enumerate(lines):
        left = x + 12 if line.startswith(INDENT) else x
        yield _words(words, left, y + number * LINE, line.removeprefix(INDENT))


def _words(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{_text(text)}</text>'


def _rect(frame: Frame) -> str:
    x, y, width, height = map(_n, (frame.x, frame.y, frame.width, frame.height))
    return f' x="{x}" y="{y}" width="{width}" height="{height}"'


# Arrows -----------------------------------------------------------------------------------------


def _arrow(arrow: Arrow, way: Way) -> Iterator[str]:
    data = ""
    if arrow.index is not None:
        data = f' data-transition="{arrow.index}"'
    data += f' data-source="{_text(arrow.source)}" data-target="{_text(arrow.target)}"'
    yield f'<g class="arrow"{data}>'
    if way.bend == "behind":
        yield f"<title>{_text(' '.join(arrow.words.parts()))}</title>"
    path, tip = _path(way)
    yield f'<path class="way" d="{path}"/>'
    yield f'<path class="head" d="{tip}"/>'
    if way.label and way.label_at:
        x, top = way.label_at
        for number, (part, line) in enumerate(way.label.lines):
            yield _words(f"{part} middle", x, top + number * LINE + SMALL, line)
    yield "</g>"


def _path(way: Way) -> tuple[str, str]:
    """The line, and the head at its end."""
    if way.bend == "loop":
        (x, y), (_, end) = way.points
        reach = x + LOOP * 1.2
        line = _curve((reach, y - 6), (reach, end + 6), (x + HEAD - 1, end))
        return f"M{_n(x)} {_n(y)}{line}", f"M{_n(x)} {_n(end)}l{_n(HEAD)} -3.5v7z"
    points = _without_repeats(way.points)
    x, y = points[-1]
    down = y >= points[-2][1]
    short = y - (HEAD - 1 if down else 1 - HEAD)
    points[-1] = (x, short)
    head = f"M{_n(x)} {_n(y)}l-3.5 {_n(-HEAD if down else HEAD)}h7z"
    if way.bend == "behind":
        (start, top), (end, bottom) = points
        half = (top + bottom) / 2
        line = _curve((start, half), (end, half), (end, bottom))
        return f"M{_n(start)} {_n(top)}{line}", head
    return "".join(_steps(points, way)), head


def _without_repeats(points: list[Point]) -> list[Point]:
    kept = points[:1]
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) > SAME or abs(point[1] - kept[-1][1]) > SAME:
            kept.append(point)
    return kept


def _steps(points: list[Point], way: Way) -> Iterator[str]:
    """From point to point: straight down, or over in an S; interrupted where the label stands."""
    x, y = points[0]
    yield f"M{_n(x)} {_n(y)}"
    turns = [
        abs(y - below) < SAME < abs(x - beside) for (x, y), (beside, below) in pairwise(points)
    ]
    for (to_x, to_y), turns_now, turns_next in zip(
        points[1:], turns, [*turns[1:], False], strict=True
    ):
        if turns_now:  # beneath regions
            yield _turned((x, y), (to_x, to_y))
        elif abs(to_x - x) < SAME:
            yield _gap(x, y, to_y, way)
            yield f"V{_n(to_y - ROUND if turns_next else to_y)}"
        else:
            half = (y + to_y) / 2
            yield _curve((x, half), (to_x, half), (to_x, to_y))
        x, y = to_x, to_y


def _curve(*points: Point) -> str:
    return "C" + " ".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _gap(x: float, y: float, to_y: float, way: Way) -> str:
    """Leave out what is behind the label."""
    if not way.label or not way.label_at:
        return ""
    at, top = way.label_at
    bottom = top + way.label.height
    low, high = min(y, to_y), max(y, to_y)
    if abs(at - x) > SAME or top < low - SAME or bottom > high + SAME:
        return ""
    first, second = (top, bottom) if to_y > y else (bottom, top)
    return f"V{_n(first)}M{_n(x)} {_n(second)}"


def _turned(start: Point, end: Point) -> str:
    """Around two corners."""
    (x, y), (to_x, _) = start, end
    step = ROUND if to_x > x else -ROUND
    over = f"H{_n(to_x - step)}"
    return f"{_quarter(x, y, x + step, y)}{over}{_quarter(to_x, y, to_x, y - ROUND)}"


def _quarter(x: float, y: float, to_x: float, to_y: float) -> str:
    return f"Q{_n(x)} {_n(y)} {_n(to_x)} {_n(to_y)}"


# Text -------------------------------------------------------------------------------------------


def _n(number: float) -> str:
    """A number with at most one digit behind the point: small, and the same everywhere."""
    text = f"{number:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def _text(text: str) -> str:
    return escape(one_line(text))

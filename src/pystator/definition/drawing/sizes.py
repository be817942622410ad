"""How large things are before they have a place: names, labels, and the boxes around them."""

from dataclasses import dataclass

from pystator.definition.drawing.chart import Form, Shape, Words
from pystator.definition.drawing.fonts import width_of
from pystator.definition.drawing.lines import wrapped
from pystator.records import record

__all__ = [
    "BIG",
    "INDENT",
    "LINE",
    "LOOP",
    "SMALL",
    "Label",
    "Size",
    "label_of",
    "size_of",
    "title_of",
]

BIG, SMALL = 13.0, 11.0
"""Sizes of type: names, and everything else."""

LINE = 15.0
"""From one small line to the next."""

LOOP = 26.0
"""How far the loop of an arrow to its own source reaches out."""

LETTERS, MOST = 32, 3
"""Letters of a line, and lines of a part of a label."""

NAME = 48
"""Letters of a line of a trigger, which is one word."""

INSIDE = 46
"""Letters of a line of what happens inside a state."""

INDENT = "\u2003"
"""Before a line that goes on; the width of two letters."""

RING = 20.0
"""Room of a final state's ring, beside its name."""

MARKS = {Form.INITIAL: 14.0, Form.SHALLOW: 24.0, Form.DEEP: 24.0, Form.CHOICE: 30.0}


@record
class Label:
    """The lines of an arrow's label, each with the part of it that it belongs to."""

    lines: tuple[tuple[str, str], ...]
    width: float
    height: float


@dataclass(slots=True)
class Size:
    """A box around its middle line.

    Attributes:
        right: How far it reaches to the right with what is drawn beside it.
        slack: How far from the middle line an arrow may end.
    """

    width: float
    height: float
    right: float
    slack: float


def label_of(words: Words) -> Label | None:
    """The label, or None where there is nothing to say."""
    lines = [
        (part, line)
        for part, text in (
            ("trigger", words.trigger),
            ("guard", words.guards),
            ("action", words.actions),
            ("ref", words.refs),
        )
        for line in wrapped(text, NAME if part == "trigger" else LETTERS, MOST)
    ]
    if not lines:
        return None
    width = max(width_of(line, SMALL, bold=part == "trigger") for part, line in lines)
    return Label(tuple(lines), width + 6, len(lines) * LINE)


def title_of(shape: Shape) -> tuple[list[str], float, float]:
    """What stands in a box: the lines inside, and the room of name and lines together."""
    lines = [line for text in shape.inside for line in _hanging(text)]
    width = width_of(shape.label, BIG, bold=True)
    if shape.form is Form.TERMINAL:
        width += RING
    width = max([width, *(width_of(line, SMALL) for line in lines)])
    return lines, width, BIG + 5 + (len(lines) * LINE + 8 if lines else 0.0)


def _hanging(text: str) -> list[str]:
    first, *others = wrapped(text, INSIDE, 2)
    return [first, *(INDENT + line for line in others)]


def size_of(shape: Shape, ends: int) -> Size:
    """The box of a shape that holds no others.

    Args:
        shape: The shape.
        ends: How many arrows end at that one of its sides where most do.
    """
    if shape.form is Form.FORK:
        width = max(56.0, 18.0 * ends)
        return Size(width, 5.0, width / 2, width / 2 - 6)
    if shape.form in MARKS:
        width = MARKS[shape.form]
        beside = width_of(shape.label, SMALL) + 6 if shape.form is Form.CHOICE else 0.0
        slack = width / 2 - 6 if shape.form is Form.CHOICE else 0.0
        return Size(width, width, width / 2 + beside, slack)
    _, width, height = title_of(shape)
    width = max(width + 28, 72.0, 14.0 * ends + 20)
    return Size(width, height + 18, width / 2, width / 2 - 12)

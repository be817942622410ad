"""Text in lines of a bounded width: a picture is read at a glance."""

import re
from collections.abc import Iterator
from textwrap import wrap

__all__ = ["one_line", "wrapped"]

BREAKS = re.compile(r"(?<=, )|(?= and )|(?= or )")
"""Where a line is broken first: between actions, and between guards."""


def one_line(text: str) -> str:
    """Without what a terminal or a parser would act on: a control character is a space here."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def wrapped(text: str, width: int, most: int) -> list[str]:
    """The text in lines of at most so many characters; what does not fit ends in an ellipsis."""
    lines = list(_lines(one_line(text), width))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1] = lines[-1][: width - 2].rstrip() + " …"
    return lines


def _lines(text: str, width: int) -> Iterator[str]:
    line = ""
    for piece in BREAKS.split(text):
        if line and len(line) + len(piece.rstrip()) > width:
            yield line.rstrip()
            line = piece.lstrip()
        else:
            line += piece
        if len(line.rstrip()) > width:
            end = line[len(line.rstrip()) :]
            *whole, line = wrap(line, width, break_on_hyphens=False)
            yield from whole
            line += end
    if line.strip():
        yield line.rstrip()

"""A layered graph: boxes in rows, and links that all lead downward from row to row.

A link over several rows passes each row between at a bend, a box of no height, and carries its
label at one of them: a label is a box like any other, so nothing is ever drawn over it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

__all__ = ["Box", "Grid", "Link", "Strand"]

LONGEST = 40_000
"""Bends of one grid at most; the longest links beyond go straight, behind the boxes."""


@dataclass(slots=True)
class Box:
    """Something to place; ``left`` and ``right`` reach from its own middle line.

    Attributes:
        pin: Belongs into the first row, or the last one.
        slack: How far from the middle line a link may end.
        pointed: Arrows to it meet in one point.
        above: Distances from the middle line where no other link may end above; ``below``: below.
        x: Its middle line; y: its upper edge.
    """

    left: float
    right: float
    height: float
    pin: Literal["", "first", "last"] = ""
    slack: float = 0.0
    pointed: bool = False
    above: tuple[float, ...] = ()
    below: tuple[float, ...] = ()
    rank: int = 0
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Link:
    """A connection of two boxes, by their numbers.

    Attributes:
        rows: How many rows it leads down at least.
        label: Width and height of its label.
        upward: It is an arrow that points to its tail.
        tail_port: Where it has to end at its tail, from the middle line; None: anywhere in reach.
        points: The way it was led, from above: between two points it goes straight down or swings
            over, and starts and ends straight down.
        label_at: Middle and upper edge of the label.
        loose: It goes straight, behind the boxes.
    """

    tail: int
    head: int
    rows: int = 2
    label: tuple[float, float] | None = None
    tail_port: float | None = None
    head_port: float | None = None
    upward: bool = False
    points: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    label_at: tuple[float, float] | None = None
    loose: bool = False


@dataclass(slots=True)
class Strand:
    """A part of a link from one row to the next; ports are distances from the middle lines."""

    upper: int
    lower: int
    tail_port: float = 0.0
    head_port: float = 0.0


class Grid:
    """Boxes and bends in rows.

    Attributes:
        boxes: The boxes, then the bends.
        inner: Number of the first bend.
        chains: For each link the numbers of what it passes, both ends included.
        down: Number -> strands to the next row; ``up``: from the row before.
        rows: Numbers in each row, from the left.
    """

    def __init__(self, boxes: list[Box], links: list[Link]) -> None:
        self.boxes = list(boxes)
        self.links = links
        self.inner = len(boxes)
        self.chains: list[list[int]] = []
        _loosen(boxes, links)
        for link in links:
            self.chains.append([link.tail, *self._bends(link), link.head])
        self.down: list[list[Strand]] = [[] for _ in self.boxes]
        self.up: list[list[Strand]] = [[] for _ in self.boxes]
        for link, chain in zip(links, self.chains, strict=True):
            if not link.loose:
                self._strands(link, chain)
        self.rows: list[list[int]] = [[] for _ in range(1 + max(box.rank for box in boxes))]

    def _bends(self, link: Link) -> Iterable[int]:
        first, last = self.boxes[link.tail].rank + 1, self.boxes[link.head].rank
        if link.loose:
            return
        middle = (first + last) // 2
        for rank in range(first, last):
            width, height = link.label if link.label and rank == middle else (0.0, 0.0)
            self.boxes.append(Box(width / 2, width / 2, height, rank=rank))
            yield len(self.boxes) - 1

    def _strands(self, link: Link, chain: list[int]) -> None:
        for upper, lower in pairwise(chain):
            strand = Strand(upper, lower)
            if upper == link.tail and link.tail_port is not None:
                strand.tail_port = link.tail_port
            if lower == link.head and link.head_port is not None:
                strand.head_port = link.head_port
            self.down[upper].append(strand)
            self.up[lower].append(strand)

    def is_bend(self, number: int) -> bool:
        """It is a part of a link, no box."""
        return number >= self.inner

    def gap(self, left: int, right: int) -> float:
        """The room between two neighbours in a row."""
        return 14.0 if self.is_bend(left) or self.is_bend(right) else 30.0


def _loosen(boxes: list[Box], links: list[Link]) -> None:
    """Take the longest links out when all together have too many bends."""
    spans = [boxes[link.head].rank - boxes[link.tail].rank for link in links]
    room = LONGEST
    for number in sorted(range(len(links)), key=spans.__getitem__):
        room -= spans[number]
        links[number].loose = room < 0

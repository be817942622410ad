"""How far right each box stands: long links straight, boxes in the middle of what they lead to.

Brandes and Köpf's method: boxes are put under each other in blocks, from above and from below, from
the left and from the right, each of the four pushed together; a box's place is the mean of the two
middle ones. Links through several rows keep straight in all four, hence in the mean.
"""

from itertools import pairwise
from math import inf

from pystator.definition.drawing.grid import Grid, Strand

__all__ = ["place"]


def place(grid: Grid) -> None:
    """Set the middle line of every box."""
    conflicts = _conflicts(grid)
    layouts = [
        _Blocks(grid, conflicts, upward=upward, mirrored=mirrored).places()
        for mirrored in (False, True)
        for upward in (False, True)
    ]
    _level(grid, layouts)
    for number, box in enumerate(grid.boxes):
        _, one, other, _ = sorted(layout[number] for layout in layouts)
        box.x = (one + other) / 2


def _level(grid: Grid, layouts: list[list[float]]) -> None:
    """Move the four over each other: left ones by their left ends, right ones by their right."""
    numbers = range(len(grid.boxes))
    bounds = [
        (
            min(layout[n] - grid.boxes[n].left for n in numbers),
            max(layout[n] + grid.boxes[n].right for n in numbers),
        )
        for layout in layouts
    ]
    left, right = min(bounds, key=lambda bound: bound[1] - bound[0])
    for position, (low, high) in enumerate(bounds):
        shift = left - low if position < 2 else right - high
        layouts[position][:] = [x + shift for x in layouts[position]]


def _conflicts(grid: Grid) -> set[tuple[int, int]]:
    """Strands from or to a box that cross one between two bends: the long link goes first."""
    place = {number: place for row in grid.rows for place, number in enumerate(row)}
    found: set[tuple[int, int]] = set()
    for before, row in pairwise(grid.rows):
        low, scanned = 0, 0
        for position, number in enumerate(row):
            bend = _bend_above(grid, number)
            if bend is None and position < len(row) - 1:
                continue
            high = len(before) if bend is None else place[bend]
            for other in row[scanned : position + 1]:
                found.update(
                    (strand.upper, other)
                    for strand in grid.up[other]
                    if not low <= place[strand.upper] <= high
                    and not (grid.is_bend(other) and grid.is_bend(strand.upper))
                )
            scanned, low = position + 1, high
    return found


def _bend_above(grid: Grid, number: int) -> int | None:
    if grid.is_bend(number):
        upper = grid.up[number][0].upper
        return upper if grid.is_bend(upper) else None
    return None


class _Blocks:
    """One of the four: boxes under each other in blocks, and the blocks pushed together."""

    def __init__(
        self, grid: Grid, conflicts: set[tuple[int, int]], *, upward: bool, mirrored: bool
    ) -> None:
        self.grid = grid
        self.conflicts = conflicts
        self.upward = upward
        self.sign = -1.0 if mirrored else 1.0
        rows = grid.rows[::-1] if upward else grid.rows
        self.rows = [row[::-1] for row in rows] if mirrored else rows
        self.strands = grid.down if upward else grid.up
        count = len(grid.boxes)
        self.root = list(range(count))
        self.next = list(range(count))
        self.shift = [0.0] * count
        self.place = [0] * count
        for row in self.rows:
            for position, number in enumerate(row):
                self.place[number] = position

    def places(self) -> list[float]:
        """The middle lines."""
        self._align()
        roots = self._push()
        return [
            self.sign * (roots[self.root[number]] + self.shift[number])
            for number in range(len(self.root))
        ]

    def _align(self) -> None:
        """Put each under the middle of its neighbours, if nothing that is there is crossed."""
        for row in self.rows:
            free = -1
            for number in row:
                strands = sorted(self.strands[number], key=self._far_place)
                for strand in strands[(len(strands) - 1) // 2 : len(strands) // 2 + 1]:
                    far = strand.lower if self.upward else strand.upper
                    crossed = (strand.upper, strand.lower) in self.conflicts
                    if self.next[number] == number and free < self.place[far] and not crossed:
                        self._join(number, far, strand)
                        free = self.place[far]

    def _far_place(self, strand: Strand) -> int:
        return self.place[strand.lower if self.upward else strand.upper]

    def _join(self, number: int, far: int, strand: Strand) -> None:
        ports = strand.tail_port - strand.head_port
        if self.upward:
            ports = -ports
        self.next[far] = number
        self.root[number] = self.root[far]
        self.next[number] = self.root[far]
        self.shift[number] = self.shift[far] + self.sign * ports

    def _push(self) -> dict[int, float]:
        """Blocks as far left as can be, then each to the right up to its neighbour."""
        ahead: dict[int, dict[int, float]] = {root: {} for root in self.root}
        behind: dict[int, dict[int, float]] = {root: {} for root in self.root}
        for row in self.rows:
            for left, right in pairwise(row):
                one, other = self.root[left], self.root[right]
                room = self.shift[left] - self.shift[right] + self._apart(left, right)
                room = max(room, ahead[one].get(other, -inf))
                ahead[one][other] = behind[other][one] = room
        order = _sorted(ahead, behind)
        at: dict[int, float] = {}
        for root in order:
            at[root] = max([0.0, *(at[left] + room for left, room in behind[root].items())])
        for root in reversed(order):
            if ahead[root]:
                at[root] = max(
                    at[root], min(at[right] - room for right, room in ahead[root].items())
                )
        return at

    def _apart(self, left: int, right: int) -> float:
        one, other = self.grid.boxes[left], self.grid.boxes[right]
        if self.sign < 0:
            return one.left + other.right + self.grid.gap(left, right)
        return one.right + other.left + self.grid.gap(left, right)


def _sorted(ahead: dict[int, dict[int, float]], behind: dict[int, dict[int, float]]) -> list[int]:
    """Blocks so that each comes after all on its left."""
    waiting = {root: len(left) for root, left in behind.items()}
    order = [root for root, count in waiting.items() if not count]
    for root in order:
        for right in ahead[root]:
            waiting[right] -= 1
            if not waiting[right]:
                order.append(right)
    return order

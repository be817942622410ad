"""Which box stands left of which: as few crossings as a few sweeps can reach.

Each sweep sorts the rows by where the neighbours in the row before stand (the barycentre), down and
up in turn; then neighbours change places where that helps. The best order that was seen is kept.
"""

from collections.abc import Callable, Sequence

from pystator.definition.drawing.grid import Grid, Strand

__all__ = ["arrange"]

PATIENCE = 4
"""Sweeps without an improvement."""


def arrange(grid: Grid) -> None:
    """Set the order in every row."""
    _begin(grid)
    count = len(grid.boxes)
    sweeps = 24 if count < 1_500 else 8 if count < 8_000 else 2
    best = _Order(grid)
    kept, least = [list(row) for row in grid.rows], best.crossings()
    idle = 0
    for sweep in range(sweeps):
        if not least or idle == PATIENCE:
            break
        best.sweep(downward=sweep % 2 == 0, rightward=sweep % 4 < 2)
        crossings = best.crossings()
        idle += 1
        if crossings < least:
            kept, least, idle = [list(row) for row in grid.rows], crossings, 0
    grid.rows = kept
    if least and count < 1_500:
        _Order(grid).swap()


def _begin(grid: Grid) -> None:
    """From the top, each box with all that hangs below it, in order of the document."""
    seen = [False] * len(grid.boxes)
    by_rank = sorted(range(len(grid.boxes)), key=lambda number: grid.boxes[number].rank)
    for start in by_rank:
        pending = [start]
        while pending:
            number = pending.pop()
            if seen[number]:
                continue
            seen[number] = True
            grid.rows[grid.boxes[number].rank].append(number)
            pending.extend(strand.lower for strand in reversed(grid.down[number]))


class _Order:
    """The rows of a grid with each number's place in its row."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.place = [0] * len(grid.boxes)
        for row in grid.rows:
            self._number(row)

    def _number(self, row: list[int]) -> None:
        for place, number in enumerate(row):
            self.place[number] = place

    def _at(self, number: int, port: float) -> float:
        """Where a strand ends, in places."""
        if not port:
            return float(self.place[number])
        box = self.grid.boxes[number]
        return self.place[number] + 0.9 * port / (box.left + box.right + 1.0)

    def upper(self, strand: Strand) -> float:
        """Where it starts."""
        return self._at(strand.upper, strand.tail_port)

    def lower(self, strand: Strand) -> float:
        """Where it ends."""
        return self._at(strand.lower, strand.head_port)

    # Sweeps ---------------------------------------------------------------------------------

    def sweep(self, *, downward: bool, rightward: bool) -> None:
        """Sort each row by the one before it."""
        rows = self.grid.rows[1:] if downward else self.grid.rows[-2::-1]
        strands = self.grid.up if downward else self.grid.down
        far = self.upper if downward else self.lower
        for row in rows:
            wanted = {number: self._mean(number, strands[number], far) for number in row}
            if rightward:
                row.sort(key=wanted.__getitem__)
            else:  # what is equal changes places
                row.reverse()
                row.sort(key=wanted.__getitem__)
            self._number(row)

    def _mean(
        self, number: int, strands: Sequence[Strand], far: Callable[[Strand], float]
    ) -> float:
        if not strands:
            return float(self.place[number])
        return sum(far(strand) for strand in strands) / len(strands)

    # Crossings ------------------------------------------------------------------------------

    def crossings(self) -> int:
        """How many there are."""
        return sum(self._between(row) for row in self.grid.rows[:-1])

    def _between(self, row: list[int]) -> int:
        """Crossings below this row: pairs in the wrong order, counted with a tree of sums."""
        strands = [strand for number in row for strand in self.grid.down[number]]
        strands.sort(key=lambda strand: (self.upper(strand), self.lower(strand)))
        ends = [self.lower(strand) for strand in strands]
        places = {end: place for place, end in enumerate(sorted(set(ends)), 1)}
        sums = [0] * (len(places) + 1)
        found = 0
        for seen, end in enumerate(ends):
            place = places[end]
            before, at = 0, place
            while at:
                before += sums[at]
                at &= at - 1
            found += seen - before
            while place <= len(places):
                sums[place] += 1
                place += place & -place
        return found

    def swap(self) -> None:
        """Let neighbours change places as long as that takes crossings away."""
        for _ in range(8):
            swaps = [self._swap_in(row) for row in self.grid.rows]
            if not any(swaps):
                return

    def _swap_in(self, row: list[int]) -> bool:
        better = False
        for place in range(len(row) - 1):
            left, right = row[place], row[place + 1]
            if self._pairs(left, right) > self._pairs(right, left):
                row[place], row[place + 1] = right, left
                self.place[left], self.place[right] = place + 1, place
                better = True
        return better

    def _pairs(self, left: int, right: int) -> int:
        """Crossings between the strands of two neighbours that stand in this order."""
        grid = self.grid
        found = 0
        for one, other, far in (
            (grid.up[left], grid.up[right], self.upper),
            (grid.down[left], grid.down[right], self.lower),
        ):
            ends = [far(strand) for strand in other]
            found += sum(far(strand) > end for strand in one for end in ends)
        return found

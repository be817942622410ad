"""One container's layout: boxes in rows, links from above to below, labels in rows of their own."""

from collections.abc import Callable

from pystator.definition.drawing.columns import place
from pystator.definition.drawing.grid import Box, Grid, Link
from pystator.definition.drawing.order import arrange
from pystator.definition.drawing.ranks import rank

__all__ = ["layered"]

NEAR, FAR = 24.0, 72.0
"""Room between two rows: at least, and at most where links swing far to the side."""

SWING = 0.09
"""Room for a unit of swing."""

APART = 14.0
"""Between two links that end at one box."""

BESIDE = 11.0
"""Between one that ends at a border and one that passes through it."""


def layered(boxes: list[Box], links: list[Link], *, header: int | None = None) -> None:
    """Place the boxes, and lead the links, which make no circle.

    Args:
        boxes: Get ``x`` and ``y``; the first row begins at 0.
        links: Get their points and where their labels are.
        header: The number of a box that stands in the upper left corner.
    """
    if not boxes:
        return
    rank(boxes, links)
    grid = Grid(boxes, links)
    arrange(grid)
    if header is not None:
        grid.rows[0].remove(header)
        grid.rows[0].insert(0, header)
    place(grid)
    if header is not None:
        leftmost = min(box.x - box.left for box in grid.boxes)
        boxes[header].x = leftmost + boxes[header].left
    tops, bottoms = _rows(grid)
    tails = _ports(grid, upward=False)
    heads = _ports(grid, upward=True)
    for number, link in enumerate(links):
        if link.loose:
            _straight(grid, link)
        else:
            _lead(grid, number, (tails[number], heads[number]), tops, bottoms)


def _rows(grid: Grid) -> tuple[list[float], list[float]]:
    """The upper and lower edge of each row; boxes stand in the middle of it."""
    tops: list[float] = []
    bottoms: list[float] = []
    y = 0.0
    for row in grid.rows:
        height = max((grid.boxes[number].height for number in row), default=0.0)
        for number in row:
            box = grid.boxes[number]
            box.y = y if box.pin else y + (height - box.height) / 2
        tops.append(y)
        bottoms.append(y + height)
        swing = max((_swing(grid, number) for number in row), default=0.0)
        y += height + min(FAR, NEAR + SWING * swing)
    return tops, bottoms


def _swing(grid: Grid, number: int) -> float:
    """How far to the side the links below a box lead."""
    at = grid.boxes[number].x
    return max((abs(grid.boxes[way.lower].x - at) for way in grid.down[number]), default=0.0)


def _ports(grid: Grid, *, upward: bool) -> list[float]:
    """Where each link ends at its tail (or its head): below what it leads to, if it can."""
    ends = [0.0] * len(grid.links)
    at_box: dict[int, list[int]] = {}
    for number, link in enumerate(grid.links):
        if not link.loose:
            at_box.setdefault(link.head if upward else link.tail, []).append(number)

    def wanted(number: int) -> float:
        link, chain = grid.links[number], grid.chains[number]
        far = grid.boxes[chain[-2] if upward else chain[1]]
        port = (link.tail_port if upward else link.head_port) if len(chain) == 2 else None
        return far.x + (port or 0.0)

    for owner, numbers in at_box.items():
        _spread(grid, owner, numbers, wanted, ends, upward=upward)
    return ends


def _spread(
    grid: Grid,
    owner: int,
    numbers: list[int],
    wanted: Callable[[int], float],
    ends: list[float],
    *,
    upward: bool,
) -> None:
    """Ends at one side of a box: in the order of where they lead, and apart from each other."""
    box = grid.boxes[owner]
    free: list[int] = []
    for number in numbers:
        link = grid.links[number]
        port = link.head_port if upward else link.tail_port
        if port is None:
            free.append(number)
        else:
            ends[number] = box.x + port
    free.sort(key=lambda number: (wanted(number), number))
    if box.pointed:
        free = _meet(grid, box, free, wanted, ends, upward=upward)
    slack = box.slack
    apart = min(APART, 2 * slack / (len(free) - 1)) if len(free) > 1 else 0.0
    level = [wanted(number) - position * apart for position, number in enumerate(free)]
    low, high = box.x - slack, box.x + slack - apart * (len(free) - 1)
    for position, at in enumerate(_rising(level)):
        ends[free[position]] = min(max(at, low), high) + position * apart
    passing = box.above if upward else box.below
    if passing:
        _make_way(box, free, ends, [box.x + port for port in passing])


def _meet(
    grid: Grid,
    box: Box,
    numbers: list[int],
    wanted: Callable[[int], float],
    ends: list[float],
    *,
    upward: bool,
) -> list[int]:
    """Arrows to a pointed box end at its point; those that leave beside them are left over."""
    coming = [number for number in numbers if grid.links[number].upward is not upward]
    leaving = [number for number in numbers if grid.links[number].upward is upward]
    for number in coming:
        ends[number] = box.x
    if not coming:
        return leaving
    for number in leaving:
        ends[number] = box.x + (box.slack if wanted(number) > box.x else -box.slack)
    return []


def _make_way(box: Box, free: list[int], ends: list[float], taken: list[float]) -> None:
    """Move ends away from where others pass through the border, to the nearest free place."""
    for number in free:
        steps = (step * side for step in range(int(box.slack)) for side in (2, -2))
        near = (ends[number] + step for step in steps)
        ends[number] = next(
            (
                at
                for at in near
                if abs(at - box.x) <= box.slack and all(abs(at - x) >= BESIDE for x in taken)
            ),
            ends[number],
        )
        taken.append(ends[number])


def _rising(values: list[float]) -> list[float]:
    """The nearest values that never fall (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, count), (other, more) = pools[-2:]
            pools[-2:] = [((one * count + other * more) / (count + more), count + more)]
    return [value for value, count in pools for _ in range(count)]


def _lead(
    grid: Grid,
    number: int,
    ends: tuple[float, float],
    tops: list[float],
    bottoms: list[float],
) -> None:
    """Straight down through rows, and over to the side between them."""
    link, chain = grid.links[number], grid.chains[number]
    tail, head = grid.boxes[link.tail], grid.boxes[link.head]
    link.points = [(ends[0], tail.y + tail.height), (ends[0], bottoms[tail.rank])]
    for bend in chain[1:-1]:
        box = grid.boxes[bend]
        link.points += [(box.x, tops[box.rank]), (box.x, bottoms[box.rank])]
        if box.height:
            link.label_at = (box.x, box.y)
    link.points += [(ends[1], tops[head.rank]), (ends[1], head.y)]


def _straight(grid: Grid, link: Link) -> None:
    tail, head = grid.boxes[link.tail], grid.boxes[link.head]
    start = tail.x + (link.tail_port or 0.0)
    end = head.x + (link.head_port or 0.0)
    link.points = [(start, tail.y + tail.height), (end, head.y)]

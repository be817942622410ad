"""In which row each box stands: links lead down, and as few rows as may be."""

from collections.abc import Iterable, Sequence

from pystator.definition.drawing.grid import Box, Link

__all__ = ["backward", "rank"]

ROUNDS = 4


def backward(count: int, pairs: Sequence[tuple[int, int]]) -> set[int]:
    """The positions of the pairs that close a circle, when the boxes are walked in their order.

    An arrow back to where the walk came from is drawn upward; all others lead down. Without them
    there is no circle.
    """
    ways: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for position, (tail, head) in enumerate(pairs):
        ways[tail].append((head, position))
    found: set[int] = set()
    state = [0] * count  # 0 not seen, 1 on the way here, 2 done
    for start in range(count):
        if state[start]:
            continue
        state[start] = 1
        path = [(start, iter(ways[start]))]
        while path:
            number, rest = path[-1]
            for head, position in rest:
                if state[head] == 1:
                    found.add(position)
                elif state[head] == 0:
                    state[head] = 1
                    path.append((head, iter(ways[head])))
                    break
            else:
                state[number] = 2
                path.pop()
    return found


def rank(boxes: list[Box], links: list[Link]) -> None:
    """Set the rank of every box. Links make no circle."""
    above: list[list[Link]] = [[] for _ in boxes]
    below: list[list[Link]] = [[] for _ in boxes]
    for link in links:
        above[link.head].append(link)
        below[link.tail].append(link)
    lowest = 1 if any(box.pin == "first" for box in boxes) else 0
    order = _downward(boxes, above, below)
    for number in order:
        if boxes[number].pin != "first":
            _raise(boxes, number, above[number], lowest)
    for _ in range(ROUNDS):
        _draw_near(boxes, order, above, below, lowest)
    inner = max((box.rank for box in boxes if box.pin != "last"), default=0)
    lasts = [box for box in boxes if box.pin == "last"]
    last = max([inner + 1, *(box.rank for box in lasts)])
    for box in lasts:
        box.rank = last


def _draw_near(
    boxes: list[Box],
    order: list[int],
    above: list[list[Link]],
    below: list[list[Link]],
    lowest: int,
) -> None:
    """Each towards where most of its links lead, as far as they let it."""
    for number in reversed(order):
        if len(below[number]) > len(above[number]) and not boxes[number].pin:
            boxes[number].rank = min(boxes[link.head].rank - link.rows for link in below[number])
    for number in order:
        if len(above[number]) > len(below[number]) and not boxes[number].pin:
            _raise(boxes, number, above[number], lowest)


def _downward(boxes: list[Box], above: list[list[Link]], below: list[list[Link]]) -> list[int]:
    """The boxes so that each comes after all that lead to it."""
    waiting = [len(links) for links in above]
    order = [number for number in range(len(boxes)) if not waiting[number]]
    for number in order:
        for link in below[number]:
            waiting[link.head] -= 1
            if not waiting[link.head]:
                order.append(link.head)
    return order


def _raise(boxes: list[Box], number: int, links: Iterable[Link], lowest: int) -> None:
    """As high as what leads to it lets it be."""
    boxes[number].rank = max([lowest, *(boxes[link.tail].rank + link.rows for link in links)])

"""Plans spliced from what single regions do.

A machine with six regions of six states has 46,656 configurations, but only 36 leaves. What a
transition does that stays in its region depends on the region's leaf alone; what it does in a
configuration is that, beside the other leaves::

    picking + open   + quiet        the configuration
              open -> paid          the move: made once for this leaf and this transition
    picking + paid   + quiet        spliced

So a configuration that comes for the first time costs a lookup for each leaf and a join of names,
and nothing is kept of it. A move (`pystator.engine.moves`) is made by the planner, for its leaf as
if it were alone.

A transition is spliced when it stays in the innermost region of its leaf, returns to no history,
and neither it nor the region's end is looked at by others; everything else is planned as a whole.
"""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Final

from pystator.definition.model import TransitionNode
from pystator.engine.moves import Moves, beside, together
from pystator.engine.plans import Candidates, Cell, Choice, Plan, Refusal
from pystator.engine.table import ROW, Row
from pystator.engine.tree import Configuration

if TYPE_CHECKING:
    from pystator.engine.history import Memory
    from pystator.engine.topology import Topology

__all__ = ["RegionRow", "Splicer"]

_KEPT: Final = 1 << 12
"""What triggers do first at leaves, that a splicer keeps before it begins anew."""

_SHAPES: Final = 1 << 10
"""And shapes of configurations."""

_made: Final = dict.__new__


class _First:
    """What a trigger does first at a leaf.

    Attributes:
        chain: What may be taken.
        move: Of the first of the chain, if it always holds and is one.
    """

    __slots__ = ("chain", "move")

    def __init__(self, chain: Candidates, move: Plan | None) -> None:
        self.chain = chain
        self.move = move


class RegionRow(Row):
    """The row of several leaves, whose plans are spliced where they can be.

    Attributes:
        names: The leaves by name.
        regions: The innermost region of each leaf.
    """

    __slots__ = ("kept", "names", "regions")

    kept: bool
    names: list[str]
    regions: tuple[int, ...]

    def __missing__(self, trigger: object) -> Cell:
        topology = self.topology
        if type(trigger) is not str or trigger not in topology.triggers:
            return super().__missing__(trigger)
        splicer = topology.splicer
        found = None if splicer is None else splicer.cell(self, trigger)
        if found is None:
            return self.nothing(trigger)
        if self.kept:
            self[trigger] = self.weighed(found)
        return found

    def plan(
        self,
        ways: Sequence[TransitionNode],
        trigger: str | None,
        memory: "Memory",
        consumes: tuple[str, ...],
    ) -> Plan:
        """The plan of transitions that were selected here."""
        splicer = self.topology.splicer
        if splicer is not None and not (consumes or memory):
            spliced = splicer.plan(self, ways, trigger)
            if spliced is not None:
                return spliced
        return super().plan(ways, trigger, memory, consumes)


class Splicer:
    """The moves of one machine."""

    def __init__(self, topology: "Topology") -> None:
        tree = topology.tree
        numbers = range(len(tree.nodes))
        self._topology = topology
        self._declared = topology.triggers if topology.exact else None
        self._leaves = {tree.nodes[n].name: n for n in numbers if not tree.children[n]}
        self._moves = Moves(topology)
        self._regions = self._moves.regions
        self._shapes: set[tuple[int, ...]] = set()
        self._firsts: list[dict[str, _First | None]] = [{} for _ in numbers]
        self._count = 0
        self._rests = not any(map(topology.selector.is_restless, self._leaves.values()))

    # Configurations -------------------------------------------------------------------------

    def row(self, text: object) -> RegionRow | None:
        """The row of several leaves in canonical order; None for anything else.

        The innermost regions of a configuration's leaves are its *shape*. Below them each leaf is
        alone, so that another text of the same shape is a configuration, too.
        """
        if type(text) is not str:
            return None
        names = text.split("+")
        if len(names) == 1:
            return None
        leaves, regions = self._leaves, self._regions
        try:
            configuration = tuple([leaves[name] for name in names])
        except KeyError:
            return None
        shape = tuple([regions[leaf] for leaf in configuration])
        if shape not in self._shapes:
            if self._topology.tree.read(text) != configuration:
                return None
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            self._shapes.add(shape)
        row = _made(RegionRow)  # as its constructor does, without the call
        row.topology = self._topology
        row.configuration = configuration
        row.text = text
        row.declared = self._declared
        row.ends = False
        row.weight = ROW + 200 * len(names)
        row.names = names
        row.regions = shape
        row.kept = False
        return row

    # Cells ----------------------------------------------------------------------------------

    def cell(self, row: RegionRow, trigger: str) -> Plan | Choice | Refusal | None:
        """The cell of a trigger; most move one leaf, without a guard."""
        known = self._firsts
        try:
            firsts = [known[leaf][trigger] for leaf in row.configuration]
        except KeyError:
            firsts = self._learn(row.configuration, trigger)
        nothing = firsts.count(None)
        if nothing == len(firsts):
            return None
        if nothing == len(firsts) - 1:
            for place, first in enumerate(firsts):
                if first is not None and first.move is not None:
                    return self._one(row, trigger, place, first.move)
        chains = [first.chain for first in firsts if first is not None]
        return self._topology.selector.cell(row, trigger, chains)

    def _learn(self, configuration: Configuration, trigger: str) -> list[_First | None]:
        """What a trigger does first at each leaf; nothing is None."""
        found: list[_First | None] = []
        for leaf in configuration:
            chain = self._topology.selector.chain(leaf, trigger)
            first: _First | None = None
            if chain:
                way, move = chain[0].way, None
                if not chain[0].guards and self._is_inside(way, leaf):
                    move = self._moves.of(leaf, way)
                first = _First(chain, move)
            if self._count >= _KEPT:
                self._count = 0
                for kept in self._firsts:
                    kept.clear()
            self._count += 1
            self._firsts[leaf][trigger] = first
            found.append(first)
        return found

    def plan(
        self, row: RegionRow, ways: Sequence[TransitionNode], trigger: str | None
    ) -> Plan | None:
        """The plan of transitions that all stay in their regions; None when one does not."""
        moves: dict[int, Plan] = {}
        index, regions = self._topology.tree.index, self._regions
        for way in ways:
            region = regions[index[way.source]]
            if region not in row.regions:
                return None
            place = row.regions.index(region)
            move = self._moves.of(row.configuration[place], way)
            if move is None or place in moves:
                return None
            moves[place] = move
        if len(moves) == 1:
            return self._one(row, trigger, *moves.popitem())
        names = row.names.copy()
        for place, move in moves.items():
            names[place] = move.target
        return together(
            [*moves.values()],
            row.text,
            "+".join(names),
            trigger,
            restless=self._is_restless(row, moves),
            reads_time=self._topology.reads_time,
        )

    def _one(self, row: RegionRow, trigger: str | None, place: int, move: Plan) -> Plan:
        """What happens in one region, beside the others."""
        names = row.names.copy()
        names[place] = move.target
        restless = not self._rests and self._is_restless(row, (place,))
        reads_time = restless and self._topology.reads_time
        return beside(
            move, row.text, "+".join(names), trigger, restless=restless, reads_time=reads_time
        )

    def _is_restless(self, row: RegionRow, moved: Container[int]) -> bool:
        """Something may follow from the leaves that did not move."""
        if self._rests:
            return False
        restless = self._topology.selector.is_restless
        return any(
            restless(leaf) for place, leaf in enumerate(row.configuration) if place not in moved
        )

    def _is_inside(self, way: TransitionNode, leaf: int) -> bool:
        """The source of a transition is in the innermost region of a leaf."""
        return self._regions[self._topology.tree.index[way.source]] == self._regions[leaf]

"""Plans spliced from what single regions do.

A machine with six regions of six states has 46,656 configurations, but only 36 leaves. What a
transition does that stays in its region depends on the region's leaf alone; what it does in a
configuration is that, beside the other leaves::

    picking + open   + quiet        the configuration
              open -> paid          the move: made once for this leaf and this transition
    picking + paid   + quiet        spliced

So a configuration that comes for the first time costs a lookup for each leaf and a join of names,
and nothing is kept of it. A move is made by the planner, for its leaf as if it were alone.

A transition is spliced when it stays in the innermost region of its leaf, returns to no history,
and neither it nor the region's end is looked at by others; everything else is planned as a whole.
"""

from collections.abc import Container, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pystator.definition.model import Kind, TransitionNode
from pystator.engine.effects import Effect
from pystator.engine.frame import Frame
from pystator.engine.plans import Block, Candidates, Cell, Choice, Plan
from pystator.engine.result import Microstep
from pystator.engine.table import ROW, Row
from pystator.engine.tree import ROOT, Configuration, Tree
from pystator.records import Context

if TYPE_CHECKING:
    from pystator.engine.history import Memory
    from pystator.engine.topology import Topology

__all__ = ["Splicer"]

_KEPT: Final = 1 << 13
"""Moves, and sets of regions, that a splicer keeps before it begins anew."""

_made: Final = object.__new__
_made_row: Final = dict.__new__


class _Move:
    """What a transition does to its leaf, whatever the other regions are at.

    Attributes:
        plan: Of the leaf alone; its target is the text of the leaves it leads to.
        mixes: It may happen in one microstep with moves of other regions.
    """

    __slots__ = ("mixes", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.mixes = not any(step.source is None for _, _, block in plan.blocks for step in block)


class _First:
    """What a trigger does first at a leaf.

    Attributes:
        chain: What may be taken.
        move: Of the first of the chain, if it always holds and is one.
    """

    __slots__ = ("chain", "move")

    def __init__(self, chain: Candidates, move: _Move | None) -> None:
        self.chain = chain
        self.move = move


def _of_the_move(name: str) -> Any:
    return property(attrgetter(f"move.plan.{name}"))


class Beside(Plan):
    """The plan of one move beside leaves that stay: little of its own, and made in no time."""

    __slots__ = ("move",)

    success = True
    deadlines = ()
    reason = None
    details = None
    hints = ()
    cause = None
    void = False
    replayed = False

    move: _Move
    actions = _of_the_move("actions")
    delays = _of_the_move("delays")
    ats = _of_the_move("ats")
    cancelled = _of_the_move("cancelled")
    blocks = _of_the_move("blocks")
    effect = _of_the_move("effect")
    quiet = _of_the_move("quiet")
    short = _of_the_move("short")
    idle = _of_the_move("idle")
    needs_now = _of_the_move("needs_now")
    target: Any = property(attrgetter("target_state"))

    @property
    def weight(self) -> int:
        """About how many bytes it holds that no other plan does."""
        return 300 + 2 * len(self.target)

    @property
    def microsteps(self) -> tuple[Microstep, ...]:  # type: ignore[override] # told late
        """That of the move, over all regions."""
        (step,) = self.move.plan.microsteps
        return (
            Microstep(
                self.source_state,
                self.target,
                self.trigger,
                step.exited,
                step.entered,
                step.transitions,
            ),
        )


class BesideRestless(Beside):
    """As its parent, but something may follow from the leaves that stay."""

    __slots__ = ("needs_now",)

    quiet = False
    short = False
    idle = False


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
        self._regions = [_innermost(tree, number) for number in numbers]
        self._shapes: set[tuple[int, ...]] = set()
        self._moves: dict[tuple[int, int], _Move | None] = {}
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
            if len(self._shapes) >= _KEPT:
                self._shapes.clear()
            self._shapes.add(shape)
        row = _made_row(RegionRow)  # as its constructor does, without the call
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

    def cell(self, row: RegionRow, trigger: str) -> Plan | Choice | None:
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
                    move = self.move(leaf, way)
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
        moves: dict[int, _Move] = {}
        index, regions = self._topology.tree.index, self._regions
        for way in ways:
            region = regions[index[way.source]]
            if region not in row.regions:
                return None
            place = row.regions.index(region)
            move = self.move(row.configuration[place], way)
            if move is None or place in moves:
                return None
            moves[place] = move
        if len(moves) == 1:
            return self._one(row, trigger, *moves.popitem())
        return self._several(row, trigger, moves)

    # Moves ----------------------------------------------------------------------------------

    def move(self, leaf: int, way: TransitionNode) -> _Move | None:
        """The move of a transition from a leaf in its region; None when it is none."""
        key = (leaf, way.index)
        if key not in self._moves:
            if len(self._moves) >= _KEPT:
                self._moves.clear()
            self._moves[key] = self._made(leaf, way)
        return self._moves[key]

    def _is_inside(self, way: TransitionNode, leaf: int) -> bool:
        """The source of a transition is in the innermost region of a leaf."""
        return self._regions[self._topology.tree.index[way.source]] == self._regions[leaf]

    def _made(self, leaf: int, way: TransitionNode) -> _Move | None:
        topology = self._topology
        tree = topology.tree
        region = self._regions[leaf]
        if any(target.history for target in way.targets):
            return None
        if way.targets:
            source, goals = tree.index[way.source], tree.numbers(way.targets)
            domain = tree.domain(source, goals, internal=way.internal)
            if self._regions[domain] != region:
                return None
        plan = topology.planner.plan((leaf,), [way], None)
        reached = tree.index.get(plan.target, ROOT)
        if (
            tree.nodes[reached].kind is Kind.TERMINAL
            and tree.parents[reached] == region
            and topology.done_event(tree.parents[region]) in topology.listened
        ):
            return None  # it depends on the other regions whether they are all done
        if any(names is not None for _, names, _ in plan.blocks):
            return None  # it looks at them
        return _Move(plan)

    # Splicing -------------------------------------------------------------------------------

    def _one(self, row: RegionRow, trigger: str | None, place: int, move: _Move) -> Plan:
        """What happens in one region, beside the others."""
        plan = move.plan
        names = row.names.copy()
        names[place] = plan.target
        if self._rests or self._are_resting(row, (place,)):
            made = _made(Beside)
            made.fast = plan.fast
        else:
            made = _made(BesideRestless)
            made.fast = False
            made.needs_now = plan.needs_now or self._topology.reads_time
        made.move = move
        made.source_state = row.text
        made.target_state = "+".join(names)
        made.trigger = trigger
        return made

    def _several(self, row: RegionRow, trigger: str | None, moves: dict[int, _Move]) -> Plan | None:
        """What happens in several regions at once: all exits, all contents, all entries."""
        if not all(move.mixes for move in moves.values()):
            return None
        plans = [move.plan for move in moves.values()]
        names = row.names.copy()
        for place, move in moves.items():
            names[place] = move.plan.target
        target = "+".join(names)
        blocks = tuple(_merged(plans))
        steps = [step for _, _, block in blocks for step in block]
        before = [step for plan in plans for step in plan.microsteps]
        made = Plan(
            success=True,
            source_state=row.text,
            target_state=target,
            trigger=trigger,
            actions=tuple([step.spec for step in steps if step.spec is not None]),
            delays=tuple([delay for plan in plans for delay in plan.delays]),
            cancelled=tuple([timer for plan in plans for timer in plan.cancelled]),
            microsteps=(
                Microstep(
                    row.text,
                    target,
                    trigger,
                    tuple([name for step in reversed(before) for name in step.exited]),
                    tuple([name for step in before for name in step.entered]),
                    tuple([index for step in before for index in step.transitions]),
                ),
            ),
        )
        made.target = target
        made.blocks = blocks
        made.ats = tuple([at for plan in plans for at in plan.ats])
        pure = [step.run for step in steps if step.pure]
        made.effect = _in_a_row(pure) if pure else None
        resting = self._are_resting(row, moves)
        made.quiet = resting and all(plan.quiet for plan in plans)
        made.short = resting and all(plan.short for plan in plans)
        made.fast = resting and all(plan.fast for plan in plans)
        made.idle = resting and all(plan.idle for plan in plans)
        made.needs_now = any(plan.needs_now for plan in plans) or (
            not resting and self._topology.reads_time
        )
        return made

    def _are_resting(self, row: RegionRow, moved: Container[int]) -> bool:
        """Nothing follows from the leaves that did not move."""
        if self._rests:
            return True
        restless = self._topology.selector.is_restless
        return not any(
            restless(leaf) for place, leaf in enumerate(row.configuration) if place not in moved
        )


def _innermost(tree: Tree, number: int) -> int:
    """The innermost region that a node is or lies in; the root when there is none."""
    while number != ROOT and tree.nodes[number].kind is not Kind.REGION:
        number = tree.parents[number]
    return number


def _merged(plans: Sequence[Plan]) -> Iterator[Block]:
    for phase in ("exit", "transition", "enter"):
        for plan in reversed(plans) if phase == "exit" else plans:
            yield from (block for block in plan.blocks if block[0] == phase)


def _in_a_row(effects: Sequence[Effect]) -> Effect:
    def run(context: Context, frame: Frame) -> Context:
        for effect in effects:
            context = effect(context, frame)
        return context

    return run

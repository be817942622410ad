"""Moves: what a transition does inside one region, and plans made of them.

A move is the plan of one leaf as if it were alone. It is made by the planner, once for a leaf and a
transition; beside whatever leaves there are it becomes a plan of the whole configuration with
hardly any work (`beside`), and moves of several regions become one plan by putting their parts in
order (`together`).
"""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pystator.definition.model import Kind, TransitionNode
from pystator.definition.numbers import ROOT
from pystator.engine.effects import Effect
from pystator.engine.frame import Frame
from pystator.engine.plans import Block, Plan
from pystator.engine.result import Microstep
from pystator.engine.tree import Tree
from pystator.records import Context

if TYPE_CHECKING:
    from pystator.engine.topology import Topology

__all__ = ["Beside", "Moves", "beside", "innermost", "together"]

_KEPT: Final = 1 << 12
"""Moves that are kept before all are made anew."""

_made: Final = object.__new__


class Moves:
    """The moves of one machine."""

    def __init__(self, topology: "Topology") -> None:
        tree = topology.tree
        self._topology = topology
        self._known: dict[tuple[int, int], Plan | None] = {}
        self.regions = [innermost(tree, number) for number in range(len(tree.nodes))]

    def of(self, leaf: int, way: TransitionNode) -> Plan | None:
        """The move of a transition whose source is in the leaf's region; None when it is none."""
        key = (leaf, way.index)
        try:
            return self._known[key]
        except KeyError:
            if len(self._known) >= _KEPT:
                self._known.clear()
            move = self._known[key] = self._move(leaf, way)
            return move

    def _move(self, leaf: int, way: TransitionNode) -> Plan | None:
        topology = self._topology
        tree = topology.tree
        region = self.regions[leaf]
        if any(target.history for target in way.targets):
            return None
        if way.targets:
            source, goals = tree.index[way.source], tree.numbers(way.targets)
            domain = tree.domain(source, goals, internal=way.internal)
            if self.regions[domain] != region:
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
        return plan


def innermost(tree: Tree, number: int) -> int:
    """The innermost region that a node is or lies in; the root when there is none."""
    while number != ROOT and tree.nodes[number].kind is not Kind.REGION:
        number = tree.parents[number]
    return number


# One move ---------------------------------------------------------------------------------------


def _of_the_move(name: str) -> Any:
    return property(attrgetter(f"move.{name}"))


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

    move: Plan
    actions = _of_the_move("actions")
    delays = _of_the_move("delays")
    ats = _of_the_move("ats")
    cancelled = _of_the_move("cancelled")
    blocks = _of_the_move("blocks")
    effect = _of_the_move("effect")
    quiet = _of_the_move("quiet")
    short = _of_the_move("short")
    light = _of_the_move("light")
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
        (step,) = self.move.microsteps
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


class _BesideRestless(Beside):
    """As its parent, but something may follow from the leaves that stay."""

    __slots__ = ("needs_now",)

    quiet = False
    short = False
    light = False
    idle = False


def beside(
    move: Plan, source: str, target: str, trigger: str | None, *, restless: bool, reads_time: bool
) -> Plan:
    """The plan of one move.

    Args:
        move: What happens.
        source: All leaves before it.
        target: All leaves after it.
        trigger: What it is taken on.
        restless: Something may follow from the leaves that stay.
        reads_time: And may need the time.
    """
    if restless:
        made: Beside = _made(_BesideRestless)
        made.fast = False
        made.needs_now = move.needs_now or reads_time
    else:
        made = _made(Beside)
        made.fast = move.fast
    made.move = move
    made.source_state = source
    made.target_state = target
    made.trigger = trigger
    return made


# Several moves ----------------------------------------------------------------------------------


def together(
    moves: Sequence[Plan],
    source: str,
    target: str,
    trigger: str | None,
    *,
    restless: bool,
    reads_time: bool,
) -> Plan:
    """The plan of moves in several regions at once: all exits, all contents, all entries.

    The arguments are those of `beside`.
    """
    blocks = tuple(_merged(moves))
    steps = [step for _, _, block in blocks for step in block]
    before = [step for move in moves for step in move.microsteps]
    made = Plan(
        success=True,
        source_state=source,
        target_state=target,
        trigger=trigger,
        actions=tuple([step.spec for step in steps if step.spec is not None]),
        delays=tuple([delay for move in moves for delay in move.delays]),
        cancelled=tuple([timer for move in reversed(moves) for timer in move.cancelled]),
        microsteps=(
            Microstep(
                source,
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
    made.ats = tuple([at for move in moves for at in move.ats])
    pure = [step.run for step in steps if step.pure]
    made.effect = _in_a_row(pure) if pure else None
    made.quiet = not restless and all(move.quiet for move in moves)
    made.short = not restless and all(move.short for move in moves)
    made.light = not restless and all(move.light for move in moves)
    made.fast = not restless and all(move.fast for move in moves)
    made.idle = not restless and all(move.idle for move in moves)
    made.needs_now = any(move.needs_now for move in moves) or (restless and reads_time)
    return made


def _merged(moves: Sequence[Plan]) -> Iterator[Block]:
    for phase in ("exit", "transition", "enter"):
        for move in reversed(moves) if phase == "exit" else moves:
            yield from (block for block in move.blocks if block[0] == phase)


def _in_a_row(effects: Sequence[Effect]) -> Effect:
    def run(context: Context, frame: Frame) -> Context:
        for effect in effects:
            context = effect(context, frame)
        return context

    return run

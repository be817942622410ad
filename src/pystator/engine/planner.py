"""Plans: one microstep, worked out before anybody takes it.

The algorithm of W3C SCXML, on the numbers of the tree. Given a configuration and the transitions
that were selected in it::

    selected --conflicts removed--> legs --> exits      union of what lies below their domains,
                                     |                  last first
                                     |--> content       of each leg, in order of selection
                                     `--> entries       of their targets and defaults, first first

Two transitions conflict when one state would be left by both. The one whose source lies inside
the other's wins; else the one that was selected first, which is that of the earlier state. What has
no target leaves nothing and conflicts with nobody.

A plan depends on the configuration, the transitions and what history remembers (`Memory`), and on
nothing else; so it can be kept under these three.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pystator.definition.model import Action, After, At, Kind, Target, TransitionNode
from pystator.definition.numbers import ROOT
from pystator.engine.actions import Phase
from pystator.engine.content import Step, compile_block, queueing, reads_frame, reads_time
from pystator.engine.effects import Effect, compile_effect, compile_effects
from pystator.engine.expressions import compile_expression
from pystator.engine.frame import Evaluate
from pystator.engine.history import Memory, Records, recording
from pystator.engine.plans import Block, Plan
from pystator.engine.result import Microstep
from pystator.engine.tree import Configuration

if TYPE_CHECKING:
    from pystator.engine.topology import Topology

__all__ = ["Planner"]

Delays = tuple[tuple[str, int], ...]
"""Timers and how long they take, in microseconds."""

Ats = tuple[tuple[str, Evaluate], ...]
"""Timers and the closures that tell their deadlines."""


class _Leg:
    """One of the transitions of a microstep, in numbers.

    Attributes:
        domain: What lies below it is left and entered; without targets, nothing is.
        goals: The targets, and the nodes that they stand for.
    """

    __slots__ = ("domain", "goals", "source", "way")

    def __init__(
        self,
        way: TransitionNode,
        source: int,
        domain: int,
        goals: list[tuple[Target, tuple[int, ...]]],
    ) -> None:
        self.way = way
        self.source = source
        self.domain = domain
        self.goals = goals


class Planner:
    """Makes the plans of one machine; keeps compiled content and no plan."""

    def __init__(self, topology: "Topology") -> None:
        self._topology = topology
        self._tree = topology.tree
        self._history = topology.history
        self._blocks: dict[tuple[int, Phase], list[tuple[Step, ...]]] = {}
        self._contents: dict[int, tuple[Step, ...]] = {}

    def plan(
        self,
        configuration: Configuration,
        ways: Sequence[TransitionNode],
        trigger: str | None,
        memory: Memory = (),
        consumes: tuple[str, ...] = (),
    ) -> Plan:
        """The plan of a microstep.

        Args:
            configuration: Where it starts.
            ways: The selected transitions, in order of selection.
            trigger: What they are taken on; a timer's id, or None without an event.
            memory: The records that their history targets read, as the context had them before.
            consumes: The timer that fires: used up whether its source is left or not.
        """
        tree = self._tree
        legs = self._compatible(self._legs(ways, memory))
        exits = tree.exits(configuration, [leg.domain for leg in legs if leg.way.targets])
        left = set(exits)
        records = self._history.record(configuration, exits)
        entries: set[int] = set()
        for leg in legs:
            if leg.way.targets:
                entries.update(tree.entries(leg.domain, self._goals(leg, left, records)))
        return self._made(
            configuration,
            exits,
            sorted(entries),
            [leg.way for leg in legs],
            trigger,
            records,
            consumes,
        )

    def start(self) -> Plan:
        """The entry of a new entity."""
        entries = self._tree.entries(ROOT, self._tree.numbers(self._topology.definition.initial))
        return self._made((), [], entries, [], None, {}, ())

    # Which transitions, and where they lead -----------------------------------------------------

    def _legs(self, ways: Sequence[TransitionNode], memory: Memory) -> Iterator[_Leg]:
        tree, records = self._tree, iter(memory)
        for way in ways:
            source = tree.index[way.source]
            goals = [
                (
                    target,
                    self._history.resolve(target, next(records))
                    if target.history
                    else (tree.index[target.name],),
                )
                for target in way.targets
            ]
            domain = source
            if goals:
                numbers = [number for _, reached in goals for number in reached]
                domain = tree.domain(source, numbers, internal=way.internal)
            yield _Leg(way, source, domain, goals)

    def _compatible(self, legs: Iterator[_Leg]) -> list[_Leg]:
        """The legs without those that another one preempts."""
        kept: list[_Leg] = []
        for leg in legs:
            rivals = [other for other in kept if self._conflict(leg, other)]
            if all(self._tree.is_below(leg.source, rival.source) for rival in rivals):
                kept = [*(other for other in kept if other not in rivals), leg]
        return kept

    def _conflict(self, one: _Leg, other: _Leg) -> bool:
        """Both leave some state: one of their domains lies in the other, or they are one."""
        if not (one.way.targets and other.way.targets):
            return False
        return (
            one.domain == other.domain
            or self._tree.is_below(one.domain, other.domain)
            or self._tree.is_below(other.domain, one.domain)
        )

    def _goals(self, leg: _Leg, left: set[int], records: Records) -> list[int]:
        """The nodes a leg leads to; what is left in this very microstep is remembered already."""
        found: list[int] = []
        for target, reached in leg.goals:
            node = self._tree.index[target.name]
            if target.history and node in left:
                found.extend(self._history.resolve(target, records[self._history.keys[node]]))
            else:
                found.extend(reached)
        return found

    # What they do -------------------------------------------------------------------------------

    def _made(
        self,
        configuration: Configuration,
        exits: list[int],
        entries: list[int],
        ways: list[TransitionNode],
        trigger: str | None,
        records: Records,
        consumes: tuple[str, ...],
    ) -> Plan:
        tree = self._tree
        active = tree.active(configuration)
        after = tree.leaves((active - set(exits)) | set(entries))
        source = tree.text(configuration) if configuration else None
        target = tree.text(after)
        blocks = list(self._ordered(active, exits, entries, ways))
        if records:
            write = Step(None, partial(recording, records), pure=True)
            blocks.insert(0, ("exit", None, (write,)))
        steps = [step for _, _, block in blocks for step in block]
        armed: list[After | At] = []
        cancelled: list[str] = []
        if self._topology.timers:
            armed = [timer for number in entries for timer in self._timers_of(number)]
            cancelled = [timer.id for number in exits for timer in self._timers_of(number)]
        cancelled.extend(set(consumes) - set(cancelled))
        rearmed = {timer.id for timer in armed}
        delays, ats = _deadlines(armed)
        plan = Plan(
            success=True,
            source_state=source,
            target_state=target,
            trigger=trigger,
            actions=tuple([step.spec for step in steps if step.spec is not None]),
            delays=delays,
            cancelled=tuple(timer for timer in cancelled if timer not in rearmed),
            microsteps=(
                Microstep(
                    source,
                    target,
                    trigger,
                    tuple([tree.labels[number] for number in exits]),
                    tuple([tree.labels[number] for number in entries]),
                    tuple([way.index for way in ways]),
                ),
            ),
        )
        plan.target = target
        plan.blocks = tuple(blocks)
        plan.ats = ats
        self._grade(plan, steps, after)
        return plan

    def _ordered(
        self, active: set[int], exits: list[int], entries: list[int], ways: list[TransitionNode]
    ) -> Iterator[Block]:
        """The blocks in order of execution: all exits, the transitions' content, all entries."""
        present = set(active)
        for number in exits:
            for block in self._blocks_of(number, "exit"):
                yield self._block("exit", present, block)
            present.discard(number)
        for way in ways:
            if way.content:
                yield self._block("transition", present, self._content(way))
        for number in entries:
            present.add(number)
            for block in self._blocks_of(number, "enter"):
                yield self._block("enter", present, block)
            done = tuple([queueing(event) for event in self._done(number, present)])
            if done:
                yield "enter", None, done

    def _block(self, phase: Phase, present: set[int], block: tuple[Step, ...]) -> Block:
        if not any(step.looks for step in block):
            return phase, None, block
        return phase, frozenset(self._tree.nodes[number].name for number in present), block

    def _blocks_of(self, number: int, phase: Phase) -> list[tuple[Step, ...]]:
        compiled = self._blocks.get((number, phase))
        if compiled is None:
            node = self._tree.nodes[number]
            blocks = node.on_exit if phase == "exit" else node.on_enter
            compiled = [compile_block(block, phase, self._topology.bind) for block in blocks]
            self._blocks[number, phase] = compiled
        return compiled

    def _content(self, way: TransitionNode) -> tuple[Step, ...]:
        compiled = self._contents.get(way.index)
        if compiled is None:
            compiled = compile_block(way.content, "transition", self._topology.bind)
            self._contents[way.index] = compiled
        return compiled

    # Done events --------------------------------------------------------------------------------

    def _done(self, number: int, present: set[int]) -> Iterator[str]:
        """The done events that entering a node queues, as far as some transition listens."""
        tree, topology = self._tree, self._topology
        parent = tree.parents[number]
        if tree.nodes[number].kind is not Kind.TERMINAL or parent == ROOT:
            return
        finished = [parent]
        above = tree.parents[parent]
        if tree.nodes[above].kind is Kind.PARALLEL and all(
            self._is_final(region, present) for region in tree.children[above]
        ):
            finished.append(above)
        for node in finished:
            event = topology.done_event(node)
            if event in topology.listened:
                yield event

    def _is_final(self, region: int, present: set[int]) -> bool:
        nodes = self._tree.nodes
        return any(
            child in present and nodes[child].kind is Kind.TERMINAL
            for child in self._tree.children[region]
        )

    # Timers -------------------------------------------------------------------------------------

    def timers_of(self, configuration: Configuration) -> tuple[Delays, Ats]:
        """The timers of the active states."""
        active = sorted(self._tree.active(configuration))
        return _deadlines([timer for number in active for timer in self._timers_of(number)])

    def _timers_of(self, number: int) -> list[After | At]:
        return [way.timer for way in self._tree.nodes[number].transitions if way.timer]

    # How it can be run --------------------------------------------------------------------------

    def _grade(self, plan: Plan, steps: list[Step], after: Configuration) -> None:
        """Decide how short a way the plan can take."""
        topology = self._topology
        sources = [step.source for step in steps]
        alone = topology.checks is None and not plan.ats and not any(step.raises for step in steps)
        plan.quiet = alone and not topology.goes_on(after)
        plan.needs_now = (
            bool(plan.delays or plan.ats)
            or reads_time(sources)
            or (not plan.quiet and topology.reads_time)
        )
        pure = [step for step in steps if step.pure]
        known = all((step.pure or step.spec) and not step.looks for step in steps)
        if topology.definition.errors == "event" and pure:
            known = False  # an error ends its block only: blocks are run one by one
        eventless = not (topology.definition.auto_route or topology.choosing(after))
        plan.short = known and alone and (plan.quiet or eventless)
        plan.effect = self._effect(pure) if plan.short and pure else None
        plan.light = plan.short and not reads_frame(sources)
        plan.idle = plan.light and not plan.needs_now
        plan.fast = plan.idle and plan.quiet and not pure

    def _effect(self, steps: list[Step]) -> Effect:
        """All effects as one; the records come first and are no action of the model."""
        actions: list[Action] = [step.source for step in steps if step.source is not None]
        if not actions:
            return steps[0].run
        bind = self._topology.bind
        effect = (
            compile_effect(actions[0], bind)
            if len(actions) == 1
            else compile_effects(actions, bind)
        )
        if steps[0].source is not None:
            return effect
        record = steps[0].run
        return lambda context, frame: effect(record(context, frame), frame)


def _deadlines(timers: list[After | At]) -> tuple[Delays, Ats]:
    delays = tuple([(t.id, t.microseconds) for t in timers if isinstance(t, After)])
    compiled = [(t.id, compile_expression(t.expression)) for t in timers if isinstance(t, At)]
    return delays, tuple(compiled)

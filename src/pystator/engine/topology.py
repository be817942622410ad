"""A definition, compiled: the tree, the content of its states, and the table of what can happen.

Compilation is lazy: loading a machine of 5,000 states numbers no node and compiles no guard; the
first event in a configuration compiles what it needs. Everything here is shared by all machines
made of one definition and is safe to use from many threads: what two threads make at once is made
twice and the same.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from threading import Lock

from pystator.definition.model import Action, After, At, Definition, Kind, Named, TransitionNode
from pystator.engine.actions import Phase
from pystator.engine.checks import Checks
from pystator.engine.content import (
    Step,
    compile_block,
    parts,
    reads_frame,
    reads_time,
)
from pystator.engine.describe import guard_name
from pystator.engine.effects import Effect, compile_effect, compile_effects
from pystator.engine.expressions import compile_expression
from pystator.engine.frame import Evaluate, Test
from pystator.engine.guards import compile_guard
from pystator.engine.plans import (
    Block,
    Candidate,
    Choice,
    Plan,
)
from pystator.engine.result import Microstep
from pystator.engine.table import Table
from pystator.engine.tree import ROOT, Configuration, Tree

__all__ = ["Topology"]

Delays = tuple[tuple[str, int], ...]
"""Timers and how long they take, in microseconds."""

Ats = tuple[tuple[str, Evaluate], ...]
"""Timers and the closures that tell their deadlines."""


class Topology:
    """Everything about a machine that does not depend on what is registered with it.

    Attributes:
        triggers: Declared triggers, normalised, in order: a dictionary for its keys.
        exact: A trigger is known by its very name, and an unknown one is refused.
        guard_places: Name of a registered guard -> its place in a machine's guard vector.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.guard_places: dict[str, int] = {}
        self._binding = Lock()
        self._blocks: dict[tuple[int, Phase], list[tuple[Step, ...]]] = {}
        self.triggers = dict.fromkeys(definition.triggers)
        self.exact = definition.normalizer is None and not definition.lenient_events
        self._contents: dict[int, tuple[Step, ...]] = {}
        self._guards: dict[int, tuple[Test, ...]] = {}
        self.table = Table(self)

    @cached_property
    def tree(self) -> Tree:
        """The nodes in numbers."""
        return Tree(self.definition)

    @cached_property
    def timers(self) -> dict[str, TransitionNode]:
        """Timer id -> its transition, in document order."""
        return {node.timer.id: node for node in self.definition.transitions if node.timer}

    @cached_property
    def checks(self) -> Checks | None:
        """What ``validate_context`` looks at before guards and at rest; then no plan is quiet."""
        definition = self.definition
        if not definition.validate_context or not (definition.variables or definition.invariants):
            return None
        return Checks(definition, self.bind)

    @cached_property
    def _parts(self) -> tuple[tuple[str, ...], bool]:
        """Names of all registered guards, and whether any step may need the time: one walk."""
        names: dict[str, None] = {}
        timed = bool(self.timers)
        definition = self.definition
        for root in (
            *((node.on_enter, node.on_exit) for node in self.tree.nodes),
            *((way.guards, way.content) for way in definition.transitions),
            definition.invariants,
        ):
            timed = timed or reads_time(root)
            names.update((part.name, None) for part in parts(root) if isinstance(part, Named))
        for name in names:
            self.bind(name)
        return tuple(self.guard_places), timed

    @property
    def reads_time(self) -> bool:
        """Some step of this machine may need the time."""
        return self._parts[1]

    @property
    def guard_names(self) -> tuple[str, ...]:
        """Every registered guard the machine names, by place."""
        return self._parts[0]

    def bind(self, name: str) -> int:
        """The place of a registered guard in a guard vector; a new name gets the next one."""
        place = self.guard_places.get(name)
        if place is None:
            with self._binding:  # two threads must not give one place to two names
                place = self.guard_places.setdefault(name, len(self.guard_places))
        return place

    # Cells ----------------------------------------------------------------------------------

    def transitions(self, configuration: Configuration) -> Iterator[TransitionNode]:
        """Transitions out of the configuration, in order of priority: inner states first."""
        seen: set[int] = set()
        for leaf in configuration:
            for number in self.tree.upward(leaf):
                if number not in seen:
                    seen.add(number)
                    yield from self.tree.nodes[number].transitions

    def cell(
        self,
        configuration: Configuration,
        trigger: str | None,
        ways: Iterable[TransitionNode],
        *,
        consumes: tuple[str, ...] = (),
    ) -> Plan | Choice | None:
        """The cell of these transitions; None when there are none.

        Args:
            configuration: Where they start.
            trigger: What they are taken on; a timer's id, or None without an event.
            ways: The transitions, in order of priority.
            consumes: The timer that fires: used up whether it is taken or not, left or not.
        """
        candidates: list[Candidate] = []
        guards: list[object] = []
        for way in ways:
            plan = self.plan(configuration, way, trigger)
            rearmed = {timer for timer, _ in (*plan.delays, *plan.ats)}
            plan.cancelled += tuple(set(consumes) - rearmed - set(plan.cancelled))
            if not way.guards and not candidates:
                return plan
            names = tuple([guard_name(guard) for guard in way.guards])
            candidates.append(Candidate(self.guards_of(way), names, plan))
            if not way.guards:
                break
            guards.extend(way.guards)
        if not candidates:
            return None
        plans = [candidate.plan for candidate in candidates]
        return Choice(
            self.tree.text(configuration),
            trigger,
            tuple(candidates),
            idle=not self.checks and not reads_frame(guards) and all(plan.idle for plan in plans),
            needs_now=reads_time(guards) or any(plan.needs_now for plan in plans),
            consumes=consumes,
        )

    def guards_of(self, way: TransitionNode) -> tuple[Test, ...]:
        """The compiled guards of a transition."""
        compiled = self._guards.get(way.index)
        if compiled is None:
            compiled = tuple([compile_guard(guard, self.bind) for guard in way.guards])
            self._guards[way.index] = compiled
        return compiled

    # Plans ----------------------------------------------------------------------------------

    def plan(self, configuration: Configuration, way: TransitionNode, trigger: str | None) -> Plan:
        """One microstep along a transition."""
        tree = self.tree
        source = tree.index[way.source]
        targets = tree.numbers(way.targets)
        exits: list[int] = []
        entries: list[int] = []
        if targets:
            domain = tree.domain(source, targets, internal=way.internal)
            exits = tree.exits(configuration, domain)
            entries = tree.entries(domain, targets)
        return self._plan(configuration, exits, entries, way, trigger)

    @cached_property
    def start(self) -> Plan:
        """The entry of a new entity."""
        entries = self.tree.entries(ROOT, self.tree.numbers(self.definition.initial))
        return self._plan((), [], entries, None, None)

    def _plan(
        self,
        configuration: Configuration,
        exits: list[int],
        entries: list[int],
        way: TransitionNode | None,
        trigger: str | None,
    ) -> Plan:
        tree = self.tree
        active = tree.active(configuration)
        blocks = list(self._ordered(active, exits, entries, way))
        after = tree.leaves((active - set(exits)) | set(entries))
        source = tree.text(configuration) if configuration else None
        target = tree.text(after)
        steps = [step for _, _, block in blocks for step in block]
        armed = [timer for number in entries for timer in self._timers_of(number)]
        cancelled = [timer.id for number in exits for timer in self._timers_of(number)]
        rearmed = {timer.id for timer in armed}
        delays, ats = self._deadlines(armed)
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
                    tuple(tree.nodes[number].name for number in exits),
                    tuple(tree.nodes[number].name for number in entries),
                    None if way is None else way.index,
                ),
            ),
        )
        plan.configuration, plan.target = after, target
        plan.blocks = tuple(blocks)
        plan.ats = ats
        self._grade(plan, steps)
        return plan

    def _grade(self, plan: Plan, steps: list[Step]) -> None:
        """Decide how short a way the plan can take."""
        sources = [step.source for step in steps]
        plan.quiet = (
            self.checks is None
            and not plan.ats
            and not any(step.raises for step in steps)
            and (self.ends(plan.configuration) or not self._goes_on(plan.configuration))
        )
        plan.needs_now = (
            bool(plan.delays or plan.ats)
            or reads_time(sources)
            or (not plan.quiet and self.reads_time)
        )
        effects = [step.source for step in steps if step.pure]
        known = all(step.pure or step.spec is not None for step in steps)
        if self.definition.errors == "event" and effects:
            known = False  # an error ends its block only: blocks are run one by one
        plan.short = known and plan.quiet
        plan.effect = self._effect(effects) if plan.short and effects else None
        plain = plan.short and not plan.needs_now
        plan.fast = plain and not effects
        plan.idle = plain and not reads_frame(sources)

    def _effect(self, effects: list[Action]) -> Effect:
        """All effects as one."""
        if len(effects) == 1:
            return compile_effect(effects[0], self.bind)
        return compile_effects(effects, self.bind)

    def _ordered(
        self, active: set[int], exits: list[int], entries: list[int], way: TransitionNode | None
    ) -> Iterator[Block]:
        """The blocks in order of execution: all exits, the transition's content, all entries."""
        nodes = self.tree.nodes
        present = set(active)
        for number in exits:
            names = frozenset(nodes[each].name for each in present)
            for block in self._blocks_of(number, "exit"):
                yield "exit", names, block
            present.discard(number)
        if way is not None and way.content:
            yield "transition", frozenset(nodes[each].name for each in present), self._content(way)
        for number in entries:
            present.add(number)
            names = frozenset(nodes[each].name for each in present)
            for block in self._blocks_of(number, "enter"):
                yield "enter", names, block

    def _blocks_of(self, number: int, phase: Phase) -> list[tuple[Step, ...]]:
        compiled = self._blocks.get((number, phase))
        if compiled is None:
            node = self.tree.nodes[number]
            blocks = node.on_exit if phase == "exit" else node.on_enter
            compiled = [compile_block(block, phase, self.bind) for block in blocks]
            self._blocks[number, phase] = compiled
        return compiled

    def _content(self, way: TransitionNode) -> tuple[Step, ...]:
        compiled = self._contents.get(way.index)
        if compiled is None:
            compiled = compile_block(way.content, "transition", self.bind)
            self._contents[way.index] = compiled
        return compiled

    def timers_of(self, configuration: Configuration) -> tuple[Delays, Ats]:
        """The timers of the active states."""
        active = sorted(self.tree.active(configuration))
        return self._deadlines([timer for number in active for timer in self._timers_of(number)])

    def _deadlines(self, timers: list[After | At]) -> tuple[Delays, Ats]:
        delays = tuple([(t.id, t.microseconds) for t in timers if isinstance(t, After)])
        compiled = [(t.id, compile_expression(t.expression)) for t in timers if isinstance(t, At)]
        return delays, tuple(compiled)

    def _timers_of(self, number: int) -> list[After | At]:
        return [way.timer for way in self.tree.nodes[number].transitions if way.timer]

    # Facts about configurations -------------------------------------------------------------

    def ends(self, configuration: Configuration) -> bool:
        """A root-level terminal state is active: the machine is done."""
        nodes, parents = self.tree.nodes, self.tree.parents
        return any(
            parents[leaf] == ROOT and nodes[leaf].kind is Kind.TERMINAL for leaf in configuration
        )

    def choosing(self, configuration: Configuration) -> str | None:
        """The active choice state, if one is."""
        nodes = self.tree.nodes
        return next((nodes[n].name for n in configuration if nodes[n].kind is Kind.CHOICE), None)

    def _goes_on(self, configuration: Configuration) -> bool:
        """An eventless transition may follow, or a choice must."""
        return self.choosing(configuration) is not None or any(
            way.eventless for way in self.transitions(configuration)
        )

    def is_terminal(self, configuration: Configuration) -> bool:
        """Nothing can happen any more."""
        return self.ends(configuration) or (
            all(self.tree.nodes[leaf].kind is Kind.TERMINAL for leaf in configuration)
            and not any(True for _ in self.transitions(configuration))
        )

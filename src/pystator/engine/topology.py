"""A definition, compiled: the tree, the content of its states, and the table of what can happen.

Compilation is lazy: loading a machine of 5,000 states numbers no node and compiles no guard; the
first event in a configuration compiles what it needs. Everything here is shared by all machines
made of one definition and is safe to use from many threads: what two threads make at once is made
twice and the same.
"""

from collections.abc import Iterator
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from pystator.definition.model import Definition, Kind, Named, TransitionNode
from pystator.definition.numbers import ROOT
from pystator.engine.checks import Checks
from pystator.engine.content import parts, reads_time
from pystator.engine.history import History
from pystator.engine.planner import Planner
from pystator.engine.plans import Plan
from pystator.engine.select import Selector
from pystator.engine.table import LIMIT, Table
from pystator.engine.tree import Configuration, Tree

if TYPE_CHECKING:
    from pystator.engine.splice import Splicer

__all__ = ["Topology"]


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
        self.triggers = dict.fromkeys(definition.triggers)
        self.exact = definition.normalizer is None and not definition.lenient_events
        self.table = Table(self)

    @cached_property
    def tree(self) -> Tree:
        """The nodes in numbers."""
        return Tree(self.definition)

    @cached_property
    def history(self) -> History:
        """What it remembers."""
        return History(self.definition, self.tree)

    @cached_property
    def selector(self) -> Selector:
        """What decides between transitions."""
        return Selector(self)

    @cached_property
    def planner(self) -> Planner:
        """What works out microsteps."""
        return Planner(self)

    @cached_property
    def splicer(self) -> "Splicer | None":
        """What splices plans, in a machine whose regions have too many configurations to keep."""
        if not self.tree.has_regions or self.tree.count(LIMIT) < LIMIT:
            return None
        from pystator.engine.splice import Splicer  # few machines are that large

        return Splicer(self)

    @cached_property
    def start(self) -> Plan:
        """The entry of a new entity."""
        return self.planner.start()

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
            *((node.on_enter, node.on_exit, node.when) for node in self.tree.nodes),
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

    # Done events ----------------------------------------------------------------------------

    @cached_property
    def listened(self) -> frozenset[str]:
        """Every event that some transition is taken on, declared or not."""
        return frozenset(event for way in self.definition.transitions for event in way.events)

    def done_event(self, number: int) -> str | None:
        """The event that says that a node is done; a region leaves it to the state of its name."""
        node = self.tree.nodes[number]
        if node.kind is Kind.REGION and node.label in self.tree.index:
            return None
        return self.normal(f"done.state.{node.label}")

    def normal(self, trigger: str) -> str:
        """A trigger as the machine writes it."""
        match self.definition.normalizer:
            case "lower":
                return trigger.lower()
            case "upper":
                return trigger.upper()
            case None:
                return trigger

    # Facts about configurations -------------------------------------------------------------

    def ends(self, configuration: Configuration) -> bool:
        """A root-level terminal state is active: the machine is done."""
        leaf, tree = configuration[0], self.tree  # where one is active, nothing else is
        return tree.parents[leaf] == ROOT and tree.nodes[leaf].kind is Kind.TERMINAL

    def choosing(self, configuration: Configuration) -> str | None:
        """The active choice state, if one is."""
        nodes = self.tree.nodes
        return next((nodes[n].label for n in configuration if nodes[n].kind is Kind.CHOICE), None)

    def goes_on(self, configuration: Configuration) -> bool:
        """By itself: an eventless transition or a routing may follow, or a choice must be left."""
        if self.ends(configuration):
            return False
        return any(self.selector.is_restless(leaf) for leaf in configuration)

    def is_terminal(self, configuration: Configuration) -> bool:
        """Nothing can happen any more."""
        return self.ends(configuration) or (
            all(self.tree.nodes[leaf].kind is Kind.TERMINAL for leaf in configuration)
            and not any(True for _ in self.transitions(configuration))
        )

    def allowed(self, configuration: Configuration) -> list[str]:
        """Declared triggers that some transition of the configuration has, in order."""
        ways = self.transitions(configuration)
        found = dict.fromkeys(event for way in ways for event in way.events)
        return [event for event in found if event in self.triggers]

    def transitions(self, configuration: Configuration) -> Iterator[TransitionNode]:
        """Transitions out of the configuration, in order of priority: inner states first."""
        seen: set[int] = set()
        for leaf in configuration:
            for number in self.tree.upward(leaf):
                if number not in seen:
                    seen.add(number)
                    yield from self.tree.nodes[number].transitions

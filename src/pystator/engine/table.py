"""The table of what can happen: configuration text -> row, trigger -> cell.

Both are filled as they are asked for, and both stay small whatever people ask: a table keeps two
generations of configurations, a row only the triggers that the machine declares.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pystator.definition.model import TransitionNode
from pystator.engine.history import Memory
from pystator.engine.plans import Cell, Choice, Foreign, Plan, Refusal, UnknownTrigger
from pystator.engine.select import Fork
from pystator.engine.tree import Configuration

if TYPE_CHECKING:
    from pystator.engine.topology import Topology

__all__ = ["LIMIT", "Row", "Table"]

LIMIT: Final = 1024
"""Configurations in one generation of a table."""

_FOREIGN: Final = Foreign()
_made: Final = object.__new__


class Row(dict[str, Cell]):
    """One configuration: trigger -> cell, filled as triggers come; undeclared ones are not kept.

    Attributes:
        text: The configuration's canonical text.
        ends: A root-level terminal is active.
        choosing: The active choice state.
    """

    def __init__(self, topology: "Topology", configuration: Configuration) -> None:
        super().__init__()
        self.topology = topology
        self.configuration = configuration
        self.text = topology.tree.text(configuration)
        self.declared = topology.triggers if topology.exact else None
        self.ends = topology.ends(configuration)
        self.choosing = topology.choosing(configuration)
        self._timers: dict[str, Plan | Choice | None] = {}
        self._internal: dict[str, Plan | Choice | None] = {}

    @cached_property
    def active(self) -> frozenset[str]:
        """Names of all active states and regions, ancestors included."""
        tree = self.topology.tree
        return frozenset(tree.nodes[number].name for number in tree.active(self.configuration))

    @cached_property
    def terminal(self) -> bool:
        """Nothing can happen any more."""
        return self.topology.is_terminal(self.configuration)

    @cached_property
    def eventless(self) -> Plan | Choice | None:
        """What happens without an event."""
        return self._cell(None)

    @cached_property
    def routing(self) -> Fork | None:
        """What data alone may do when nothing else happens."""
        chains = self.topology.selector.routes(self.configuration)
        return Fork(self, None, chains) if chains else None

    def __missing__(self, trigger: object) -> Cell:
        declared = self.declared
        if type(trigger) is str and declared is not None and trigger not in declared:
            cell = _made(UnknownTrigger)  # as its constructor does, without the call
            cell.source_state = self.text
            cell.trigger = trigger
            cell.hints = declared
            return cell
        topology = self.topology
        if not isinstance(trigger, str):
            return _FOREIGN
        normal = topology.normal(trigger)
        if normal != trigger:
            return self[normal]
        lenient = topology.definition.lenient_events
        if trigger not in topology.triggers:
            if lenient:
                return self._ignored(trigger)
            return UnknownTrigger(self.text, trigger, topology.triggers)
        found: Cell | None = None if self.ends else self._cell(trigger)
        if found is None:
            found = self._ignored(trigger) if lenient else self._refusal(trigger)
        self[str.__str__(trigger)] = found
        return found

    @property
    def allowed(self) -> list[str]:
        """Declared triggers some transition of the configuration has, in order."""
        if self.terminal:
            return []
        ways = self.topology.transitions(self.configuration)
        declared = self.topology.triggers
        found = dict.fromkeys(event for way in ways for event in way.events)
        return [event for event in found if event in declared]

    def timer(self, timer: str) -> Plan | Choice | None:
        """The cell of a timer; None when the timer does not count in this configuration."""
        way = self.topology.timers.get(timer)
        if way is None or way.source not in self.active:
            return None
        if timer not in self._timers:
            selector = self.topology.selector
            chains = [(selector.candidate(way),)]
            self._timers[timer] = selector.cell(self, timer, chains, consumes=(timer,))
        return self._timers[timer]

    def internal(self, event: str) -> Plan | Choice | None:
        """The cell of an event of the machine's own, declared or not; None when nobody takes it."""
        if event in self.topology.triggers:
            cell = self[event]
            return cell if isinstance(cell, Plan | Choice) else None
        if event not in self.topology.listened:
            return None
        if event not in self._internal:
            self._internal[event] = self._cell(event)
        return self._internal[event]

    def _cell(self, trigger: str | None) -> Plan | Choice | None:
        selector = self.topology.selector
        return selector.cell(self, trigger, selector.chains(self.configuration, trigger))

    def plan(
        self,
        ways: Sequence[TransitionNode],
        trigger: str | None,
        memory: Memory,
        consumes: tuple[str, ...],
    ) -> Plan:
        """The plan of transitions that were selected here."""
        return self.topology.planner.plan(self.configuration, ways, trigger, memory, consumes)

    def _ignored(self, trigger: str) -> Refusal:
        return Refusal(
            success=True,
            source_state=self.text,
            target_state=self.text,
            trigger=trigger,
            reason="ignored",
        )

    def _refusal(self, trigger: str) -> Refusal:
        return Refusal(
            success=False,
            source_state=self.text,
            target_state=None,
            trigger=trigger,
            reason="terminal_state" if self.terminal else "no_transition",
            hints=tuple(self.allowed),
        )


class Table(dict[str, Row]):
    """Configuration text -> row, in two generations, so that it stays small.

    When the young generation is full it becomes the old one; a row that is asked for again moves
    back.
    """

    __slots__ = ("_old", "_topology")

    def __init__(self, topology: "Topology") -> None:
        super().__init__()
        self._topology = topology
        self._old: dict[str, Row] = {}

    def __missing__(self, text: str) -> Row:
        row = self._old.pop(text, None)
        if row is None:
            tree = self._topology.tree
            configuration = tree.read(text)
            canonical = tree.text(configuration)
            if canonical != text:
                return self[canonical]
            row = Row(self._topology, configuration)
        if len(self) >= LIMIT:
            self._old = dict(self)
            self.clear()
        self[row.text] = row
        return row

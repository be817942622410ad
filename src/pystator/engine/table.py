"""The table of what can happen: configuration text -> row, trigger -> cell.

Both are filled as they are asked for, and both stay small whatever people ask: a table keeps two
generations of configurations, a row only the triggers that the machine declares.
"""

from typing import TYPE_CHECKING, Final

from pystator.engine.plans import Cell, Choice, Foreign, Plan, Refusal, UnknownTrigger
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
        active: Names of all active states, ancestors included.
        ends: A root-level terminal is active.
        choosing: The active choice state.
        eventless: What happens without an event.
    """

    __slots__ = (
        "active",
        "choosing",
        "configuration",
        "declared",
        "ends",
        "eventless",
        "terminal",
        "text",
        "timers",
        "topology",
    )

    def __init__(self, topology: "Topology", configuration: Configuration) -> None:
        super().__init__()
        tree = topology.tree
        self.topology = topology
        self.configuration = configuration
        self.text = tree.text(configuration)
        self.declared = topology.triggers if topology.exact else None
        self.active = frozenset(tree.nodes[number].name for number in tree.active(configuration))
        self.ends = topology.ends(configuration)
        self.terminal = topology.is_terminal(configuration)
        self.choosing = topology.choosing(configuration)
        self.eventless = topology.cell(
            configuration,
            None,
            [way for way in topology.transitions(configuration) if way.eventless],
        )
        self.timers: dict[str, Plan | Choice | None] = {}

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
        definition = topology.definition
        if definition.normalizer is not None:
            normal = trigger.lower() if definition.normalizer == "lower" else trigger.upper()
            if normal != trigger:
                return self[normal]
        if trigger not in topology.triggers:
            if definition.lenient_events:
                return self._ignored(trigger)
            return UnknownTrigger(self.text, trigger, topology.triggers)
        found: Cell | None = None
        if not self.terminal:
            ways = self.topology.transitions(self.configuration)
            found = self.topology.cell(
                self.configuration, trigger, [way for way in ways if trigger in way.events]
            )
        if found is None:
            found = self._ignored(trigger) if definition.lenient_events else self._refusal(trigger)
        self[str.__str__(trigger)] = found
        return found

    @property
    def allowed(self) -> list[str]:
        """Triggers some transition of the configuration has, in order."""
        if self.terminal:
            return []
        ways = self.topology.transitions(self.configuration)
        return list(dict.fromkeys(event for way in ways for event in way.events))

    def timer(self, timer: str) -> Plan | Choice | None:
        """The cell of a timer; None when the timer does not count in this configuration."""
        try:
            return self.timers[timer]
        except KeyError:
            way = self.topology.timers.get(timer)
            if way is None:
                return None
            cell = None
            if way.source in self.active:
                cell = self.topology.cell(self.configuration, timer, [way], consumes=(timer,))
            self.timers[timer] = cell
            return cell

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

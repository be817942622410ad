"""The table of what can happen: configuration text -> row, trigger -> cell.

Both are filled as they are asked for, and both stay small whatever people ask. A table keeps two
generations of rows, each full at so many rows or so many bytes; a row keeps only the triggers that
the machine declares. A machine with regions may have more configurations than anybody can keep:
there, a configuration that is seen for the first time gets a row that is forgotten after the event
(`pystator.engine.splice`).

::

    level   row        plans
    1       kept       made by the planner, kept under configuration, selection and memory
    2       passing    spliced from what regions do, if each transition stays in its region
    3       passing    made by the planner, and forgotten
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Final

from pystator.definition.model import TransitionNode
from pystator.engine.fork import Fork
from pystator.engine.plans import Cell, Chain, Choice, Foreign, Plan, Refusal, UnknownTrigger
from pystator.engine.sequel import LONGEST, SEQUELS, sequel
from pystator.engine.tree import Configuration

if TYPE_CHECKING:
    from pystator.engine.history import Memory
    from pystator.engine.splice import RegionRow
    from pystator.engine.topology import Topology

__all__ = ["BYTES", "LIMIT", "ROW", "Row", "Table"]

LIMIT: Final = 1024
"""Configurations in one generation of a table."""

BYTES: Final = 4 << 20
"""About how many bytes one generation holds."""

ROW: Final = 1_200
"""About how many bytes a row takes, cells apart."""

_CELL: Final = 100
"""And a cell, what it is apart."""

_REFUSAL: Final = 400
"""And the refusal of a declared trigger."""

_NAMED: Final = 12
"""Names in an error's message at most."""

_FOREIGN: Final = Foreign()
_made: Final = object.__new__


class Row(dict[str, Cell]):
    """One configuration: trigger -> cell, filled as triggers come; undeclared ones are not kept.

    Attributes:
        text: The configuration's canonical text.
        ends: A root-level terminal is active.
        kept: The table keeps it, and it may keep plans.
        weight: About how many bytes it holds.
    """

    __slots__ = ("__dict__", "configuration", "declared", "ends", "text", "topology", "weight")

    kept = True

    def __init__(self, topology: "Topology", configuration: Configuration, text: str) -> None:
        super().__init__()
        self.topology = topology
        self.configuration = configuration
        self.text = text
        self.declared = topology.triggers if topology.exact else None
        self.ends = topology.ends(configuration)
        self.weight = ROW + 2 * len(text)

    # What it is -----------------------------------------------------------------------------

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
    def choosing(self) -> str | None:
        """The active choice state."""
        return self.topology.choosing(self.configuration)

    @property
    def allowed(self) -> list[str]:
        """Declared triggers some transition of the configuration has, in order."""
        return self.topology.allowed(self.configuration)

    # What happens ---------------------------------------------------------------------------

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
        if trigger not in topology.triggers:
            if topology.definition.lenient_events:
                return self._ignored(trigger)
            return UnknownTrigger(self.text, trigger, topology.triggers)
        name = str.__str__(trigger)
        found: Cell | None = None if self.ends else self._cell(name)
        if found is None:
            found = self.nothing(name)
            self.grow(_REFUSAL)
        self[name] = found
        return found

    def internal(self, event: str) -> Plan | Choice | None:
        """The cell of an event of the machine's own, declared or not; None when nobody takes it."""
        if event in self.topology.triggers:
            return _takes(self[event])
        if event not in self.topology.listened:
            return None
        try:
            return self._internal[event]
        except KeyError:
            found = self._internal[event] = _takes(self._cell(event))
            return found

    def timer(self, timer: str) -> Plan | Choice | Refusal | None:
        """The cell of a timer; None when the timer does not count in this configuration."""
        way = self.topology.timers.get(timer)
        if way is None or way.source not in self.active:
            return None
        try:
            return self._timers[timer]
        except KeyError:
            selector = self.topology.selector
            chains = [(selector.candidate(way),)]
            found = self._kept(selector.cell(self, timer, chains, (timer,)))
            self._timers[timer] = found
            return found

    @cached_property
    def eventless(self) -> Plan | Choice | None:
        """What happens without an event."""
        return _takes(self._cell(None))

    @cached_property
    def routing(self) -> Fork | None:
        """What data alone may do when nothing else happens."""
        chains = self.topology.selector.routes(self.configuration)
        return Fork(self, None, chains) if chains else None

    def sequel(self, plan: Plan, following: Plan) -> Plan | None:
        """A plan from here and the one that follows, as one; None when it is not worth keeping."""
        kept = self._sequels
        found = kept.get((plan, following))
        if found is None and self.kept and following.light and len(plan.microsteps) < LONGEST:
            found = sequel(plan, following, self.topology.timers, self.active)
            if len(kept) >= SEQUELS:
                gone = [*kept.items()]  # at once: another thread may add one
                self.grow(-sum(each.weight + after.weight for (_, after), each in gone))
                kept.clear()
            kept[plan, following] = found
            self.grow(found.weight + following.weight)  # the latter may outlive its own row
        return found

    @cached_property
    def _sequels(self) -> dict[tuple[Plan, Plan], Plan]:
        return {}

    @cached_property
    def _internal(self) -> dict[str, Plan | Choice | None]:
        return {}

    @cached_property
    def _timers(self) -> dict[str, Plan | Choice | Refusal | None]:
        return {}

    def _cell(self, trigger: str | None) -> Plan | Choice | Refusal | None:
        selector = self.topology.selector
        chains = selector.chains(self.configuration, trigger)
        return self._kept(selector.cell(self, trigger, chains))

    def plan(
        self,
        ways: Sequence[TransitionNode],
        trigger: str | None,
        memory: "Memory",
        consumes: tuple[str, ...],
    ) -> Plan:
        """The plan of transitions that were selected here."""
        return self.topology.planner.plan(self.configuration, ways, trigger, memory, consumes)

    def nothing(self, trigger: str) -> Refusal:
        """The cell of a declared trigger that nobody takes here."""
        lenient = self.topology.definition.lenient_events
        return self._ignored(trigger) if lenient else self._refusal(trigger)

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
            hints=_Allowed(self.topology, self.configuration),
        )

    # How large it is ------------------------------------------------------------------------

    def weighed(self, cell: Plan | Choice | Refusal) -> Plan | Choice | Refusal:
        """A cell that is kept from now on."""
        if isinstance(cell, Refusal):
            self.grow(_REFUSAL)
            return cell
        plans = cell.plans if isinstance(cell, Chain) else ()
        self.grow(_CELL + cell.weight + sum(plan.weight for plan in plans))
        return cell

    def _kept(self, cell: Plan | Choice | Refusal | None) -> Plan | Choice | Refusal | None:
        return self.weighed(cell) if self.kept and cell is not None else cell

    def grow(self, weight: int) -> None:
        """Hold so many bytes more; who holds too much by itself begins anew."""
        if self.weight + weight > BYTES // 4:
            weight = ROW - self.weight
            self.clear()
            for made in ("eventless", "routing", "_internal", "_timers", "_sequels"):
                self.__dict__.pop(made, None)
        self.weight += weight
        self.topology.table.weight += weight


def _takes(cell: Cell | None) -> Plan | Choice | None:
    """The cell, if somebody may be taken."""
    return cell if isinstance(cell, Plan | Choice) else None


class _Allowed(Collection[str]):
    """What a configuration allows, as far as messages name it; found out when somebody asks.

    It holds no row: results live longer than rows should.
    """

    __slots__ = ("_configuration", "_names", "_topology")

    def __init__(self, topology: "Topology", configuration: Configuration) -> None:
        self._topology = topology
        self._configuration = configuration
        self._names: tuple[str, ...] | None = None

    def _found(self) -> tuple[str, ...]:
        if self._names is None:
            self._names = tuple(self._topology.allowed(self._configuration)[:_NAMED])
        return self._names

    def __contains__(self, trigger: object) -> bool:
        return trigger in self._found()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())


class Table(dict[str, Row]):
    """Configuration text -> row, in two generations, so that it stays small.

    When the young generation is full it becomes the old one; a row that is asked for again moves
    back.

    Attributes:
        weight: About how many bytes the young generation holds.
    """

    __slots__ = ("_lock", "_old", "_seen", "_topology", "weight")

    def __init__(self, topology: "Topology") -> None:
        super().__init__()
        self._topology = topology
        self._lock = Lock()
        self._old: dict[str, Row] = {}
        self._seen: set[str] = set()
        self.weight = 0

    def __missing__(self, text: str) -> Row:
        row = self._old.get(text)
        if row is not None:
            return self._keep(row)
        splicer = self._topology.splicer
        if splicer is not None:
            several = splicer.row(text)
            if several is not None:
                return self._seen_again(several)
        tree = self._topology.tree
        configuration = tree.read(text)
        canonical = tree.text(configuration)
        if canonical != text:
            return self[canonical]
        return self._keep(Row(self._topology, configuration, canonical))

    def _seen_again(self, row: "RegionRow") -> Row:
        """Keep it when it comes for the second time."""
        seen = self._seen
        if row.text in seen:
            row.kept = True
            return self._keep(row)
        if len(seen) >= LIMIT:
            seen.clear()
        seen.add(row.text)
        return row

    def _keep(self, row: Row) -> Row:
        with self._lock:
            if len(self) >= LIMIT or self.weight >= BYTES:
                self._old = dict(self)
                self.clear()
                self.weight = 0
            self._old.pop(row.text, None)
            row = self.setdefault(row.text, row)
            self.weight += row.weight
        return row

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return sum(row.weight for row in (*self.values(), *self._old.values()))

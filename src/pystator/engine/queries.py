"""What a machine can be asked without an event."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from pystator.definition.model import (
    Definition,
    Kind,
    StateType,
    TransitionNode,
    region_key,
)
from pystator.engine.describe import public_state, public_transition, written_order
from pystator.engine.engine import Engine
from pystator.engine.frame import NeedGuard
from pystator.engine.given import taken_apart
from pystator.engine.plans import Candidate, Choice, Plan
from pystator.engine.public import DestinationCheckResult, Event, State, Transition
from pystator.engine.step import wrapped
from pystator.engine.table import Row
from pystator.engine.topology import Topology
from pystator.errors import EvaluationError
from pystator.records import Context

__all__ = ["Queries"]

_SEPARATORS: Final = re.compile("[-.:]")


class Queries:
    """Questions about the machine itself, and about a state and a context."""

    _topology: Topology

    @property
    def _engine(self) -> Engine:
        raise TypeError("queries belong to a machine")

    # The machine ----------------------------------------------------------------------------

    @property
    def definition(self) -> Definition:
        """The model the machine was made from."""
        return self._topology.definition

    @property
    def name(self) -> str:
        """``meta.machine_name``."""
        return self.definition.name

    @property
    def version(self) -> str:
        """``meta.version``."""
        return self.definition.version

    @property
    def fingerprint(self) -> str:
        """Hash of what the machine means."""
        return self.definition.fingerprint

    @property
    def meta(self) -> dict[str, Any]:
        """What the file has under ``meta``."""
        return dict(self.definition.meta)

    @property
    def state_names(self) -> list[str]:
        """Every state, in document order."""
        return [node.name for node in self._topology.tree.nodes[1:] if node.kind is not Kind.REGION]

    @property
    def region_names(self) -> list[str]:
        """Every region, in document order."""
        return [node.label for node in self._topology.tree.nodes[1:] if node.kind is Kind.REGION]

    @property
    def trigger_names(self) -> list[str]:
        """Every trigger, in document order."""
        return list(self.definition.triggers)

    @cached_property
    def methods(self) -> Mapping[str, str]:
        """Trigger as a Python name -> trigger: ``pay_now`` stands for ``pay-now``, too."""
        triggers = self.definition.triggers
        named = {_SEPARATORS.sub("_", trigger): trigger for trigger in reversed(triggers)}
        return {**named, **{trigger: trigger for trigger in triggers}}

    @property
    def guard_names(self) -> list[str]:
        """Every guard that has to be registered, in order of document."""
        return [*self._topology.guard_names]

    @property
    def terminal_states(self) -> list[str]:
        """States that nothing leads out of."""
        return [
            node.name for node in self._topology.tree.nodes[1:] if node.type is StateType.TERMINAL
        ]

    @property
    def timed(self) -> bool:
        """It has timers."""
        return bool(self._topology.timers)

    def timer_order(self, timer_id: str) -> int | None:
        """The timer's place in the document, which decides between equal deadlines; or None."""
        way = self._topology.timers.get(timer_id)
        return None if way is None else way.index

    def __repr__(self) -> str:
        return f"<StateMachine {self.name!r} {self.version}: {len(self.state_names)} states>"

    def _repr_svg_(self) -> str:
        """The machine as a notebook shows it."""
        from pystator.definition.drawing.chart import draw  # only where it is looked at
        from pystator.definition.drawing.svg import svg

        return svg(draw(self.definition))

    # States ---------------------------------------------------------------------------------

    @property
    def states(self) -> dict[str, State]:
        """Every state as it was written, in that order: what `StateMachine` is made from."""
        names = written_order(self.definition.config.get("states"))
        return {name: self.get_state(name) for name in names}

    @property
    def transitions(self) -> list[Transition]:
        """Every transition as it was written, one a source: what `StateMachine` is made from.

        Those of ``timeout`` and ``on_done`` stand with their states.
        """
        nodes = self.definition.nodes
        return [
            public_transition(way, nodes)
            for way in self.definition.transitions
            if way.origin == "transitions"
        ]

    def get_state(self, name: str) -> State:
        """A state as it was written.

        Raises:
            UndefinedStateError: There is no such state.
        """
        nodes = self.definition.nodes
        node = nodes.get(name)
        if node is None or node.kind is Kind.REGION:
            raise self._topology.tree.undefined(name)
        return public_state(node, nodes)

    def get_initial_state(self) -> State:
        """The state that entities start in; of several in regions, the parallel one around them."""
        tree = self._topology.tree
        goals = tree.numbers(self.definition.initial)
        around = tree.upward(goals[0])
        return self.get_state(
            next(
                tree.nodes[number].name
                for number in around
                if tree.nodes[number].kind is not Kind.REGION
                and all(number <= goal <= tree.last[number] for goal in goals)
            )
        )

    def validate_state(self, state: str) -> bool:
        """True when the text is a configuration of this machine.

        Raises:
            UndefinedStateError: It is not.
        """
        self._topology.tree.read(state)
        return True

    def canonical(self, state: str) -> str:
        """The configuration as results and stores have it: complete, in document order.

        Raises:
            UndefinedStateError: It is none.
        """
        return self._topology.table[state].text

    def has_state(self, name: str) -> bool:
        """There is a state or a region of this name."""
        return name != "" and (
            name in self.definition.nodes or region_key(name) in self.definition.nodes
        )

    def is_active(self, state: str, name: str) -> bool:
        """A state, or else a region, is active in a configuration; ancestors are.

        Raises:
            UndefinedStateError: One of the two does not exist.
        """
        if not self.has_state(name):
            raise self._topology.tree.undefined(name)
        key = name if name in self.definition.nodes else region_key(name)
        return key in self._topology.table[state].active

    def active_states(self, state: str) -> frozenset[str]:
        """The active states and regions of a configuration, ancestors included.

        A region that has the name of a state is left out: the name means the state.
        """
        nodes, active = self.definition.nodes, self._topology.table[state].active
        labels = {name: nodes[name].label for name in active}
        return frozenset(
            label for name, label in labels.items() if name == label or label not in nodes
        )

    def is_terminal(self, state: str) -> bool:
        """Nothing can happen any more in this configuration."""
        return self._topology.table[state].terminal

    def is_initial(self, state: str) -> bool:
        """It is where entities start."""
        tree = self._topology.tree
        entered = tree.entries(0, tree.numbers(self.definition.initial))
        return self._topology.table[state].configuration == tree.leaves(entered)

    # What may happen ------------------------------------------------------------------------

    def get_available_transitions(self, state: str) -> list[Transition]:
        """Transitions out of a configuration in order of priority, whatever their guards say.

        Those of ``timeout`` and ``on_done`` are among them.
        """
        nodes = self.definition.nodes
        return [public_transition(way, nodes) for way in self._ways(state)]

    def get_available_triggers(self, state: str) -> list[str]:
        """Triggers of the transitions out of a configuration, whatever their guards say."""
        return self._topology.table[state].allowed

    def can_transition(
        self, state: str, trigger: str | Event, context: Context | None = None
    ) -> bool:
        """The event would find a transition whose guards hold.

        Raises:
            EvaluationError: A guard failed, or has to be awaited.
        """
        name, payload = taken_apart(trigger)
        row = self._topology.table[state]
        cell = row[name]
        if isinstance(cell, Choice):
            given = {**(context or {}), **(payload or {})}
            return any(
                self._holds(row, candidate, given, cell.trigger, payload)
                for candidate in cell.candidates
            )
        return isinstance(cell, Plan)

    def evaluate_destination(
        self, state: str, dest: str, context: Context | None = None
    ) -> DestinationCheckResult:
        """Which transitions lead from here to a state, with guards that hold for this context.

        A transition leads to a state when it enters it: by name, by default, or because history
        remembers it. To a configuration it leads when all of it is active then.

        Raises:
            UndefinedStateError: One of the two is no state.
            EvaluationError: A guard failed, or has to be awaited.
        """
        topology = self._topology
        row, given = topology.table[state], context or {}
        topology.tree.read(dest)
        candidate = topology.selector.candidate
        return DestinationCheckResult(
            tuple(
                public_transition(way, self.definition.nodes)
                for way in self._ways(state)
                if self._leads(row, way, dest.split("+"), given)
                and self._holds(row, candidate(way), given, None, None)
            )
        )

    def _leads(self, row: Row, way: TransitionNode, names: list[str], context: Context) -> bool:
        if not way.targets:
            return False
        if len(names) == 1 and any(
            target.name == names[0] and not target.history for target in way.targets
        ):
            return True
        returns = any(target.history for target in way.targets)
        memory = self._topology.history.read([way], context) if returns else ()
        plan = row.plan([way], None, memory, ())
        after = self._topology.table[plan.target].active
        entered = plan.microsteps[0].entered
        return all(name in after for name in names) and any(name in entered for name in names)

    def can_transition_to(self, state: str, dest: str, context: Context | None = None) -> bool:
        """Some transition leads from a configuration to a state, with guards that hold."""
        return self.evaluate_destination(state, dest, context).allowed

    def _ways(self, state: str) -> list[TransitionNode]:
        row = self._topology.table[state]
        return [] if row.terminal else list(self._topology.transitions(row.configuration))

    def _holds(
        self,
        row: Row,
        candidate: Candidate,
        context: Context,
        trigger: str | None,
        payload: Mapping[str, Any] | None,
    ) -> bool:
        try:
            return self._engine.holds(row, candidate.guards, context, trigger, payload)
        except NeedGuard as need:
            raise EvaluationError(
                f"guard {need.name!r} is async: ask with `await machine.aprocess(...)`",
                context={"guard": need.name},
            ) from None
        except Exception as error:
            raise wrapped(error) from error

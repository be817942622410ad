"""The state machine: what users hold in their hands.

A machine is a definition, the guards and actions registered with it, and nothing else. It keeps no
entity: state and context go in, a result comes out. Any number of threads may use one machine.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pystator.definition.model import Definition
from pystator.engine.driving import awaiting, unawaited
from pystator.engine.engine import Engine
from pystator.engine.fork import Fork
from pystator.engine.frame import NeedGuard
from pystator.engine.given import check_names, moment, own, taken_apart
from pystator.engine.plans import Cell
from pystator.engine.public import ErrorPolicy, Event, State, Transition, check_payload
from pystator.engine.queries import Queries
from pystator.engine.registry import ActionRegistry, GuardRegistry
from pystator.engine.result import TransitionResult
from pystator.engine.step import Verdicts
from pystator.engine.table import Row
from pystator.engine.topology import Topology
from pystator.errors import ConfigurationError
from pystator.records import Context, from_datetime

if TYPE_CHECKING:
    from pystator.engine.living import Clock
    from pystator.engine.session import EntitySession

__all__ = ["StateMachine"]

F = TypeVar("F", bound=Callable[..., Any])


class StateMachine(Queries):
    """A state machine.

    Args:
        states: The states, by name.
        transitions: The transitions, in order of priority.
        meta: What a file has under ``meta``.
        error_policy: What a file has under ``error_policy``.
        more: Other top-level keys of a file: ``state_variables``, ``context_invariants``,
            ``groups``, ``events``, ``initial``.

    Raises:
        ConfigurationError: The machine is wrong; the message lists every mistake.

    Example:
        >>> machine = StateMachine.from_dict({
        ...     "states": [
        ...         {"name": "open", "type": "initial"},
        ...         {"name": "closed", "type": "terminal"},
        ...     ],
        ...     "transitions": [{"trigger": "close", "source": "open", "dest": "closed"}],
        ... })
        >>> machine.process("open", "close").target_state
        'closed'
    """

    def __init__(
        self,
        states: Mapping[str, State],
        transitions: Sequence[Transition],
        meta: Mapping[str, Any] | None = None,
        *,
        error_policy: ErrorPolicy | None = None,
        **more: Any,
    ) -> None:
        config: dict[str, Any] = {**more, "meta": dict(meta or {})}
        _check("states=", states, Mapping, "a dict of name -> State")
        config["states"] = [
            {**_written(f"states[{name!r}]", state, State), "name": name}
            for name, state in states.items()
        ]
        config["transitions"] = [
            _written(f"transitions[{number}]", transition, Transition)
            for number, transition in enumerate(transitions)
        ]
        if error_policy is not None:
            config["error_policy"] = _written("error_policy=", error_policy, ErrorPolicy)
        self._set_up(Topology(_load_config(config)), GuardRegistry(), ActionRegistry())

    def _set_up(self, topology: Topology, guards: GuardRegistry, actions: ActionRegistry) -> None:
        self._topology = topology
        self._table = topology.table
        self._bound: Engine | None = None
        self._guards = guards
        self._actions = actions

    @classmethod
    def _of(cls, topology: Topology, guards: GuardRegistry, actions: ActionRegistry) -> Self:
        machine = cls.__new__(cls)
        StateMachine._set_up(machine, topology, guards, actions)
        return machine

    # Making one -----------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """The machine of a YAML or JSON file.

        Raises:
            ConfigurationError: The file is wrong; the message lists every mistake with line and
                column.
        """
        _check_path(path)
        from pystator.definition.load import load_file  # the format's validator comes with it

        return cls.from_definition(load_file(path))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """The machine of plain data with the keys of a file.

        Raises:
            ConfigurationError: The data is wrong; the message lists every mistake with its path.
        """
        return cls.from_definition(_load_config(config))

    @classmethod
    def from_definition(cls, definition: Definition) -> Self:
        """The machine of a checked definition."""
        return cls._of(Topology(definition), GuardRegistry(), ActionRegistry())

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has a table of its own: what was compiled does not travel."""
        return _again, (type(self), self.definition, self._guards, self._actions)

    def with_guards(self, guards: GuardRegistry | Mapping[str, Callable[..., Any]] | None) -> Self:
        """A machine of the same topology with guards of its own; None keeps this machine's."""
        if not isinstance(guards, GuardRegistry):
            guards = self.guards if guards is None else GuardRegistry(guards)
        return self._of(self._topology, guards, self.actions)

    # What is registered ---------------------------------------------------------------------

    @property
    def guards(self) -> GuardRegistry:
        """The registry of its guards."""
        return self._guards

    @property
    def actions(self) -> ActionRegistry:
        """The registry of its actions."""
        return self._actions

    def bind_guards(self, registry: GuardRegistry | Mapping[str, Callable[..., Any]]) -> None:
        """Use these guards from now on, and no others."""
        self._guards = registry if isinstance(registry, GuardRegistry) else GuardRegistry(registry)
        self._bound = None

    def bind_actions(self, registry: ActionRegistry | Mapping[str, Callable[..., Any]]) -> None:
        """Use these actions from now on, and no others (the built-in ones apart)."""
        self._actions = (
            registry if isinstance(registry, ActionRegistry) else ActionRegistry(registry)
        )

    def guard(self, name: str | None = None) -> Callable[[F], F]:
        """``@machine.guard("is_paid")`` registers a function as a guard."""
        return self.guards.decorator(name)

    def action(self, name: str | None = None) -> Callable[[F], F]:
        """``@machine.action("ship")`` registers a function as an action."""
        return self.actions.decorator(name)

    @property
    def _engine(self) -> Engine:
        """The topology with the guards as they are registered now."""
        bound = self._bound
        if bound is None or bound.revision != bound.registry.revision:
            self._bound = bound = Engine(self._topology, self._guards)
        return bound

    # Events ---------------------------------------------------------------------------------

    def process(
        self,
        state: str,
        trigger: str | Event,
        context: Context | None = None,
        *,
        now: datetime | None = None,
    ) -> TransitionResult:
        """What an event does to an entity in this state; pure.

        Args:
            state: The entity's configuration, as a result's ``target_state`` or a store has it.
            trigger: The event's name, or an `Event` whose payload is merged into the context first.
            context: The entity's data; it is not written to.
            now: The time of the step, aware; by default the clock's, read only if the event needs
                it.

        Returns:
            The result. An event that is not allowed is a result too: ``success`` is False and
            ``error`` says why.

        Raises:
            UndefinedStateError: There is no such state.
        """
        try:
            row = self._table[state]
            cell = row[trigger]  # type: ignore[index] # a row answers for an Event too
        except TypeError:
            check_names(state, trigger)
            raise
        if cell.fast:
            if context is None or context.__class__ is not dict:
                context = own(context)
            return TransitionResult(cell, context, None if now is None else from_datetime(now))
        if cell.idle and isinstance(context, dict) and now is None:
            engine = self._bound
            if engine is None or engine.revision != engine.registry.revision:
                engine = self._engine
            if engine.quick:
                return engine.quickly(row, cell, context, context, None)
        if isinstance(cell, Fork) and cell.forks and isinstance(context, dict) and now is None:
            engine = self._engine
            if engine.quick:
                found = engine.forked(row, cell, context, context, None)
                if isinstance(found, TransitionResult):
                    return found
                cell = found
        return self._process(row, cell, trigger, context, now)

    def _process(
        self,
        row: Row,
        cell: Cell,
        trigger: str | Event,
        context: Context | None,
        now: datetime | None,
    ) -> TransitionResult:
        given = own(context)
        name, payload = taken_apart(trigger)
        if name is not trigger:
            cell = row[name]
        at = moment(now, cell.needs_now)
        try:
            return self._engine.step(row, cell, payload, given, at, None)
        except NeedGuard as need:
            return unawaited(need, row.text, name, given, at, twin="machine.aprocess(...)")

    async def aprocess(
        self,
        state: str,
        trigger: str | Event,
        context: Context | None = None,
        *,
        now: datetime | None = None,
    ) -> TransitionResult:
        """`process` for machines with async guards: awaits their verdicts, then steps."""
        given = own(context)
        name, payload = taken_apart(trigger)
        row = self._table[state]
        at = moment(now, row[name].needs_now)
        step = partial(self._engine.step, row, row[name], payload, given, at)
        return await awaiting(step, row.text, name, given, at)

    def apply(
        self,
        state: str,
        data: Mapping[str, Any],
        context: Context | None = None,
        *,
        now: datetime | None = None,
    ) -> TransitionResult:
        """What new data does to an entity in this state, without an event; pure.

        The data is merged into the context. Then what is enabled without an event happens: ``auto``
        transitions, and routing to states whose ``when`` holds.

        Args:
            state: The entity's configuration.
            data: Top-level names of the context and their new values.
            context: The entity's data; it is not written to.
            now: The time of the step, aware; by default the clock's.

        Returns:
            The result; its ``trigger`` is None. Where the data leads nowhere, ``target_state`` is
            the source and ``context`` has the data all the same.

        Raises:
            UndefinedStateError: There is no such state.
            InvalidValueError: A name in the data starts with ``_``: these are reserved.
        """
        given, at = self._data(data, context, now)
        row = self._table[state]
        try:
            return self._engine.apply(row, data, given, at, None)
        except NeedGuard as need:
            return unawaited(need, row.text, None, given, at, twin="machine.aapply(...)")

    async def aapply(
        self,
        state: str,
        data: Mapping[str, Any],
        context: Context | None = None,
        *,
        now: datetime | None = None,
    ) -> TransitionResult:
        """`apply` for machines with async guards."""
        given, at = self._data(data, context, now)
        row = self._table[state]
        step = partial(self._engine.apply, row, data, given, at)
        return await awaiting(step, row.text, None, given, at)

    def _data(
        self, data: Mapping[str, Any], context: Context | None, now: datetime | None
    ) -> tuple[Context, int | None]:
        check_payload(data)
        return own(context), moment(now, self._topology.reads_time)

    def start(
        self, context: Context | None = None, *, now: datetime | None = None
    ) -> TransitionResult:
        """What beginning an entity does: defaults, initial states and what follows from them.

        Raises:
            InvalidValueError: A name in the context starts with ``_``: these are reserved.
        """
        given, at = self._beginning(context, now)
        try:
            return self._engine.start(given, at, None)
        except NeedGuard as need:
            return unawaited(need, None, None, given, at, twin="machine.astart(...)")

    async def astart(
        self, context: Context | None = None, *, now: datetime | None = None
    ) -> TransitionResult:
        """`start` for machines whose beginning asks async guards."""
        given, at = self._beginning(context, now)
        return await awaiting(partial(self._engine.start, given, at), None, None, given, at)

    def _beginning(
        self, context: Context | None, now: datetime | None
    ) -> tuple[Context, int | None]:
        given = own(context)
        check_payload(given)
        return given, moment(now, self._topology.reads_time)

    def create(
        self,
        context: Context | None = None,
        initial_state: str | None = None,
        *,
        execute_actions: bool = False,
        entity_id: str | None = None,
        clock: "Clock | None" = None,
    ) -> "EntitySession":
        """An entity in memory, begun or placed in ``initial_state``; see `EntitySession`.

        One whose beginning has async guards or actions is made by `EntitySession.acreate`.
        """
        return _session()(
            self,
            entity_id,
            context,
            initial_state=initial_state,
            execute_actions=execute_actions,
            clock=clock,
        )

    # For those who keep entities: time in microseconds, verdicts from outside ------------------

    def step(
        self,
        configuration: str,
        trigger: str,
        payload: Mapping[str, Any] | None,
        context: Context,
        now: int,
        verdicts: Verdicts | None = None,
    ) -> TransitionResult:
        """One event of an entity.

        Args:
            configuration: As a result's ``target_state`` or a store has it.
            trigger: The event's name.
            context: The entity's data; it is not written to.
            payload: Merged into the context before guards, readable as ``_event.data``.
            now: Microseconds since the epoch.
            verdicts: Answers to the `NeedGuard`s of earlier tries.

        Raises:
            NeedGuard: An async guard has to be asked: await ``call()``, keep the verdict, step
                again.
            UndefinedStateError: There is no such state.
        """
        row = self._table[configuration]
        cell = row[trigger]
        if cell.fast and not payload:
            return TransitionResult(cell, context, now)
        return self._engine.step(row, cell, payload, context, now, verdicts)

    def merge(
        self,
        configuration: str,
        data: Mapping[str, Any],
        context: Context,
        now: int,
        verdicts: Verdicts | None = None,
    ) -> TransitionResult:
        """Data without an event: merged into the context, and what follows from it alone.

        Raises:
            NeedGuard, UndefinedStateError: As in `step`.
        """
        return self._engine.apply(self._table[configuration], data, context, now, verdicts)

    def begin(
        self, context: Context, now: int, verdicts: Verdicts | None = None, *, alone: bool = True
    ) -> TransitionResult:
        """The start of an entity; `trigger` and `source_state` are None; see `Engine.start`.

        Raises:
            NeedGuard: As in `step`.
        """
        start = self._topology.start
        if start.short and start.quiet and not (start.effect or self.definition.variables):
            return TransitionResult(start, context, now)
        return self._engine.start(context, now, verdicts, alone=alone)

    def fire(
        self,
        configuration: str,
        timer_id: str,
        context: Context,
        now: int,
        verdicts: Verdicts | None = None,
    ) -> TransitionResult:
        """A timer's deadline: selects that timer's transition and no other.

        A timer that does not count here is ``void``; a false guard uses the timer up.

        Raises:
            NeedGuard, UndefinedStateError: As in `step`.
        """
        return self._engine.fire(self._table[configuration], timer_id, context, now, verdicts)

    def place(self, configuration: str, context: Context, now: int) -> TransitionResult:
        """Be in a configuration without having entered it: timers to arm, and no action.

        Raises:
            UndefinedStateError: There is no such state.
        """
        return self._engine.place(self._table[configuration], context, now)


def _again(
    kind: type[StateMachine], definition: Definition, guards: GuardRegistry, actions: ActionRegistry
) -> StateMachine:
    machine = kind.from_definition(definition)
    machine.bind_guards(guards)
    machine.bind_actions(actions)
    return machine


@cache
def _session() -> "type[EntitySession]":
    from pystator.engine.session import EntitySession  # it builds on machines

    return EntitySession


def _load_config(config: Mapping[str, Any]) -> Definition:
    from pystator.definition.load import load_config  # the format's validator comes with it

    return load_config(config)


def _written(
    where: str, entry: State | Transition | ErrorPolicy, kind: type[object]
) -> dict[str, Any]:
    """A public record as the entry of a file."""
    _check(where, entry, kind, f"of type {kind.__name__}")
    return entry.to_config()


def _check(where: str, value: object, kind: type[object], wanted: str) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{where} must be {wanted}, not {type(value).__name__};"
            " a machine of plain data is made by StateMachine.from_dict(config)",
            context={"where": where, "type": type(value).__name__},
        )


def _check_path(path: object) -> None:
    if not isinstance(path, str | Path) or "\n" in str(path):
        raise ConfigurationError(
            "from_yaml(path) takes the path of a file:"
            " give plain data, e.g. of yaml.safe_load(text), to from_dict(config)",
            context={"type": type(path).__name__},
        )

"""The orchestrator: events in, results out, and in the store nothing that disagrees with them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pystator.engine.actions import ActionExecutor
from pystator.engine.copying import detach
from pystator.engine.machine import StateMachine
from pystator.engine.public import Event
from pystator.engine.registry import ActionRegistry, GuardRegistry
from pystator.engine.result import TransitionResult
from pystator.errors import ConfigurationError, EvaluationError, InvalidValueError
from pystator.orchestrator import ops
from pystator.orchestrator.calls import names_of, payload_of, results_of
from pystator.orchestrator.cases import Case, Item, case_of, moment, plain_payload
from pystator.orchestrator.closing import Closing
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.hooks import Hooks
from pystator.orchestrator.options import check_forced, check_limit, check_options
from pystator.orchestrator.program import process
from pystator.orchestrator.requests import Program
from pystator.orchestrator.scheduling import Scheduler, StoredTimers, watch
from pystator.orchestrator.settings import Settings, Validator
from pystator.orchestrator.single import process_one
from pystator.orchestrator.waiting import DECIDING
from pystator.records import Entity
from pystator.stores.adapt import lift

if TYPE_CHECKING:
    from pystator.orchestrator.batching import Combiner

__all__ = ["Orchestrator"]

T = TypeVar("T")

_Guards = GuardRegistry | Mapping[str, Callable[..., Any]]
_Actions = ActionRegistry | Mapping[str, Callable[..., Any]]

CHUNK: Final = 1_000
"""Events of a bulk call that share a load and a commit."""


class Orchestrator:
    """Processes events of stored entities.

    Args:
        machine: The machine whose entities these are.
        state_store: Where they are: a store of ours, or one with the three methods of `StateStore`.
        guards: Guards by name; by default those registered with the machine.
        actions: Actions by name; by default those registered with the machine.
        context_validator: ``(entity_id, state, trigger, context) -> (ok, errors)``, asked before
            the guards with the event's data merged in.
        scheduler: Fires due timers in this process, see `pystator.scheduler`; without one, call
            `fire_due`.
        hooks: Observers, see `TransitionHook`.
        use_initial_state_when_missing: An event for a missing entity starts it; otherwise it is
            rejected.
        action_delivery: ``"inline"``: after the commit, at most once. ``"outbox"`` is not in this
            release.
        batching: Concurrent async calls share loads and commits; by default where the store gains
            from it.
        clock: Microseconds since the epoch, for tests.

    Raises:
        ConfigurationError: An option is wrong, or not in this release.

    Example:
        >>> from pystator import InMemoryStateStore, Orchestrator, StateMachine
        >>> machine = StateMachine.from_dict({
        ...     "states": [
        ...         {"name": "open", "type": "initial"},
        ...         {"name": "closed", "type": "terminal"},
        ...     ],
        ...     "transitions": [{"trigger": "close", "source": "open", "dest": "closed"}],
        ... })
        >>> orchestrator = Orchestrator(machine, InMemoryStateStore())
        >>> orchestrator.process_event("door-1", "close").target_state
        'closed'
    """

    def __init__(
        self,
        machine: StateMachine,
        state_store: Any,
        guards: _Guards | None = None,
        actions: _Actions | None = None,
        *,
        context_validator: Validator | None = None,
        scheduler: Scheduler | None = None,
        hooks: Sequence[object] | None = None,
        use_initial_state_when_missing: bool = True,
        action_delivery: str = "inline",
        batching: bool | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        check_options(machine, hooks, context_validator, scheduler, action_delivery)
        self.machine = machine if guards is None else machine.with_guards(guards)
        self.state_store = state_store
        store = lift(state_store)
        if scheduler is not None:
            store = watch(store, scheduler)
        self._store = store
        self._settings = Settings(
            self.machine,
            store,
            hooks=Hooks(hooks) if hooks else None,
            validator=context_validator,
            start_missing=use_initial_state_when_missing,
        )
        executor = ActionExecutor(machine.actions if actions is None else actions)
        self._driver = Driver(store, executor, clock)
        self._run_one = self._driver.run_one
        self._blocking = store.sync
        self._async = store.has_async
        plain = self._settings.plain
        self._batching = store.has_async and (store.combines if batching is None else batching)
        self._plain = plain and store.sync
        self._aplain = plain and store.has_async and not self._batching
        self._combiner: Callable[[], Combiner] | None = None
        self._scheduler = scheduler
        if scheduler is not None:
            scheduler.attach(StoredTimers(self._settings, self._driver, clock))
            scheduler.start()

    # Events -------------------------------------------------------------------------------------

    def process_event(
        self,
        entity_id: str,
        trigger: str | Event,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        actor: str | None = None,
        occurred_at: datetime | None = None,
        now: datetime | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """Process one event of one entity.

        Args:
            entity_id: The entity; a missing one is started first.
            trigger: The event's name, or an `Event`.
            context: The event's data: merged into the entity's context, and readable as
                ``_event.data``.
            event_id: Makes it idempotent: sent again, the first result is given again.
            actor: Who sent it; kept in history.
            occurred_at: When it happened (aware); kept in history.
            now: The time of the step (aware); by default the clock's.
            connection: Not in this release.

        Returns:
            The result. A rejection is a result too: ``success`` is False and ``error`` says why.

        Raises:
            InvalidValueError: The data cannot be stored; nothing was written.
            StaleVersionError: Others changed the entity again and again for ten seconds.
            IdempotencyConflictError: The event id belongs to another event.
            MachineVersionMismatchError, EntityMachineMismatchError, UndefinedStateError: The entity
                is in no state of this machine.
            StoreUnavailableError: The store does not answer.
        """
        if (
            event_id is None
            and actor is None
            and occurred_at is None
            and now is None
            and connection is None
            and self._plain
            and type(trigger) is str
            and type(entity_id) is str
        ):
            payload = payload_of(context) if context else None
            return self._run_one(self._settings, entity_id, trigger, payload)
        case = self._case(
            entity_id, trigger, context, event_id, actor, occurred_at, now, connection
        )
        self._run(process(self._settings, (case,)))
        return case.answer()

    async def async_process_event(
        self,
        entity_id: str,
        trigger: str | Event,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        actor: str | None = None,
        occurred_at: datetime | None = None,
        now: datetime | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`process_event` for asyncio; concurrent calls share loads and commits."""
        if self._scheduler is not None:
            self._scheduler.start()
        if (
            event_id is None
            and actor is None
            and occurred_at is None
            and now is None
            and connection is None
            and self._aplain
            and type(trigger) is str
            and type(entity_id) is str
            and DECIDING.get() is None
        ):
            payload = detach(payload_of(context)) if context else None
            program = process_one(self._settings, entity_id, trigger, payload)
            return await self._driver.arun(program)
        case = self._case(
            entity_id, trigger, context, event_id, actor, occurred_at, now, connection
        )
        if self._batching:
            return await self._combine().submit(case)
        await self._arun(process(self._settings, (case,)))
        return case.answer()

    def process_events(
        self, items: Iterable[Item], *, actor: str | None = None
    ) -> list[TransitionResult]:
        """Process many events; those of one entity in order, and together where they can be.

        Args:
            items: ``(entity_id, trigger)``, ``(entity_id, trigger, context)`` or `EventRequest`.
            actor: Who sent those that do not say.

        Returns:
            The results, in the order of the items. An item that could not be decided or written has
            a result as well, with ``success`` False and its error; its neighbours are not touched.

        Raises:
            StoreUnavailableError: The store does not answer and nothing was done.
        """
        results: list[TransitionResult] = []
        for cases in self._chunks(items, actor):
            self._run(process(self._settings, cases))
            results += results_of(cases, first=not results)
        return results

    async def async_process_events(
        self, items: Iterable[Item], *, actor: str | None = None
    ) -> list[TransitionResult]:
        """`process_events` for asyncio."""
        results: list[TransitionResult] = []
        for cases in self._chunks(items, actor):
            await self._arun(process(self._settings, cases))
            results += results_of(cases, first=not results)
        return results

    # Data ---------------------------------------------------------------------------------------

    def apply_data(
        self,
        entity_id: str,
        data: Mapping[str, Any],
        *,
        event_id: str | None = None,
        actor: str | None = None,
        occurred_at: datetime | None = None,
        now: datetime | None = None,
    ) -> TransitionResult:
        """Merge data into an entity's context, then take the transitions whose ``when`` holds.

        It is an event without a trigger: the data is kept also when nothing follows from it, and
        everything said of `process_event` is true of it, from missing entities to ``event_id``.
        A validator and hooks are given ``""`` for the trigger.

        Args:
            entity_id: The entity; a missing one is started first.
            data: Merged into its context key by key.
            event_id: Makes it idempotent: sent again, the first result is given again.
            actor: Who sent it; kept in history.
            occurred_at: When it happened (aware); kept in history.
            now: The time of the step (aware); by default the clock's.

        Returns:
            The result: ``trigger`` is None, and ``target_state`` is ``source_state`` when the data
            led nowhere. Data that breaks the machine's rules about its context is rejected.

        Raises:
            InvalidValueError: The data cannot be stored; nothing was written.
            StaleVersionError, IdempotencyConflictError, MachineVersionMismatchError,
            EntityMachineMismatchError, UndefinedStateError, StoreUnavailableError: As
                `process_event`.
        """
        brought = plain_payload(data, "data")
        case = self._case(
            entity_id, "", brought, event_id, actor, occurred_at, now, None, is_data=True
        )
        self._run(process(self._settings, (case,)))
        return case.answer()

    async def async_apply_data(
        self,
        entity_id: str,
        data: Mapping[str, Any],
        *,
        event_id: str | None = None,
        actor: str | None = None,
        occurred_at: datetime | None = None,
        now: datetime | None = None,
    ) -> TransitionResult:
        """`apply_data` for asyncio; concurrent calls share loads and commits with events."""
        brought = plain_payload(data, "data")
        case = self._case(
            entity_id, "", brought, event_id, actor, occurred_at, now, None, is_data=True
        )
        if self._batching:
            return await self._combine().submit(case)
        await self._arun(process(self._settings, (case,)))
        return case.answer()

    # Entities -----------------------------------------------------------------------------------

    def create_entity(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        actor: str | None = None,
        now: datetime | None = None,
    ) -> TransitionResult:
        """Start an entity: its initial state is entered, with everything that follows from it.

        Raises:
            EntityExistsError: There is one already; with the same ``event_id`` the first result is
                given again.
        """
        case = self._case(entity_id, "", context, event_id, actor, None, now, None)
        return self._run(ops.create(self._settings, case))

    async def async_create_entity(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        actor: str | None = None,
        now: datetime | None = None,
    ) -> TransitionResult:
        """`create_entity` for asyncio."""
        case = self._case(entity_id, "", context, event_id, actor, None, now, None)
        return await self._arun(ops.create(self._settings, case))

    def get_entity(self, entity_id: str) -> Entity | None:
        """The entity as stored; None when there is none."""
        return self._run(ops.read(self._settings, entity_id))

    async def async_get_entity(self, entity_id: str) -> Entity | None:
        """`get_entity` for asyncio."""
        return await self._arun(ops.read(self._settings, entity_id))

    def force_state(
        self, entity_id: str, state: str, *, reason: str, actor: str
    ) -> TransitionResult:
        """Put an entity into a state by hand: no guard is asked, no action runs.

        History says who did it and why. Its timers are those of the new state, armed now; its
        context stays.

        Raises:
            EntityNotFoundError: There is no such entity.
            UndefinedStateError: There is no such state.
            InvalidValueError: ``reason`` or ``actor`` is empty.
        """
        check_forced(state, reason, actor)
        case = self._case(entity_id, "", {"reason": reason}, None, actor, None, None, None)
        return self._run(ops.force(self._settings, case, state))

    async def async_force_state(
        self, entity_id: str, state: str, *, reason: str, actor: str
    ) -> TransitionResult:
        """`force_state` for asyncio."""
        check_forced(state, reason, actor)
        case = self._case(entity_id, "", {"reason": reason}, None, actor, None, None, None)
        return await self._arun(ops.force(self._settings, case, state))

    # Timers -------------------------------------------------------------------------------------

    def fire_due(self, now: datetime | None = None, limit: int = 100) -> list[TransitionResult]:
        """Fire the timers that are due; call it as often as you like.

        Args:
            limit: The most entities to look at.
            now: The time up to which they are due (aware); by default the clock's.

        Returns:
            A result for each timer fired, with ``metadata["entity_id"]``. What another process
            fired first, and what no longer counts, is left out.
        """
        at = None if now is None else moment(now)
        return self._run(ops.fire_due(self._settings, at, check_limit(limit)))

    async def async_fire_due(
        self, now: datetime | None = None, limit: int = 100
    ) -> list[TransitionResult]:
        """`fire_due` for asyncio."""
        at = None if now is None else moment(now)
        return await self._arun(ops.fire_due(self._settings, at, check_limit(limit)))

    # The end ------------------------------------------------------------------------------------

    def close(self) -> Closing:
        """End the scheduler, wait until outcomes of actions are written; the store stays open.

        In async code ``await`` the call.
        """
        return Closing(self._store, self._scheduler)

    # Inside -------------------------------------------------------------------------------------

    def _run(self, program: Program[T]) -> T:
        if not self._blocking:
            program.close()
            raise TypeError(
                f"{type(self.state_store).__name__} has only async methods: "
                "use the async twin of this call, e.g. await async_process_event(...)"
            )
        return self._driver.run(program)

    async def _arun(self, program: Program[T]) -> T:
        if not self._async:
            program.close()
            raise TypeError(
                f"{type(self.state_store).__name__} has only blocking methods: "
                "use the blocking twin of this call, e.g. process_event(...)"
            )
        if self._scheduler is not None:
            self._scheduler.start()
        return await self._driver.arun(program)

    def _case(
        self,
        entity_id: str,
        trigger: str | Event,
        context: Mapping[str, Any] | None,
        event_id: str | None,
        actor: str | None,
        occurred_at: datetime | None,
        now: datetime | None,
        connection: object,
        *,
        is_data: bool = False,
    ) -> Case:
        if connection is not None:
            raise ConfigurationError(
                "connection= is not in this release:"
                " an event is committed by the store's own connection",
                context={"option": "connection"},
            )
        case = Case(entity_id, trigger, context, event_id, actor, occurred_at, now)
        case.is_data = is_data
        self._admit(case)
        return case

    def _admit(self, case: Case) -> None:
        asker = DECIDING.get()
        if asker is not None:
            asker.admit(self._settings, case.entity_id)
        if case.event_id is None:
            return
        if not self._settings.idempotent:
            raise TypeError(
                "event_id= needs a store that keeps event ids, and"
                f" {type(self.state_store).__name__} does not:"
                " leave it out, or use one of PyStator's stores"
            )
        case.identify(None if case.is_data else self._settings.normalise(case.trigger))

    def _chunks(self, items: Iterable[Item], actor: str | None) -> Iterator[list[Case]]:
        rest = iter(items)
        while chunk := [self._case_of(item, actor) for item in islice(rest, CHUNK)]:
            yield chunk

    def _case_of(self, item: Item, actor: str | None) -> Case:
        """The case of an item; one that is no event fails alone."""
        try:
            case = case_of(item, actor)
            self._admit(case)
        except (InvalidValueError, EvaluationError) as error:
            case = Case(*names_of(item), None)
            case.error = error
        return case

    def _combine(self) -> "Combiner":
        """The running loop's combiner."""
        if self._combiner is None:
            from pystator.orchestrator.loops import Loops  # asyncio comes with it

            self._combiner = Loops(self._settings, self._driver).combiner
        return self._combiner()

"""The orchestrator: events in, results out, and in the store nothing that disagrees with them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pystator.engine.copying import detach
from pystator.engine.public import Event
from pystator.engine.result import TransitionResult
from pystator.orchestrator import ops
from pystator.orchestrator.actions import release
from pystator.orchestrator.calls import payload_of, results_of, several
from pystator.orchestrator.cases import Item, moment, plain_payload
from pystator.orchestrator.closing import Closing
from pystator.orchestrator.entities import Entities
from pystator.orchestrator.options import check_limit
from pystator.orchestrator.program import process
from pystator.orchestrator.single import process_one
from pystator.orchestrator.waiting import DECIDING

__all__ = ["Orchestrator"]


class Orchestrator(Entities):
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
        telemetry: Is told of spans, see `pystator.orchestrator.tracing`.
        use_initial_state_when_missing: An event for a missing entity starts it; otherwise it is
            rejected.
        action_delivery: ``"inline"``: after the commit, at most once. ``"outbox"`` is not in this
            release.
        batching: Concurrent calls share loads and commits: async ones by default where the store
            gains from it, those of threads only with True. Guards then run in any caller's thread.
        most_waiting: Async calls that an event loop may have waiting for shared commits; further
            ones wait for their turn before they are taken in.
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
        expected_version: int | None = None,
        trace: str | None = None,
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
            expected_version: The version that the entity has to have before the event, 0 for none
                yet. At another one the event is not taken; timers that are due before the event
                fire first, and make versions.
            trace: The W3C ``traceparent`` it belongs to; kept in history, and readable by actions
                with `pystator.current_trace`.
            connection: Do it in the caller's own open transaction: a connection of the store's
                driver, or a SQLAlchemy ``Connection`` or ``Session``. The caller commits, or rolls
                back; then `run_actions` runs the actions.

        Returns:
            The result. A rejection is a result too: ``success`` is False and ``error`` says why.

        Raises:
            InvalidValueError: The data cannot be stored; nothing was written.
            StaleVersionError: The entity is not at ``expected_version``: ``context`` says which is
                ``expected`` and which ``actual``, and nothing of the event was written. Or others
                changed the entity again and again for ten seconds; or the transaction of
                ``connection`` has to be run again.
            IdempotencyConflictError: The event id belongs to another event.
            MachineVersionMismatchError, EntityMachineMismatchError, UndefinedStateError: The entity
                is in no state of this machine.
            StoreUnavailableError: The store does not answer, or others kept it locked.
            ConfigurationError: The ``connection`` is none of the store's database, or is in no
                transaction.
        """
        if (
            event_id is None
            and actor is None
            and occurred_at is None
            and now is None
            and expected_version is None
            and trace is None
            and connection is None
            and self._plain
            and type(trigger) is str
            and type(entity_id) is str
        ):
            payload = payload_of(context) if context else None
            return self._run_one(self._settings, entity_id, trigger, payload)
        case = self._case(
            entity_id, trigger, context, event_id, actor, occurred_at, now, expected_version, trace
        )
        if self._leaders is not None and connection is None:
            return self._leaders.submit(case)
        settings, driver = self._home(connection)
        self._run(process(settings, (case,)), driver)
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
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`process_event` for asyncio; concurrent calls share loads and commits."""
        if self._scheduler is not None:
            self._scheduler.start()
        if (
            self._aplain
            and event_id is None
            and actor is None
            and occurred_at is None
            and now is None
            and expected_version is None
            and trace is None
            and connection is None
            and type(trigger) is str
            and type(entity_id) is str
            and DECIDING.get() is None
        ):
            payload = detach(payload_of(context)) if context else None
            program = process_one(self._settings, entity_id, trigger, payload)
            return await self._driver.arun(program)
        case = self._case(
            entity_id, trigger, context, event_id, actor, occurred_at, now, expected_version, trace
        )
        if self._batching and connection is None:
            return await self._combine().submit(case)
        settings, driver = self._home(connection)
        await self._arun(process(settings, (case,)), driver)
        return case.answer()

    def process_events(
        self, items: Iterable[Item], *, actor: str | None = None, connection: object = None
    ) -> list[TransitionResult]:
        """Process many events; those of one entity in order, and together where they can be.

        Args:
            items: ``(entity_id, trigger)``, ``(entity_id, trigger, context)`` or `EventRequest`.
            actor: Who sent those that do not say.
            connection: Do it in the caller's own transaction, see `process_event`.

        Returns:
            The results, in the order of the items. An item that could not be decided or written has
            a result as well, with ``success`` False and its error; its neighbours are not touched.

        Raises:
            StoreUnavailableError: The store does not answer and nothing was done.
            StaleVersionError, StoreUnavailableError: With ``connection``, whenever the transaction
                cannot be kept: what was written of it is the caller's to roll back.
        """
        settings, driver = self._home(connection)
        results: list[TransitionResult] = []
        for cases in self._chunks(items, actor):
            self._run(process(settings, cases), driver)
            results += results_of(cases, first=not results, held=settings.holds)
        return results

    async def async_process_events(
        self, items: Iterable[Item], *, actor: str | None = None, connection: object = None
    ) -> list[TransitionResult]:
        """`process_events` for asyncio."""
        settings, driver = self._home(connection)
        results: list[TransitionResult] = []
        for cases in self._chunks(items, actor):
            await self._arun(process(settings, cases), driver)
            results += results_of(cases, first=not results, held=settings.holds)
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
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
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
            expected_version: The version that the entity has to have before, see `process_event`.
            trace: The W3C ``traceparent`` it belongs to, see `process_event`.
            connection: Do it in the caller's own transaction, see `process_event`.

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
            entity_id, "", brought, event_id, actor, occurred_at, now, expected_version, trace,
            is_data=True,
        )  # fmt: skip
        if self._leaders is not None and connection is None:
            return self._leaders.submit(case)
        settings, driver = self._home(connection)
        self._run(process(settings, (case,)), driver)
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
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`apply_data` for asyncio; concurrent calls share loads and commits with events."""
        brought = plain_payload(data, "data")
        case = self._case(
            entity_id, "", brought, event_id, actor, occurred_at, now, expected_version, trace,
            is_data=True,
        )  # fmt: skip
        if self._batching and connection is None:
            return await self._combine().submit(case)
        settings, driver = self._home(connection)
        await self._arun(process(settings, (case,)), driver)
        return case.answer()

    # Actions ------------------------------------------------------------------------------------

    def run_actions(self, results: TransitionResult | Iterable[TransitionResult]) -> None:
        """Run what waits for the caller's commit: the actions of events with ``connection=``.

        Actions run as those of other events do: in order, each result's once, however often this is
        called; an error is in ``metadata["action_errors"]`` and in history. Hooks are told that the
        events are complete, and the scheduler of their timers. A result with which nothing waits is
        no mistake.

        Args:
            results: One result, or several.

        Raises:
            InvalidValueError: One of the events is not committed; nothing was run.
        """
        committed = several(results)
        self._run(release(self._settings, committed))
        self._wake(committed)

    async def async_run_actions(
        self, results: TransitionResult | Iterable[TransitionResult]
    ) -> None:
        """`run_actions` for asyncio; async actions are awaited."""
        committed = several(results)
        await self._arun(release(self._settings, committed))
        self._wake(committed)

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

        In async code ``await`` the call: it also waits for this loop's events and actions whose
        callers were cancelled.
        """
        return Closing(self._store, self._scheduler, self._ended)

"""An orchestrator's calls about an entity as a whole: start, read, put by hand, put away."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pystator.engine.result import TransitionResult
from pystator.orchestrator import archiving, ops
from pystator.orchestrator.cases import Case
from pystator.orchestrator.core import Core
from pystator.orchestrator.options import check_by_hand, check_state
from pystator.orchestrator.rehearsal import rehearse
from pystator.records import Entity

__all__ = ["Entities"]


class Entities(Core):
    """The calls that are about no event."""

    def create_entity(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        actor: str | None = None,
        now: datetime | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """Start an entity: its initial state is entered, with everything that follows from it.

        Args:
            entity_id: The entity.
            context: Its first context.
            event_id: Makes it idempotent: sent again, the first result is given again.
            actor: Who starts it; kept in history.
            now: The time of the step (aware); by default the clock's.
            trace: The W3C ``traceparent`` it belongs to, see `process_event`.
            connection: Do it in the caller's own transaction, see `process_event`.

        Raises:
            EntityExistsError: There is one already; with the same ``event_id`` the first result is
                given again.
        """
        case = self._case(entity_id, "", context, event_id, actor, None, now, None, trace)
        settings, driver = self._home(connection)
        return self._run(ops.create(settings, case), driver)

    async def async_create_entity(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        actor: str | None = None,
        now: datetime | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`create_entity` for asyncio."""
        case = self._case(entity_id, "", context, event_id, actor, None, now, None, trace)
        settings, driver = self._home(connection)
        return await self._arun(ops.create(settings, case), driver)

    def get_entity(self, entity_id: str, *, connection: object = None) -> Entity | None:
        """The entity as stored; None when there is none.

        Args:
            entity_id: The entity.
            connection: Read what the caller's own transaction sees, see `process_event`.
        """
        settings, driver = self._home(connection, reading=True)
        return self._run(ops.read(settings, entity_id), driver)

    async def async_get_entity(self, entity_id: str, *, connection: object = None) -> Entity | None:
        """`get_entity` for asyncio."""
        settings, driver = self._home(connection, reading=True)
        return await self._arun(ops.read(settings, entity_id), driver)

    def dry_run(
        self,
        entity_id: str,
        trigger: str,
        context: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
    ) -> TransitionResult:
        """Say what an event would do now, and do nothing: `process_event` without its commit.

        Guards and the validator are asked; no action runs, and hooks hear nothing of it. The result
        is the one that the event would have, with the version that it would make.

        Args:
            entity_id: The entity; a missing one would be started first.
            trigger: The event's name.
            context: The event's data.
            now: The time of the step (aware); by default the clock's.

        Raises:
            FSMError: As `process_event`.
        """
        case = self._case(entity_id, trigger, context, None, None, None, now)
        return self._run(rehearse(self._settings, case))

    async def async_dry_run(
        self,
        entity_id: str,
        trigger: str,
        context: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
    ) -> TransitionResult:
        """`dry_run` for asyncio."""
        case = self._case(entity_id, trigger, context, None, None, None, now)
        return await self._arun(rehearse(self._settings, case))

    def force_state(
        self,
        entity_id: str,
        state: str,
        *,
        reason: str,
        actor: str,
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """Put an entity into a state by hand: no guard is asked, no action runs.

        History says who did it and why. Its timers are those of the new state, armed now; its
        context stays. An archived entity is not moved: that is a rejection (``entity_archived``).

        Args:
            entity_id: The entity.
            state: Where to; several active states are joined by ``+``.
            reason: Why; kept in history.
            actor: Who does it; kept in history.
            expected_version: The version that the entity has to have.
            trace: The W3C ``traceparent`` it belongs to; kept in history.
            connection: Do it in the caller's own transaction, see `process_event`.

        Raises:
            EntityNotFoundError: There is no such entity.
            StaleVersionError: It is not at ``expected_version``.
            UndefinedStateError: There is no such state.
            InvalidValueError: ``reason`` or ``actor`` is empty.
        """
        check_state(state)
        case = self._by_hand("force_state", entity_id, reason, actor, expected_version, trace)
        settings, driver = self._home(connection)
        return self._run(ops.force(settings, case, state), driver)

    async def async_force_state(
        self,
        entity_id: str,
        state: str,
        *,
        reason: str,
        actor: str,
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`force_state` for asyncio."""
        check_state(state)
        case = self._by_hand("force_state", entity_id, reason, actor, expected_version, trace)
        settings, driver = self._home(connection)
        return await self._arun(ops.force(settings, case, state), driver)

    def archive(
        self,
        entity_id: str,
        *,
        reason: str,
        actor: str,
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """Put an entity away: it stays readable, with its history, and takes no events.

        Events, data and `force_state` are rejected then (``entity_archived``), its timers do not
        fire, and lists and counts leave it out unless they are asked for what is archived.
        Archiving is a change: it makes a version, and history says who did it and why. An entity
        that is archived already stays as it is (the result's ``ignored`` is true, and nothing is
        written), so the call can be made again.

        Args:
            entity_id: The entity.
            reason: Why; kept in history.
            actor: Who does it; kept in history.
            expected_version: The version that the entity has to have.
            trace: The W3C ``traceparent`` it belongs to; kept in history.
            connection: Do it in the caller's own transaction, see `process_event`.

        Raises:
            EntityNotFoundError: There is no such entity.
            StaleVersionError: It is not at ``expected_version``.
            InvalidValueError: ``reason`` or ``actor`` is empty.
            TypeError: The store is one of your own that has no place for it.
        """
        case = self._archived("archive", entity_id, reason, actor, expected_version, trace)
        settings, driver = self._home(connection)
        return self._run(archiving.archive(settings, case, back=False), driver)

    async def async_archive(
        self,
        entity_id: str,
        *,
        reason: str,
        actor: str,
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`archive` for asyncio."""
        case = self._archived("archive", entity_id, reason, actor, expected_version, trace)
        settings, driver = self._home(connection)
        return await self._arun(archiving.archive(settings, case, back=False), driver)

    def unarchive(
        self,
        entity_id: str,
        *,
        reason: str,
        actor: str,
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """Take an archived entity back, as it was.

        Timers that became due meanwhile fire now: with the next `fire_due`, a scheduler's sweep, or
        before the next event. For everything else see `archive`, which also says what is raised.
        """
        case = self._archived("unarchive", entity_id, reason, actor, expected_version, trace)
        settings, driver = self._home(connection)
        return self._run(archiving.archive(settings, case, back=True), driver)

    async def async_unarchive(
        self,
        entity_id: str,
        *,
        reason: str,
        actor: str,
        expected_version: int | None = None,
        trace: str | None = None,
        connection: object = None,
    ) -> TransitionResult:
        """`unarchive` for asyncio."""
        case = self._archived("unarchive", entity_id, reason, actor, expected_version, trace)
        settings, driver = self._home(connection)
        return await self._arun(archiving.archive(settings, case, back=True), driver)

    def _archived(
        self,
        call: str,
        entity_id: str,
        reason: str,
        actor: str,
        expected: int | None,
        trace: str | None,
    ) -> Case:
        if not self._settings.archives:
            raise self._lacking(f"{call} needs a store that knows archived entities")
        return self._by_hand(call, entity_id, reason, actor, expected, trace)

    def _by_hand(
        self,
        call: str,
        entity_id: str,
        reason: str,
        actor: str,
        expected: int | None,
        trace: str | None,
    ) -> Case:
        """The case of what somebody does by hand: its data is the reason."""
        check_by_hand(call, reason, actor)
        return self._case(
            entity_id, "", {"reason": reason}, None, actor, None, None, expected, trace
        )

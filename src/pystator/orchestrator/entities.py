"""An orchestrator's calls about an entity as a whole: start it, read it, put it by hand."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pystator.engine.result import TransitionResult
from pystator.orchestrator import ops
from pystator.orchestrator.core import Core
from pystator.orchestrator.options import check_forced
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

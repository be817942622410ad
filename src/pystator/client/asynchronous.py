"""`AsyncClient`: a service for asyncio."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from pystator.client import routes
from pystator.client.bodies import Item, request_of
from pystator.client.bulk import portions
from pystator.client.calls import Call, TooLongError
from pystator.client.following import ENDED, SILENCE, Following, wanted
from pystator.client.machines import AsyncMachines
from pystator.client.options import ATTEMPTS, MOST, TIMEOUT, Verify, patience_of
from pystator.client.places import Place, trust
from pystator.client.wire import AsyncWire, lost, options
from pystator.engine.result import TransitionResult
from pystator.records import Entity, EventRequest, HistoryEntry, Page

__all__ = ["AsyncClient", "AsyncStream"]

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same arguments, the same methods, which are awaited."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,  # of calls, each with all its attempts
        attempts: int = ATTEMPTS,
        verify: Verify = True,
        max_answer: int = MOST,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        place = Place(url, api_key)
        patience = patience_of(timeout, attempts)
        http = httpx.AsyncClient(transport=transport, **options(place, trust(place.url, verify)))
        self._wire = AsyncWire(http, place, patience, max_answer)
        self.machines = AsyncMachines(self._wire)

    @property
    def url(self) -> str:
        """The service's URL."""
        return self._wire.place.url

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.http.aclose()

    # Events -------------------------------------------------------------------------------------

    async def create_entity(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        machine_name: str | None = None,
        event_id: str | None = None,
    ) -> TransitionResult:
        """Start an entity, see `Client.create_entity`."""
        return await self._run(routes.create_entity(entity_id, context, machine_name, event_id))

    async def process_event(
        self,
        entity_id: str,
        trigger: str,
        context: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
        expected_version: int | None = None,
        machine_name: str | None = None,
        occurred_at: datetime | None = None,
        with_context: bool = False,
    ) -> TransitionResult:
        """Process one event of one entity, see `Client.process_event`."""
        event = EventRequest(entity_id, trigger, context, event_id, occurred_at)
        return await self._run(
            routes.process_event(event, machine_name, expected_version, with_context=with_context)
        )

    async def process_events(
        self, items: Iterable[Item], *, machine_name: str | None = None
    ) -> list[TransitionResult]:
        """Process many events, see `Client.process_events`."""
        results: list[TransitionResult] = []
        for portion in portions(map(request_of, items), machine_name):
            part: list[TransitionResult] = await self._run(portion)
            results += part
        return results

    async def apply_data(
        self,
        entity_id: str,
        data: Mapping[str, Any],
        *,
        event_id: str | None = None,
        expected_version: int | None = None,
        machine_name: str | None = None,
        occurred_at: datetime | None = None,
        with_context: bool = False,
    ) -> TransitionResult:
        """Merge data into an entity's context, see `Client.apply_data`."""
        return await self._run(
            routes.apply_data(
                entity_id,
                data,
                machine_name,
                event_id,
                expected_version,
                occurred_at,
                with_context=with_context,
            )
        )

    async def dry_run(
        self,
        entity_id: str,
        trigger: str,
        context: Mapping[str, Any] | None = None,
        *,
        machine_name: str | None = None,
    ) -> TransitionResult:
        """Say what an event would do; nothing is changed and no action runs."""
        return await self._run(routes.dry_run(entity_id, trigger, context, machine_name))

    async def process(
        self,
        trigger: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        machine: Mapping[str, Any] | None = None,
        machine_name: str | None = None,
        version: str | None = None,
        state: str | None = None,
        payload: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> TransitionResult:
        """Say what an event would do, without an entity, see `Client.process`."""
        named, data = (machine_name, version), (context, payload)
        return await self._run(routes.process(trigger, machine, named, state, data, now))

    # By hand ------------------------------------------------------------------------------------

    async def force_state(
        self,
        entity_id: str,
        state: str,
        *,
        reason: str,
        machine_name: str | None = None,
        expected_version: int | None = None,
    ) -> TransitionResult:
        """Put an entity into a state by hand, see `Client.force_state`."""
        facts = {"state": state, "reason": reason, "machine_name": machine_name}
        return await self._run(routes.by_hand(entity_id, "/force-state", facts, expected_version))

    async def archive(
        self,
        entity_id: str,
        *,
        reason: str,
        machine_name: str | None = None,
        expected_version: int | None = None,
    ) -> TransitionResult:
        """Take an entity out of service, see `Client.archive`."""
        facts = {"reason": reason, "machine_name": machine_name}
        return await self._run(routes.by_hand(entity_id, "/archive", facts, expected_version))

    async def unarchive(
        self,
        entity_id: str,
        *,
        reason: str,
        machine_name: str | None = None,
        expected_version: int | None = None,
    ) -> TransitionResult:
        """Take an entity back from the archive."""
        facts = {"reason": reason, "machine_name": machine_name}
        return await self._run(routes.by_hand(entity_id, "/unarchive", facts, expected_version))

    # Reads --------------------------------------------------------------------------------------

    async def get_entity(self, entity_id: str, *, machine_name: str | None = None) -> Entity | None:
        """The entity as stored; None when there is none."""
        return await self._run(routes.get_entity(entity_id, machine_name))

    async def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """One page of entities, see `Client.entities`."""
        return await self._run(
            routes.entities(
                state, machine_name, in_state_longer_than, after, limit, archived=archived
            )
        )

    async def count_by_state(
        self, *, machine_name: str | None = None, archived: bool = False
    ) -> dict[str, int]:
        """How many entities are in each configuration."""
        return await self._run(routes.counts(machine_name, archived=archived))

    async def history(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """One page of everything that happened to an entity."""
        return await self._run(
            routes.history(entity_id, machine_name, after, limit, newest_first=newest_first)
        )

    async def event(
        self, entity_id: str, event_id: str, *, machine_name: str | None = None
    ) -> HistoryEntry | None:
        """The history row of the event that was sent with this id; None when there is none."""
        return await self._run(routes.event(entity_id, event_id, machine_name))

    # The feed -----------------------------------------------------------------------------------

    async def transitions(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        machine_name: str | None = None,
        entity_id: str | None = None,
        trigger: str | None = None,
        state: str | None = None,
        success: bool | None = None,
    ) -> Page[HistoryEntry]:
        """One page of the rows of all entities, see `Client.transitions`."""
        filters = wanted(machine_name, entity_id, trigger, state, success)
        return await self._run(routes.transitions(after, limit, filters))

    def stream(
        self,
        *,
        after: str | None = None,
        machine_name: str | None = None,
        entity_id: str | None = None,
        trigger: str | None = None,
        state: str | None = None,
        success: bool | None = None,
    ) -> "AsyncStream":
        """Follow the rows of all entities as they come, see `Client.stream`.

        Without ``after`` it begins at the end that the feed has when the first row is asked for.
        """
        filters = wanted(machine_name, entity_id, trigger, state, success)
        wire = self._wire
        following = Following(after or "", filters, wire.patience, self.url, wire.most)
        return AsyncStream(wire, following)

    async def _run(self, call: Call[T]) -> T:
        return await self._wire.run(call)


class AsyncStream:
    """`Stream` for asyncio: iterate over it, and close it in the end."""

    def __init__(self, wire: AsyncWire, following: Following) -> None:
        self._wire = wire
        self._following = following
        self._rows = self._follow()

    @property
    def cursor(self) -> str:
        """Behind the row that was given last: ``stream(after=cursor)`` goes on there."""
        return self._following.cursor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[HistoryEntry]:
        return self._rows

    async def aclose(self) -> None:
        """Close the connection, in the task that reads."""
        await self._rows.aclose()

    async def _follow(self) -> AsyncGenerator[HistoryEntry]:
        following = self._following
        if not following.cursor:
            page = await self._wire.run(routes.transitions("now", 1, ()))
            following.cursor = page.next or ""
        while True:
            try:
                response = await self._wire.open(following.call(), SILENCE)
                try:
                    if response.status_code == 200:
                        async for part in response.aiter_raw():
                            for row in following.take(part):
                                yield row
                        wait = following.lost(ENDED, time.monotonic())
                    else:
                        answer = await self._wire.read(response, SILENCE)
                        wait = following.refused(answer, time.monotonic())
                finally:
                    await response.aclose()
            except (httpx.TransportError, TimeoutError, TooLongError) as error:
                wait = following.lost(lost(error), time.monotonic())
            await anyio.sleep(wait)

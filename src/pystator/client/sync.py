"""`Client`: a service for threads."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from pystator.client import routes
from pystator.client.bodies import Item, request_of
from pystator.client.bulk import portions
from pystator.client.calls import Call, TooLongError
from pystator.client.following import ENDED, SILENCE, Following, wanted
from pystator.client.machines import Machines
from pystator.client.options import ATTEMPTS, MOST, TIMEOUT, Verify, patience_of
from pystator.client.places import Place, trust
from pystator.client.wire import Wire, lost, options
from pystator.engine.result import TransitionResult
from pystator.records import Entity, EventRequest, HistoryEntry, Page

__all__ = ["Client", "Stream"]

T = TypeVar("T")


class Client:
    """A service, as if its entities were here; threads may share one.

    Every event has an idempotency key: the ``event_id``, or one that is made for the call. So a
    call whose answer is lost is sent again, and the event is applied once all the same.

    Args:
        url: The service's URL; None takes ``PYSTATOR_API_URL``.
        api_key: A key of ``pystator keys create``, or a JWT; None takes ``PYSTATOR_API_KEY``. It
            is sent to this URL only: redirects are not followed.
        timeout: Seconds for a call with all its attempts.
        attempts: Attempts of a call at most.
        verify: Whom a TLS connection trusts: True the usual authorities, a path those of this file,
            an `ssl.SSLContext` what it says. False trusts anybody, for a test.
        max_answer: Bytes of an answer that are taken.
        transport: Sends requests in the place of the network, e.g. in a test.

    Raises:
        ConfigurationError: There is no URL, or an option is wrong.

    Every method raises StoreUnavailableError when the service cannot be reached, and else the error
    that the service told, of the class that has its code.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        verify: Verify = True,
        max_answer: int = MOST,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        place = Place(url, api_key)
        patience = patience_of(timeout, attempts)
        http = httpx.Client(transport=transport, **options(place, trust(place.url, verify)))
        self._wire = Wire(http, place, patience, max_answer)
        self.machines = Machines(self._wire)

    @property
    def url(self) -> str:
        """The service's URL."""
        return self._wire.place.url

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.http.close()

    # Events -------------------------------------------------------------------------------------

    def create_entity(
        self,
        entity_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        machine_name: str | None = None,
        event_id: str | None = None,
    ) -> TransitionResult:
        """Start an entity.

        Args:
            entity_id: The entity.
            context: Its first context.
            machine_name: Its machine; needed where the service has several.
            event_id: Makes it idempotent over calls: sent again, the first result is given again.

        Raises:
            EntityExistsError: There is one already.
        """
        return self._run(routes.create_entity(entity_id, context, machine_name, event_id))

    def process_event(
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
        """Process one event of one entity.

        Args:
            entity_id: The entity; a missing one is started first.
            trigger: The event's name.
            context: The event's data.
            event_id: Makes it idempotent over calls: sent again, the first result is given again.
            expected_version: The version that the event has to meet; 0: no entity yet.
            machine_name: The entity's machine; needed where the service has several and the entity
                is new.
            occurred_at: When it happened (aware); kept in history.
            with_context: Ask for the entity's context after it as well.

        Returns:
            The result. A rejection is a result too: ``success`` is False and ``error`` says why.
            Its ``context`` is None unless it was asked for.

        Raises:
            StaleVersionError: The entity has another version than the one that was expected.
            IdempotencyConflictError: The event id belongs to another event.
        """
        event = EventRequest(entity_id, trigger, context, event_id, occurred_at)
        return self._run(
            routes.process_event(event, machine_name, expected_version, with_context=with_context)
        )

    def process_events(
        self, items: Iterable[Item], *, machine_name: str | None = None
    ) -> list[TransitionResult]:
        """Process many events; those of one entity in order, and together where they can be.

        Args:
            items: ``(entity_id, trigger)``, ``(entity_id, trigger, context)`` or `EventRequest`.
            machine_name: The machine of all of them, see `process_event`.

        Returns:
            The results, in the order of the items. An item that could not be decided or written has
            a result as well, with ``success`` False and its error.
        """
        results: list[TransitionResult] = []
        for portion in portions(map(request_of, items), machine_name):
            part: list[TransitionResult] = self._run(portion)
            results += part
        return results

    def apply_data(
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
        """Merge data into an entity's context, then take the transitions whose ``when`` holds.

        It is an event without a trigger, see `process_event`.
        """
        return self._run(
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

    def dry_run(
        self,
        entity_id: str,
        trigger: str,
        context: Mapping[str, Any] | None = None,
        *,
        machine_name: str | None = None,
    ) -> TransitionResult:
        """Say what an event would do; nothing is changed and no action runs."""
        return self._run(routes.dry_run(entity_id, trigger, context, machine_name))

    def process(
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
        """Say what an event would do, without an entity; nothing is stored and no action runs.

        Args:
            trigger: The event; None only begins an entity.
            context: The entity's data.
            machine: A configuration that is sent along; otherwise ``machine_name`` says which.
            machine_name: A machine of the service; needed where it has several.
            version: A version of it; None takes the newest.
            state: The entity's state; None begins one.
            payload: The event's own data.
            now: The time of the step (aware); None takes the service's clock.
        """
        named, data = (machine_name, version), (context, payload)
        return self._run(routes.process(trigger, machine, named, state, data, now))

    # By hand ------------------------------------------------------------------------------------

    def force_state(
        self,
        entity_id: str,
        state: str,
        *,
        reason: str,
        machine_name: str | None = None,
        expected_version: int | None = None,
    ) -> TransitionResult:
        """Put an entity into a state by hand; history says that your key did it, and why.

        It is not sent again when nobody knows whether it was done; the error says so.
        """
        facts = {"state": state, "reason": reason, "machine_name": machine_name}
        return self._run(routes.by_hand(entity_id, "/force-state", facts, expected_version))

    def archive(
        self,
        entity_id: str,
        *,
        reason: str,
        machine_name: str | None = None,
        expected_version: int | None = None,
    ) -> TransitionResult:
        """Take an entity out of service: it keeps its history and takes no events."""
        facts = {"reason": reason, "machine_name": machine_name}
        return self._run(routes.by_hand(entity_id, "/archive", facts, expected_version))

    def unarchive(
        self,
        entity_id: str,
        *,
        reason: str,
        machine_name: str | None = None,
        expected_version: int | None = None,
    ) -> TransitionResult:
        """Take an entity back from the archive."""
        facts = {"reason": reason, "machine_name": machine_name}
        return self._run(routes.by_hand(entity_id, "/unarchive", facts, expected_version))

    # Reads --------------------------------------------------------------------------------------

    def get_entity(self, entity_id: str, *, machine_name: str | None = None) -> Entity | None:
        """The entity as stored; None when there is none."""
        return self._run(routes.get_entity(entity_id, machine_name))

    def entities(
        self,
        *,
        state: str | None = None,
        machine_name: str | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Entity]:
        """One page of entities, in the order of their ids.

        Args:
            state: Only those in this state: an active one, or a whole configuration.
            machine_name: Only those of this machine.
            in_state_longer_than: Only those that came into their state longer ago than this.
            archived: Those that were archived, instead of those that were not.
            after: The ``next`` of an earlier page.
            limit: At most so many; a service may give fewer, and ``next`` to go on.
        """
        return self._run(
            routes.entities(
                state, machine_name, in_state_longer_than, after, limit, archived=archived
            )
        )

    def count_by_state(
        self, *, machine_name: str | None = None, archived: bool = False
    ) -> dict[str, int]:
        """How many entities are in each configuration."""
        return self._run(routes.counts(machine_name, archived=archived))

    def history(
        self,
        entity_id: str,
        *,
        machine_name: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page[HistoryEntry]:
        """One page of everything that happened to an entity."""
        return self._run(
            routes.history(entity_id, machine_name, after, limit, newest_first=newest_first)
        )

    def event(
        self, entity_id: str, event_id: str, *, machine_name: str | None = None
    ) -> HistoryEntry | None:
        """The history row of the event that was sent with this id; None when there is none."""
        return self._run(routes.event(entity_id, event_id, machine_name))

    # The feed -----------------------------------------------------------------------------------

    def transitions(
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
        """One page of the rows of all entities; come back with ``next`` as often as you like.

        Args:
            after: The ``next`` of an earlier page; None begins at the beginning, ``"now"`` at the
                end.
            limit: At most so many; a page without items need not be the end.
            machine_name: Only rows of this machine's entities.
            entity_id: Only rows of this entity.
            trigger: Only rows of this event or timer.
            state: Only rows that led into this state.
            success: Only what was applied, or only what was rejected.
        """
        filters = wanted(machine_name, entity_id, trigger, state, success)
        return self._run(routes.transitions(after, limit, filters))

    def stream(
        self,
        *,
        after: str | None = None,
        machine_name: str | None = None,
        entity_id: str | None = None,
        trigger: str | None = None,
        state: str | None = None,
        success: bool | None = None,
    ) -> "Stream":
        """Follow the rows of all entities as they come, each once, over any number of connections.

        Args:
            after: Behind which cursor to begin, such as an earlier stream's; None begins now.
            machine_name: Only rows of this machine's entities.
            entity_id: Only rows of this entity.
            trigger: Only rows of this event or timer.
            state: Only rows that led into this state.
            success: Only what was applied, or only what was rejected.
        """
        filters = wanted(machine_name, entity_id, trigger, state, success)
        cursor = after or self.transitions(after="now", limit=1).next or ""
        wire = self._wire
        following = Following(cursor, filters, wire.patience, self.url, wire.most)
        return Stream(wire, following)

    def _run(self, call: Call[T]) -> T:
        return self._wire.run(call)


class Stream:
    """Rows of all entities as they come: iterate over it, and close it in the end."""

    def __init__(self, wire: Wire, following: Following) -> None:
        self._wire = wire
        self._following = following
        self._rows = self._follow()

    @property
    def cursor(self) -> str:
        """Behind the row that was given last: ``stream(after=cursor)`` goes on there."""
        return self._following.cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[HistoryEntry]:
        return self._rows

    def close(self) -> None:
        """Close the connection, in the thread that reads."""
        self._rows.close()

    def _follow(self) -> Generator[HistoryEntry]:
        while True:
            try:
                wait = yield from self._connection()
            except (httpx.TransportError, TimeoutError, TooLongError) as error:
                wait = self._following.lost(lost(error), time.monotonic())
            time.sleep(wait)

    def _connection(self) -> Generator[HistoryEntry, None, float]:
        """The rows of one connection; seconds to wait before the next one."""
        following = self._following
        response = self._wire.open(following.call(), SILENCE)
        try:
            if response.status_code != 200:
                return following.refused(self._wire.read(response, SILENCE), time.monotonic())
            for part in response.iter_raw():
                yield from following.take(part)
        finally:
            response.close()
        return following.lost(ENDED, time.monotonic())

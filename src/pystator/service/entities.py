"""Entities of all machines that are served: events, data, reads, and what is done by hand."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from pystator.engine.result import TransitionResult
from pystator.errors import EntityNotFoundError, FSMError
from pystator.records import EventRequest, Lookup, record
from pystator.service.answers import Answer, answer_of
from pystator.service.machines import Machines, Served
from pystator.service.owners import Owners, Sight
from pystator.service.pages import bounded, weight_of_entity, weight_of_row
from pystator.stores.keys import check_entity_id

if TYPE_CHECKING:
    from pystator.records import Entity, HistoryEntry, Page
    from pystator.stores.prunable import CompleteStore

__all__ = ["ANY_VERSION", "EntityService", "Item", "Observer", "Order", "Verdict", "Versions"]

Versions = tuple[int, ...] | None
"""The versions that an entity may have for an event to be taken; None: every one, and none."""

ANY_VERSION: Final[Versions] = ()
"""There has to be an entity."""

_AT_ONCE: Final = 100
"""Entities of a bulk call whose machines are looked up together."""


Observer = Callable[[str, TransitionResult | FSMError, float], None]
"""``(machine's name, result or error, seconds)``."""


@record
class Order:
    """What somebody wants to be done to an entity.

    Attributes:
        machine_name: Its machine, where the caller says it.
        sight: The machines that the caller may see.
        actor: Who it is; kept in history.
        event_id: Makes it idempotent.
        versions: Of which the entity has to have one.
        occurred_at: When it happened.
        trace: The W3C ``traceparent`` it was sent with.
        with_context: The answer is to tell the entity's context.
    """

    entity_id: str
    machine_name: str | None
    sight: Sight
    actor: str
    event_id: str | None = None
    versions: Versions = None
    occurred_at: datetime | None = None
    trace: str | None = None
    with_context: bool = False


@record
class Item:
    """One event of a bulk call, and its machine where that is said."""

    request: EventRequest
    machine_name: str | None


@record
class Verdict:
    """Whether an event would be taken now, without data; and if not, why."""

    trigger: str
    allowed: bool
    reason: str | None
    message: str | None


class EntityService:
    """What callers do with entities.

    Args:
        store: Where they are.
        machines: The machines that are served.
        observe: Is told of every event and all data, with the machine's name, what became of it,
            and the seconds that it took.
    """

    def __init__(
        self, store: "CompleteStore", machines: Machines, observe: Observer | None = None
    ) -> None:
        self._store = store
        self._observe = observe
        self.owners = Owners(store, machines)

    async def ping(self) -> None:
        """Ask the store something small.

        Raises:
            StoreUnavailableError: It does not answer.
        """
        await self._store.aload([Lookup("ready?", "")])

    # Events -------------------------------------------------------------------------------------

    async def event(self, order: Order, trigger: str, context: Mapping[str, Any] | None) -> Answer:
        """Send an event.

        Raises:
            FSMError: It could not be decided or written. A rejection is an answer.
        """
        served = await self._served(order)
        expected = await self._expected(order, served)
        work = served.orchestrator.async_process_event(
            order.entity_id,
            trigger,
            context,
            event_id=order.event_id,
            actor=order.actor,
            occurred_at=order.occurred_at,
            expected_version=expected,
            trace=order.trace,
        )
        return await self._done(order, served, work)

    async def create(self, order: Order, context: Mapping[str, Any] | None) -> Answer:
        """Start an entity.

        Raises:
            EntityExistsError: There is one.
        """
        served = await self._served(order)
        work = served.orchestrator.async_create_entity(
            order.entity_id,
            context,
            event_id=order.event_id,
            actor=order.actor,
            trace=order.trace,
        )
        return await self._done(order, served, work)

    async def apply_data(self, order: Order, data: Mapping[str, Any]) -> Answer:
        """Merge data into an entity's context.

        Raises:
            FSMError: As `event`.
        """
        served = await self._served(order)
        expected = await self._expected(order, served)
        work = served.orchestrator.async_apply_data(
            order.entity_id,
            data,
            event_id=order.event_id,
            actor=order.actor,
            occurred_at=order.occurred_at,
            expected_version=expected,
            trace=order.trace,
        )
        return await self._done(order, served, work)

    async def dry_run(
        self, order: Order, trigger: str, context: Mapping[str, Any] | None
    ) -> Answer:
        """Say what an event would do, and do nothing.

        Raises:
            FSMError: It cannot be decided.
        """
        served = await self._served(order)
        result = await served.orchestrator.async_dry_run(order.entity_id, trigger, context)
        return await self._answer(order, served, result)

    async def force_state(self, order: Order, state: str, reason: str) -> Answer:
        """Put an entity into a state by hand; history says who did it and why.

        Raises:
            EntityNotFoundError: There is no such entity.
            UndefinedStateError: There is no such state.
        """
        served = await self._served_of(order)
        result = await served.orchestrator.async_force_state(
            order.entity_id,
            state,
            reason=reason,
            actor=order.actor,
            expected_version=await self._expected(order, served),
            trace=order.trace,
        )
        return await self._answer(order, served, result)

    async def archive(self, order: Order, reason: str, *, back: bool = False) -> Answer:
        """Put an entity away, or take it ``back``; history says who did it and why.

        Raises:
            EntityNotFoundError: There is no such entity.
        """
        served = await self._served_of(order)
        orchestrator = served.orchestrator
        archive = orchestrator.async_unarchive if back else orchestrator.async_archive
        result = await archive(
            order.entity_id,
            reason=reason,
            actor=order.actor,
            expected_version=await self._expected(order, served),
            trace=order.trace,
        )
        return await self._answer(order, served, result)

    async def events(self, items: Sequence[Item], sight: Sight) -> list[Answer | FSMError]:
        """Send many events, in as few batches as there are machines; the answers in their order.

        Those of one entity are decided in order, and written together where they can be. An event
        that cannot be decided does not touch the others.
        """
        answers: list[Answer | FSMError | None] = [None] * len(items)
        groups: dict[int, tuple[Served, list[int]]] = {}
        for begin in range(0, len(items), _AT_ONCE):
            part = items[begin : begin + _AT_ONCE]
            found = await asyncio.gather(*[self._whose(each, sight) for each in part])
            for place, served in enumerate(found, begin):
                if isinstance(served, FSMError):
                    answers[place] = served
                else:
                    groups.setdefault(id(served), (served, []))[1].append(place)
        for served, places in groups.values():
            requests = [items[place].request for place in places]
            began = perf_counter()
            try:
                results = await served.orchestrator.async_process_events(requests)
            except FSMError as error:  # the store is down: nothing of this group was done
                if len(groups) == 1:
                    raise
                for place in places:
                    answers[place] = error
                continue
            for place, result in zip(places, results, strict=True):
                self._tell(served, result, began)
                answers[place] = await self._one(items[place].request.entity_id, served, result)
        return [answer for answer in answers if answer is not None]

    async def _whose(self, item: Item, sight: Sight) -> Served | FSMError:
        try:
            entity_id = item.request.entity_id
            return await self.owners.machine_of(entity_id, item.machine_name, sight)
        except FSMError as error:
            return error

    async def _one(
        self, entity_id: str, served: Served, result: TransitionResult
    ) -> Answer | FSMError:
        try:
            return await answer_of(self._store, entity_id, served, result, waits=False)
        except FSMError as error:
            return error

    async def _done(
        self, order: Order, served: Served, work: Awaitable[TransitionResult]
    ) -> Answer:
        """What becomes of an event or of data; the observer hears of it."""
        began = perf_counter()
        try:
            result = await work
        except FSMError as error:
            self._tell(served, error, began)
            raise
        self._tell(served, result, began)
        return await self._answer(order, served, result)

    def _tell(self, served: Served, result: TransitionResult | FSMError, began: float) -> None:
        if self._observe is not None:
            self._observe(served.name, result, perf_counter() - began)

    # What they need -----------------------------------------------------------------------------

    async def _served(self, order: Order) -> Served:
        """The machine of an entity that may be new.

        Raises:
            InvalidValueError: No entity could have this id.
        """
        check_entity_id(order.entity_id)
        return await self.owners.machine_of(order.entity_id, order.machine_name, order.sight)

    async def _served_of(self, order: Order) -> Served:
        """The machine of an entity that has to be there.

        Raises:
            EntityNotFoundError: It is not.
            InvalidValueError: No entity could have this id.
        """
        check_entity_id(order.entity_id)
        name = order.machine_name or await self.owners.owner(order.entity_id, order.sight)
        if name is None:
            raise _nobody(order.entity_id, None)
        return await self.owners.served(name, order.sight)

    async def _expected(self, order: Order, served: Served) -> int | None:
        """The version that the event is to meet.

        Where none of several fits, one that does not: an event whose id is known is answered before
        that is looked at.
        """
        versions = order.versions
        if versions is None:
            return None
        if len(versions) == 1:
            return versions[0]
        entity = await served.orchestrator.async_get_entity(order.entity_id)
        version = 0 if entity is None else entity.version
        if not versions:
            return None if version else 1
        return version if version in versions else versions[0]

    async def _answer(self, order: Order, served: Served, result: TransitionResult) -> Answer:
        answer = await answer_of(self._store, order.entity_id, served, result)
        if not order.with_context:
            return answer
        context: Mapping[str, Any] | None = result.context
        if answer.replayed:
            entity = await served.orchestrator.async_get_entity(order.entity_id)
            context = None if entity is None else entity.context
        return Answer(answer.facts, answer.version, answer.error, answer.replayed, context)

    # Reads --------------------------------------------------------------------------------------

    async def get(self, entity_id: str, machine_name: str | None, sight: Sight) -> "Entity":
        """The entity as stored.

        Raises:
            EntityNotFoundError: There is none.
            AmbiguousEntityError: There are several of this id, and no machine is given.
        """
        name = await self._name(entity_id, machine_name, sight)
        (loaded,) = await self._store.aload([Lookup(entity_id, name)])
        if loaded.entity is None:
            raise _nobody(entity_id, machine_name)
        return loaded.entity

    async def _name(self, entity_id: str, machine_name: str | None, sight: Sight) -> str:
        """The machine of an entity that is to be read, also of one that is served no longer.

        Raises:
            EntityNotFoundError: There is none.
        """
        name = machine_name or await self.owners.owner(entity_id, sight)
        if name is None or (sight is not None and name not in sight):
            raise _nobody(entity_id, machine_name)
        return name

    async def triggers(self, entity: "Entity") -> list[str] | None:
        """The events that its machine declares for its state.

        None where the machine is not served, or does not have the state in this version.
        """
        try:
            served = await self.owners.served(entity.machine_name, None)
            return served.machine.get_available_triggers(entity.state)
        except FSMError:
            return None

    async def verdicts(self, entity: "Entity", triggers: Sequence[str]) -> list[Verdict]:
        """Ask the guards about each event, as it would be without data."""
        served = await self.owners.served(entity.machine_name, None)
        found: list[Verdict] = []
        for trigger in triggers:
            result = await served.orchestrator.async_dry_run(entity.entity_id, trigger)
            error = result.error
            reason = None if error is None else result.reason
            message = None if error is None else error.message
            found.append(Verdict(trigger, result.success, reason, message))
        return found

    async def history(
        self,
        entity_id: str,
        machine_name: str | None,
        sight: Sight,
        *,
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> "Page[HistoryEntry]":
        """A page of the entity's rows; a shorter one where they are large.

        Raises:
            EntityNotFoundError: Nothing is known of it.
        """
        name = await self._name(entity_id, machine_name, sight)
        await self._store.aflush()

        def read(after: str | None, limit: int) -> "Awaitable[Page[HistoryEntry]]":
            return self._store.ahistory(
                entity_id, machine_name=name, after=after, limit=limit, newest_first=newest_first
            )

        page = await bounded(read, after, limit, weight_of_row)
        if not page.items and after is None:
            await self.get(entity_id, name, sight)
        return page

    async def recorded(
        self, entity_id: str, event_id: str, machine_name: str | None, sight: Sight
    ) -> "HistoryEntry | None":
        """The row of the event that was sent with this id; None when there is none.

        Raises:
            EntityNotFoundError: Nothing is known of the entity.
        """
        name = await self._name(entity_id, machine_name, sight)
        (loaded,) = await self._store.aload([Lookup(entity_id, name, (event_id,))])
        return loaded.known.get(event_id)

    async def entities(
        self,
        machine_name: str | None,
        sight: Sight,
        *,
        state: str | None,
        in_state_longer_than: timedelta | None,
        archived: bool,
        after: str | None,
        limit: int,
    ) -> "Page[Entity]":
        """A page of entities; a shorter one where they are large."""

        def read(after: str | None, limit: int) -> "Awaitable[Page[Entity]]":
            return self._store.aentities(
                state=state,
                machine_name=machine_name,
                machine_names=_named(machine_name, sight),
                in_state_longer_than=in_state_longer_than,
                archived=archived,
                after=after,
                limit=limit,
            )

        return await bounded(read, after, limit, weight_of_entity)

    async def counts(
        self, machine_name: str | None, sight: Sight, *, archived: bool
    ) -> dict[str, int]:
        """How many entities there are in each state."""
        return await self._store.acount_by_state(
            machine_name=machine_name,
            machine_names=_named(machine_name, sight),
            archived=archived,
        )


def _named(machine_name: str | None, sight: Sight) -> Sequence[str] | None:
    """What limits a list, where no single machine does."""
    return None if machine_name is not None or sight is None else sorted(sight)


def _nobody(entity_id: str, machine_name: str | None) -> EntityNotFoundError:
    whose = "" if machine_name is None else f" of machine {machine_name!r}"
    return EntityNotFoundError(
        f"there is no entity {entity_id!r}{whose}", context={"entity_id": entity_id}
    )

"""The public methods of our stores, once, on top of the native protocol.

A store inherits `StoreFacade` and implements `NativeStore`; the three methods, compare-and-set,
the queries, context managers and all ``a``-twins come from here.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from pystator.errors import InvalidValueError
from pystator.records import Entity
from pystator.stores import programs
from pystator.stores.codec import LIMIT
from pystator.stores.keys import is_storable, names_asked
from pystator.stores.programs import Load, Machines, Pause, Program, Write
from pystator.stores.protocols import NativeStore

__all__ = ["StoreFacade"]

T = TypeVar("T")


class StoreFacade(NativeStore):
    """Public methods over ``load`` and ``commit``.

    ``machine_name=`` of a method means the entity of that machine; without it, the store's own
    ``machine_name`` does; without that, the only entity of this id. Several are an
    `AmbiguousEntityError`.

    Args:
        machine_name: The machine whose entities are meant when a method is given none.
        context_limit: Bytes an encoded context may have.
        clock: The wall clock, in microseconds since the epoch; the system's by default.
    """

    def __init__(
        self,
        *,
        machine_name: str | None = None,
        context_limit: int = LIMIT,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.machine_name = machine_name
        self.context_limit = context_limit
        self.now: Callable[[], int] = clock or programs.wall_clock

    @property
    def sync(self) -> bool:
        """The blocking face works."""
        return True

    @property
    def has_async(self) -> bool:
        """The async face works."""
        return True

    # Reads ----------------------------------------------------------------------------------------

    def get_state(self, entity_id: str, *, machine_name: str | None = None) -> str | None:
        """The entity's state; None when there is no such entity.

        Raises:
            AmbiguousEntityError: Several machines have an entity of this id.
        """
        entity = self._run(programs.read(self, entity_id, machine_name))
        return None if entity is None else entity.state

    def get_context(self, entity_id: str, *, machine_name: str | None = None) -> dict[str, Any]:
        """The entity's context, the caller's own; empty when there is no such entity.

        Raises:
            AmbiguousEntityError: Several machines have an entity of this id.
        """
        entity = self._run(programs.read(self, entity_id, machine_name))
        return {} if entity is None else entity.context

    def get_state_versioned(
        self, entity_id: str, *, machine_name: str | None = None
    ) -> tuple[str | None, int]:
        """State and version; ``(None, 0)`` when there is no such entity.

        Raises:
            AmbiguousEntityError: Several machines have an entity of this id.
        """
        entity = self._run(programs.read(self, entity_id, machine_name))
        return (None, 0) if entity is None else (entity.state, entity.version)

    def list_entities(
        self,
        state: str | None = None,
        limit: int = 100,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
    ) -> list[Entity]:
        """The first entities in the order of their ids; `entities` pages through all.

        Args:
            state: Only those in this state: an active leaf or a whole configuration.
            limit: At most so many.
            machine_name: Only those of this machine.
            machine_names: Only those of these machines, instead of ``machine_name``.
            in_state_longer_than: Only those that have been in their whole configuration for longer.
            archived: Those that were archived, instead of those that were not.

        Raises:
            InvalidValueError: ``in_state_longer_than`` is no duration.
        """
        return self.entities(
            state=state,
            machine_name=machine_name,
            machine_names=machine_names,
            in_state_longer_than=in_state_longer_than,
            archived=archived,
            limit=limit,
        ).items

    def _machine(self, machine_name: str | None) -> str | None:
        """The machine that a query means; None for every machine."""
        return self.machine_name if machine_name is None else machine_name

    def _names(
        self, machine_name: str | None, machine_names: Sequence[str] | None
    ) -> tuple[str, ...] | None:
        """The machines that a query means, each once and in order; None for every machine.

        Raises:
            InvalidValueError: Both are given.
        """
        if machine_names is None:
            name = self._machine(machine_name)
            if name is None:
                return None
            return (name,) if is_storable(name) else ()
        if machine_name is not None:
            raise InvalidValueError(
                "give machine_name= or machine_names=, not both",
                context={"machine_name": machine_name, "machine_names": list(machine_names)},
            )
        return names_asked(machine_names)

    # Writes ---------------------------------------------------------------------------------------

    def set_state(
        self,
        entity_id: str,
        state: str,
        *,
        metadata: dict[str, Any] | None = None,
        machine_name: str | None = None,
    ) -> None:
        """Place the entity in a state, making it if need be; one history row of kind ``set``.

        Args:
            entity_id: The entity.
            state: Its new state. Timers are cancelled: nothing was entered.
            metadata: ``context`` (whole: it replaces the stored one, absent leaves it),
                ``machine_name``, ``machine_version``, ``fingerprint``, ``trigger``,
                ``source_state``, ``event_id``, ``actor``.
            machine_name: Before the metadata's.

        Raises:
            InvalidValueError: Id, state or context cannot be stored.
            IdempotencyConflictError: The event id was used for something else.
            StoreUnavailableError: Others kept changing the entity for 10 seconds.
        """
        self._run(programs.set_state(self, entity_id, state, metadata, machine_name, None))

    def set_state_versioned(
        self,
        entity_id: str,
        state: str,
        *,
        expected_version: int,
        metadata: dict[str, Any] | None = None,
        machine_name: str | None = None,
    ) -> int:
        """`set_state` if the version still is ``expected_version`` (0: create); the new version.

        Raises:
            StaleVersionError: It is another one; nothing was written.
            InvalidValueError: Id, state or context cannot be stored, or this is no version.
        """
        version = programs.checked_version(expected_version)
        program = programs.set_state(self, entity_id, state, metadata, machine_name, version)
        return self._run(program)

    def set_context(
        self, entity_id: str, context: dict[str, Any], *, machine_name: str | None = None
    ) -> None:
        """Replace the context of an entity; one history row of kind ``set``.

        Raises:
            EntityNotFoundError: There is no such entity.
            InvalidValueError: The context cannot be stored.
        """
        self._run(programs.set_context(self, entity_id, context, machine_name))

    # Twins ----------------------------------------------------------------------------------------

    async def aget_state(self, entity_id: str, *, machine_name: str | None = None) -> str | None:
        """`get_state` for asyncio."""
        entity = await self._arun(programs.read(self, entity_id, machine_name))
        return None if entity is None else entity.state

    async def aget_context(
        self, entity_id: str, *, machine_name: str | None = None
    ) -> dict[str, Any]:
        """`get_context` for asyncio."""
        entity = await self._arun(programs.read(self, entity_id, machine_name))
        return {} if entity is None else entity.context

    async def aget_state_versioned(
        self, entity_id: str, *, machine_name: str | None = None
    ) -> tuple[str | None, int]:
        """`get_state_versioned` for asyncio."""
        entity = await self._arun(programs.read(self, entity_id, machine_name))
        return (None, 0) if entity is None else (entity.state, entity.version)

    async def alist_entities(
        self,
        state: str | None = None,
        limit: int = 100,
        *,
        machine_name: str | None = None,
        machine_names: Sequence[str] | None = None,
        in_state_longer_than: timedelta | None = None,
        archived: bool = False,
    ) -> list[Entity]:
        """`list_entities` for asyncio."""
        page = await self.aentities(
            state=state,
            machine_name=machine_name,
            machine_names=machine_names,
            in_state_longer_than=in_state_longer_than,
            archived=archived,
            limit=limit,
        )
        return page.items

    async def aset_state(
        self,
        entity_id: str,
        state: str,
        *,
        metadata: dict[str, Any] | None = None,
        machine_name: str | None = None,
    ) -> None:
        """`set_state` for asyncio."""
        await self._arun(programs.set_state(self, entity_id, state, metadata, machine_name, None))

    async def aset_state_versioned(
        self,
        entity_id: str,
        state: str,
        *,
        expected_version: int,
        metadata: dict[str, Any] | None = None,
        machine_name: str | None = None,
    ) -> int:
        """`set_state_versioned` for asyncio."""
        version = programs.checked_version(expected_version)
        program = programs.set_state(self, entity_id, state, metadata, machine_name, version)
        return await self._arun(program)

    async def aset_context(
        self, entity_id: str, context: dict[str, Any], *, machine_name: str | None = None
    ) -> None:
        """`set_context` for asyncio."""
        await self._arun(programs.set_context(self, entity_id, context, machine_name))

    async def aconnect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """`connect` for asyncio: in a thread, as it may wait for a disk or a network."""
        import asyncio  # blocking programs never pay for it

        await asyncio.to_thread(
            self.connect, auto_initialize=auto_initialize, validate_schema=validate_schema
        )
        return self

    async def adisconnect(self) -> None:
        """`disconnect` for asyncio: in a thread, as it waits for what is under way."""
        import asyncio

        await asyncio.to_thread(self.disconnect)

    # Context managers -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    async def __aenter__(self) -> Self:
        return await self.aconnect()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.adisconnect()

    # Drivers --------------------------------------------------------------------------------------

    def _run(self, program: Program[T]) -> T:
        answer: Any = None
        try:
            while True:
                request = program.send(answer)
                if isinstance(request, Load):
                    answer = self.load(request.lookups)
                elif isinstance(request, Write):
                    answer = self.commit(request.commits)
                elif isinstance(request, Machines):
                    answer = self.machines(request.entity_id)
                else:
                    time.sleep(request.seconds)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # a generator's value is its T

    async def _arun(self, program: Program[T]) -> T:
        answer: Any = None
        while True:
            try:
                request = program.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # as above
            if isinstance(request, Load):
                answer = await self.aload(request.lookups)
            elif isinstance(request, Write):
                answer = await self.acommit(request.commits)
            elif isinstance(request, Machines):
                answer = await self.amachines(request.entity_id)
            else:
                await _pause(request)


async def _pause(request: Pause) -> None:
    import asyncio  # blocking programs never pay for it

    await asyncio.sleep(request.seconds)

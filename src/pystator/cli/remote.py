"""A service as the backend of commands."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import typer

from pystator.cli.machines import find_definition, is_file
from pystator.cli.whose import no_entity, several
from pystator.client import Client
from pystator.client.reading import failed
from pystator.errors import (
    AmbiguousEntityError,
    ConfigurationError,
    ErrorCode,
    FSMError,
    MachineConflictError,
    MachineNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path
    from types import TracebackType

    from pystator.engine.machine import StateMachine
    from pystator.engine.result import TransitionResult
    from pystator.records import Entity, EventRequest, HistoryEntry, Page, StoredMachine

__all__ = ["RemoteBackend"]

T = TypeVar("T")

_ATTEMPTS: Final = 5
"""Attempts of a call: somebody waits at the terminal."""

_PAGE: Final = 500

_OF_AN_EVENT: Final = frozenset(
    {
        ErrorCode.ENTITY_MACHINE_MISMATCH,
        ErrorCode.EVALUATION_FAILED,
        ErrorCode.IDEMPOTENCY_CONFLICT,
        ErrorCode.INVALID_VALUE,
        ErrorCode.LIVELOCK,
        ErrorCode.MACHINE_VERSION_MISMATCH,
        ErrorCode.STALE_VERSION,
        ErrorCode.UNDEFINED_STATE,
    }
)
"""Errors of one event, which an orchestrator gives as its result among those of others."""


class RemoteBackend:
    """A service.

    Args:
        url: As given by ``--url``.
    """

    def __init__(self, url: str) -> None:
        self.client = Client(url, attempts=_ATTEMPTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self.client.close()

    @property
    def shown(self) -> str:
        """Its URL; it never holds a secret."""
        return self.client.url

    # Entities -----------------------------------------------------------------------------------

    def entity(self, entity_id: str, machine_name: str | None) -> "Entity":
        """The entity, see `Backend`."""
        try:
            found = self.client.get_entity(entity_id, machine_name=machine_name)
        except AmbiguousEntityError as error:
            raise several(entity_id, _texts(error.context.get("machines"))) from error
        if found is None:
            raise no_entity(entity_id, machine_name)
        return found

    def history(
        self,
        entity_id: str,
        machine_name: str,
        *,
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> "Page[HistoryEntry]":
        """One page of an entity's rows, of any size."""

        def read(after: str | None, limit: int) -> "Page[HistoryEntry]":
            return self.client.history(
                entity_id,
                machine_name=machine_name,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )

        return _whole(read, after, limit)

    def entities(
        self,
        *,
        state: str | None,
        machine_name: str | None,
        in_state_longer_than: "timedelta | None",
        archived: bool,
        after: str | None = None,
        limit: int,
    ) -> "Page[Entity]":
        """One page of entities, of any size."""

        def read(after: str | None, limit: int) -> "Page[Entity]":
            return self.client.entities(
                state=state,
                machine_name=machine_name,
                in_state_longer_than=in_state_longer_than,
                archived=archived,
                after=after,
                limit=limit,
            )

        return _whole(read, after, limit)

    def count_by_state(self, *, machine_name: str | None, archived: bool) -> dict[str, int]:
        """How many entities are in each state."""
        return self.client.count_by_state(machine_name=machine_name, archived=archived)

    # Machines -----------------------------------------------------------------------------------

    def machine(self, name: str) -> "StateMachine":
        """The machine of a file, or the one that the service keeps under this name."""
        from pystator.definition.load import load_config
        from pystator.engine.machine import StateMachine
        from pystator.stores.named import configuration

        if is_file(name):
            return StateMachine.from_definition(find_definition(name, None))
        return StateMachine.from_definition(load_config(configuration(self.stored_machine(name))))

    def machines(self) -> "Iterator[StoredMachine]":
        """All versions of all machines that are kept."""
        from pystator.stores.named import all_machines

        return all_machines(_Kept(self.client))

    def stored_machine(self, name: str) -> "StoredMachine":
        """The machine that is named, see `Backend`."""
        from pystator.stores.named import find_machine

        return find_machine(_Kept(self.client), name, self.shown)

    def save_machine(self, machine: "StoredMachine") -> bool:
        """Keep a version; whether it was not there."""
        from pystator.stores.definitions import is_same

        try:
            return self.client.machines.create(machine.definition)[1]
        except MachineConflictError as error:
            is_same(machine, str(error.context.get("stored", machine.fingerprint)))
            raise

    def delete_machine(self, name: str, version: str | None) -> int:
        """Delete all versions, or one; how many there were."""
        versions = [each.version for each in self.machines() if each.name == name]
        try:
            self.client.machines.delete(name, version)
            return versions.count(version) if version else len(versions)
        except MachineNotFoundError:
            return 0
        except MachineConflictError as error:
            raise ConfigurationError(error.message, context=error.context) from error

    # Events -------------------------------------------------------------------------------------

    def sender(
        self, machine: str | None, code: "Path | None", *, entity: str | None, json: bool
    ) -> "RemoteSender":
        """What sends events; the service has machine and code.

        Raises:
            BadParameter: There is code, which stays here.
            ConfigurationError: The machine is another one than the service runs.
        """
        del entity, json
        if code is not None:
            raise typer.BadParameter(
                f"--code goes with a store: the service at {self.shown} runs its own code, which"
                " comes with `pystator api --app`"
            )
        return RemoteSender(self, None if machine is None else self._running(machine))

    def _running(self, machine: str) -> str:
        """The name of the machine that is meant, if it is what the service runs."""
        if is_file(machine):
            wanted = find_definition(machine, None)
            name, fingerprint = wanted.name, wanted.fingerprint
        else:
            name, _, version = machine.partition("@")
            if not version:
                return name
            fingerprint = self.stored_machine(machine).fingerprint
        newest = _Kept(self.client).stored_machine(name)
        if newest is not None and newest.fingerprint == fingerprint:
            return name
        there = "has no machine of its name" if newest is None else f"runs {name} {newest.version}"
        raise ConfigurationError(
            f"{machine} is not what the service runs: {self.shown} {there}; store it there with"
            f" `pystator machines create FILE --url {self.shown}`, or go by --machine NAME",
            context={"machine": machine},
        )


class RemoteSender:
    """Sends events to the service.

    Args:
        backend: The service.
        machine: The name of the machine; None leaves it to the service.
    """

    def __init__(self, backend: RemoteBackend, machine: str | None) -> None:
        self._backend = backend
        self._machine = machine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        """The backend closes its connections."""

    @property
    def machine_name(self) -> str:
        """Whose entities these are."""
        return self._machine or ""

    def process_events(self, items: "Sequence[EventRequest]") -> "list[TransitionResult]":
        """The results, in the order of the events."""
        for item in items:
            _check(item.actor, item.now)
        with self._named():
            if len(items) == 1:
                return [self._process_event(items[0])]
            results = self._backend.client.process_events(items, machine_name=self._machine)
            for result in results:
                if isinstance(result.error, MachineNotFoundError):
                    raise result.error
            return results

    def _process_event(self, item: "EventRequest") -> "TransitionResult":
        """One event, with the context after it."""
        try:
            return self._backend.client.process_event(
                item.entity_id,
                item.trigger,
                item.context,
                event_id=item.event_id,
                expected_version=item.expected_version,
                machine_name=self._machine,
                occurred_at=item.occurred_at,
                with_context=True,
            )
        except FSMError as error:
            if error.code not in _OF_AN_EVENT:
                raise
            return failed(item.trigger, error)

    def apply_data(
        self,
        entity_id: str,
        data: "Mapping[str, Any]",
        *,
        event_id: str | None,
        actor: str | None,
        occurred_at: "datetime | None",
        expected_version: int | None,
    ) -> "TransitionResult":
        """Merge data into an entity's context."""
        _check(actor, None)
        with self._named():
            return self._backend.client.apply_data(
                entity_id,
                data,
                event_id=event_id,
                expected_version=expected_version,
                machine_name=self._machine,
                occurred_at=occurred_at,
                with_context=True,
            )

    def finish(self) -> None:
        """The service answers when everything is written."""

    @contextmanager
    def _named(self) -> "Generator[None]":
        """Within it, that nobody knows which machine is meant is told in the words of commands."""
        try:
            yield
        except AmbiguousEntityError as error:
            entity_id = str(error.context.get("entity_id"))
            raise several(entity_id, _texts(error.context.get("machines"))) from error
        except MachineNotFoundError as error:
            if self._machine is not None:
                self._backend.stored_machine(self._machine)
            names = _texts(error.context.get("machines"))
            if self._machine is not None or not names:
                raise
            raise ConfigurationError(
                f"there is no entity {error.context.get('entity_id')!r} yet: give its machine with"
                f" --machine NAME; the service has {', '.join(names)}",
                context=error.context,
            ) from error


class _Kept:
    """The machines of a service, as `pystator.stores.named` reads those of a store."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def stored_machine(self, name: str, version: str | None = None) -> "StoredMachine | None":
        """The newest version, or the one that is named; None when there is none."""
        try:
            return self._client.machines.get(name, version)
        except MachineNotFoundError:
            return None

    def stored_machines(
        self, *, after: str | None = None, limit: int = _PAGE
    ) -> "Page[StoredMachine]":
        """One page of all versions."""
        return self._client.machines.list(after=after, limit=limit)


def _check(actor: str | None, now: "datetime | None") -> None:
    """What only a store can be told is not left out silently."""
    if actor is not None:
        raise ConfigurationError(
            "an actor goes with a store: a service keeps the name of your key; leave --actor, and"
            " the actor of events, out"
        )
    if now is not None:
        raise ConfigurationError(
            "--event-time goes with a store: a service decides with its own clock and keeps `at` as"
            " the time it happened; leave it out"
        )


def _whole(
    read: "Callable[[str | None, int], Page[T]]", after: str | None, limit: int
) -> "Page[T]":
    """One page of the size that is asked for, from those that a service gives."""
    from pystator.records import Page

    items: list[T] = []
    while True:
        page = read(after, min(_PAGE, limit - len(items)))
        items += page.items
        after = page.next
        if after is None or len(items) >= limit:
            return Page(items, after)


def _texts(found: object) -> list[str]:
    return [str(each) for each in cast("list[object]", found)] if isinstance(found, list) else []

"""Where a command's entities and machines are: in a store, or behind a service.

::

    command -> Backend  <- LocalBackend  -> Orchestrator -> store
                        <- RemoteBackend -> Client -> service

A command asks a `Backend` and renders its answers; which of the two it is, it cannot tell.
"""

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, Self

import typer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from pystator.engine.machine import StateMachine
    from pystator.engine.result import TransitionResult
    from pystator.records import Entity, EventRequest, HistoryEntry, Page, StoredMachine

__all__ = ["Backend", "Sender", "open_backend"]

_URL: Final = "PYSTATOR_API_URL"


class Sender(Protocol):
    """Brings events to the entities of a machine; entered before it is used.

    Attributes:
        machine_name: Whose entities these are.
    """

    @property
    def machine_name(self) -> str:
        """Whose entities these are."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None: ...

    def process_events(self, items: "Sequence[EventRequest]") -> "list[TransitionResult]":
        """The results, in the order of the events."""
        ...

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
        ...

    def finish(self) -> None:
        """Wait until everything is written."""
        ...


class Backend(Protocol):
    """What commands ask for.

    Attributes:
        shown: Its URL, as it may be shown.
    """

    @property
    def shown(self) -> str:
        """Its URL, as it may be shown."""
        ...

    def entity(self, entity_id: str, machine_name: str | None) -> "Entity":
        """The entity.

        Raises:
            EntityNotFoundError: There is none.
            AmbiguousEntityError: There are several of this id, and no machine is given.
        """
        ...

    def history(
        self,
        entity_id: str,
        machine_name: str,
        *,
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> "Page[HistoryEntry]":
        """One page of an entity's rows."""
        ...

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
        """One page of entities, in the order of their ids."""
        ...

    def count_by_state(self, *, machine_name: str | None, archived: bool) -> dict[str, int]:
        """How many entities are in each state."""
        ...

    def machine(self, name: str) -> "StateMachine":
        """The machine of a file, or the one that is kept under this name."""
        ...

    def machines(self) -> "Iterable[StoredMachine]":
        """All versions of all machines that are kept."""
        ...

    def stored_machine(self, name: str) -> "StoredMachine":
        """The newest version of this name, or the one that is named: ``order@1.0``."""
        ...

    def save_machine(self, machine: "StoredMachine") -> bool:
        """Keep a version; whether it was not there."""
        ...

    def delete_machine(self, name: str, version: str | None) -> int:
        """Delete all versions, or one; how many there were."""
        ...

    def sender(
        self, machine: str | None, code: "Path | None", *, entity: str | None, json: bool
    ) -> Sender:
        """What brings events to this machine; without one, to the machine that the entity has."""
        ...


@contextmanager
def open_backend(store: str | None, service: str | None) -> "Generator[Backend]":
    """The backend that is meant: ``--url``, else ``--store``, else ``PYSTATOR_API_URL``, else ours.

    Args:
        store: What ``--store`` says.
        service: What ``--url`` says.
    """
    if store is not None and service is not None:
        raise typer.BadParameter("--store and --url are two places: give one of them")
    url = service
    if url is None and store is None:
        url = os.environ.get(_URL) or None
    if url is not None:
        from pystator.cli.remote import RemoteBackend  # httpx comes with it

        with RemoteBackend(url) as remote:
            yield remote
        return
    from pystator.cli.local import LocalBackend

    with LocalBackend(store) as local:
        yield local

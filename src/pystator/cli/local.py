"""A store as the backend of commands."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from pystator.cli.code import load_code
from pystator.cli.machines import find_machine, open_store, shown_url, stored_machines
from pystator.cli.whose import machine_of, the_entity
from pystator.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path
    from types import TracebackType

    from pystator.engine.machine import StateMachine
    from pystator.engine.result import TransitionResult
    from pystator.orchestrator import Orchestrator
    from pystator.records import Entity, EventRequest, HistoryEntry, Page, StoredMachine
    from pystator.stores.protocols import NativeStore
    from pystator.stores.prunable import CompleteStore

__all__ = ["LocalBackend", "stored_for"]


def stored_for(store: "NativeStore", entity: str, url: str | None) -> "StateMachine":
    """The stored machine of an entity that exists."""
    name = machine_of(store, entity)
    if name is None:
        raise ConfigurationError(
            f"there is no entity {entity!r} yet: give its machine with --machine FILE"
        )
    return find_machine(name, url)


class LocalBackend:
    """A store; it is opened when it is asked for something first.

    Args:
        url: As given by ``--store``; None is resolved from environment, configuration file and
            folder.
    """

    def __init__(self, url: str | None) -> None:
        self.url = url
        self._opened = ExitStack()
        self._store: CompleteStore | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self._opened.close()

    def open(self, *, create: bool = False) -> "CompleteStore":
        """The connected store; made, if there is none and the command writes."""
        if self._store is None:
            self._store = self._opened.enter_context(open_store(self.url, create=create))
        return self._store

    @property
    def shown(self) -> str:
        """Its URL, as it may be shown."""
        return shown_url(self.url)

    # Entities -----------------------------------------------------------------------------------

    def entity(self, entity_id: str, machine_name: str | None) -> "Entity":
        """The entity, see `Backend`."""
        return the_entity(self.open(), entity_id, machine_name)

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
        return self.open().history(
            entity_id,
            machine_name=machine_name,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )

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
        """One page of entities."""
        return self.open().entities(
            state=state,
            machine_name=machine_name,
            in_state_longer_than=in_state_longer_than,
            archived=archived,
            after=after,
            limit=limit,
        )

    def count_by_state(self, *, machine_name: str | None, archived: bool) -> dict[str, int]:
        """How many entities are in each state."""
        return self.open().count_by_state(machine_name=machine_name, archived=archived)

    # Machines -----------------------------------------------------------------------------------

    def machine(self, name: str) -> "StateMachine":
        """The machine of a file, or the one that is kept under this name."""
        return find_machine(name, self.url)

    def machines(self) -> "list[StoredMachine]":
        """All versions of all machines that are kept."""
        from pystator.stores.named import all_machines  # when it is used, here and below

        with stored_machines(self.url) as store:
            return list(all_machines(store))

    def stored_machine(self, name: str) -> "StoredMachine":
        """The machine that is named, see `Backend`."""
        from pystator.stores.named import find_machine as find_stored

        with stored_machines(self.url) as store:
            return find_stored(store, name, self.shown)

    def save_machine(self, machine: "StoredMachine") -> bool:
        """Keep a version; whether it was not there."""
        return self.open(create=True).save_machine(machine)

    def delete_machine(self, name: str, version: str | None) -> int:
        """Delete all versions, or one; how many there were."""
        with stored_machines(self.url) as store:
            return store.delete_machine(name, version)

    # Events -------------------------------------------------------------------------------------

    def sender(
        self, machine: str | None, code: "Path | None", *, entity: str | None, json: bool
    ) -> "LocalSender":
        """An orchestrator with the machine and the code."""
        guards, actions = load_code(code, json=json)
        chosen = None if machine is None else self.machine(machine)
        return LocalSender(self, chosen, entity, guards, actions)


class LocalSender:
    """An orchestrator; the store is opened when it is entered, after all options are right."""

    def __init__(
        self,
        backend: LocalBackend,
        machine: "StateMachine | None",
        entity: str | None,
        guards: Any,
        actions: Any,
    ) -> None:
        self._backend = backend
        self._machine = machine
        self._entity = entity
        self._code = (guards, actions)
        self._made: Orchestrator | None = None

    def __enter__(self) -> Self:
        from pystator.orchestrator import Orchestrator  # after the options are right

        store = self._backend.open(create=self._machine is not None)
        machine = self._machine or stored_for(store, self._entity or "", self._backend.url)
        self._made = Orchestrator(machine, store, *self._code)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        """The backend closes the store."""

    @property
    def _orchestrator(self) -> "Orchestrator":
        if self._made is None:
            raise RuntimeError("a sender is entered before it is used")
        return self._made

    @property
    def machine_name(self) -> str:
        """Whose entities these are."""
        return self._orchestrator.machine.name

    def process_events(self, items: "Sequence[EventRequest]") -> "list[TransitionResult]":
        """The results, in the order of the events."""
        return self._orchestrator.process_events(items)

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
        return self._orchestrator.apply_data(
            entity_id,
            data,
            event_id=event_id,
            actor=actor,
            occurred_at=occurred_at,
            expected_version=expected_version,
        )

    def finish(self) -> None:
        """Wait until the outcomes of actions are written."""
        self._orchestrator.close()

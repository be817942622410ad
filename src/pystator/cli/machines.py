"""Where a command gets its machine and its store from."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from pystator.definition.model import Definition
    from pystator.engine.machine import StateMachine
    from pystator.stores.protocols import MachineStore
    from pystator.stores.prunable import CompleteStore

__all__ = [
    "find_definition",
    "find_machine",
    "has_tables",
    "is_file",
    "machine_name",
    "open_store",
    "shown_url",
    "stored_machines",
]

_SQL = {"sqlite", "postgresql", "postgres"}
SUFFIXES = {".yaml", ".yml", ".json"}


def is_file(name: str) -> bool:
    """The option names a file, not a stored machine."""
    path = Path(name)
    return path.suffix.lower() in SUFFIXES or "/" in name or path.is_file()


def find_definition(name: str, url: str | None) -> "Definition":
    """The machine of a file, or the newest one stored under this name (``name@1.0``: that version).

    Raises:
        ConfigurationError: The file has mistakes (all are listed), or nothing like it is stored.
    """
    from pystator.definition.load import (
        load_config,
        load_file,
    )  # the format's validator comes with it

    if is_file(name):
        return load_file(name)
    from pystator.stores.named import configuration
    from pystator.stores.named import find_machine as find_stored

    with stored_machines(url) as store:
        return load_config(configuration(find_stored(store, name, shown_url(url))))


def find_machine(name: str, url: str | None) -> "StateMachine":
    """`find_definition`, compiled."""
    from pystator.engine.machine import StateMachine  # only a command that runs

    return StateMachine.from_definition(find_definition(name, url))


def machine_name(machine: str | None) -> str | None:
    """The name under which a machine's entities are kept: a file says it, anything else is one."""
    if machine is None or not is_file(machine):
        return machine
    return find_definition(machine, None).name


@contextmanager
def open_store(url: str | None, *, create: bool) -> "Generator[CompleteStore]":
    """The connected store; closed in the end.

    Args:
        url: As given by ``--store``; None is resolved from environment, configuration file and
            folder.
        create: Make the database if there is none. A command that only reads does not.
    """
    from pystator.db.resolve import find_store  # only a command that runs
    from pystator.stores.registry import create_state_store

    store = create_state_store(find_store(url).url)
    store.connect(auto_initialize=create)
    try:
        yield store
    finally:
        store.disconnect()


@contextmanager
def stored_machines(url: str | None) -> "Generator[MachineStore]":
    """Where machines are kept; where there is no such file, none are."""
    from pystator.db.resolve import find_store, parse_sqlite, scheme_of

    found = find_store(url).url
    if scheme_of(found).partition("+")[0] == "sqlite":
        path = parse_sqlite(found).path
        if path is None or not path.exists():
            from pystator.stores.memory import InMemoryStateStore

            yield InMemoryStateStore()
            return
    with open_store(found, create=False) as store:
        yield store


def has_tables(url: str) -> bool:
    """The URL names a SQL database."""
    from pystator.db.resolve import scheme_of

    return scheme_of(url).partition("+")[0] in _SQL


def shown_url(url: str | None) -> str:
    """The URL of the store that a command uses, as it may be shown."""
    from pystator.db.databases import shown_url as shown_database
    from pystator.db.resolve import find_store, redact, scheme_of

    found = find_store(url).url
    if scheme_of(found) == "replicated":
        from pystator.stores.replicated.location import parse_replicated

        hot, durable = map(shown_url, parse_replicated(found))
        return f"replicated://?hot={hot}&durable={durable}"
    return shown_database(found) if has_tables(found) else redact(found)

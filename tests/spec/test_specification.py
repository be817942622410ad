"""The specification's own snippets, cut out of it and run as they stand.

Nothing is retyped here: a snippet is the text between its first and its last line in the specification.
"""

from pathlib import Path

import pytest

from pystator import (
    AsyncStateStore,
    ConfigurationError,
    InMemoryStateStore,
    Orchestrator,
    StateStore,
)
from pystator.errors import SchemaError
from spec.snippets import cut, run, shell


def test_the_memory_store_runs(specification: str, namespace: dict[str, object]) -> None:
    run(cut(specification, "from pystator import InMemoryStateStore, Orchestrator", ")"), namespace)
    orchestrator = namespace["orchestrator"]
    assert isinstance(orchestrator, Orchestrator)
    assert isinstance(namespace["store"], InMemoryStateStore)
    assert orchestrator.process_event("order-123", "fill", context={"fill_qty": 1}).success


def test_the_sqlite_store_runs_and_its_default_is_a_file_in_the_folder(
    specification: str, namespace: dict[str, object], tmp_path: Path
) -> None:
    first = "from pystator import SQLiteStateStore, Orchestrator"
    snippet = cut(specification, first, "store = SQLiteStateStore()")
    snippet += "\nstore.connect()"
    assert snippet in specification
    run(snippet, namespace)
    assert (tmp_path / "pystator.db").is_file()
    assert namespace["store"].get_state("order-123") is None


def test_the_database_commands_run(
    specification: str, manual_postgres: str, tmp_path: Path, namespace: dict[str, object]
) -> None:
    """As they stand, one below the other: SQLite, PostgreSQL, migrations, examples."""
    snippet = cut(specification, "# Initialize with SQLite (default)", "pystator db seed")
    commands = [line for line in snippet.splitlines() if line.startswith("pystator")]
    assert len(commands) == 4
    said = shell(snippet)
    assert "postgresql://***@localhost/pystator is initialised" in said
    assert (tmp_path / "pystator.db").is_file()


def test_the_postgresql_store_runs(
    specification: str, manual_postgres: str, namespace: dict[str, object]
) -> None:
    """A role with a password, a database that is there, no port: as the page has it."""
    first = "from pystator import PostgresStateStore, Orchestrator"
    run(cut(specification, first, "store.connect(auto_initialize=True)"), namespace)
    orchestrator = namespace["Orchestrator"](
        machine=namespace["machine"],
        state_store=namespace["store"],
        guards=namespace["guards"],
        actions=namespace["actions"],
    )
    assert orchestrator.process_event("order-123", "fill", context={"fill_qty": 1}).success
    assert namespace["store"].get_state("order-123") == "filled"


def test_the_postgresql_store_that_makes_nothing_names_the_command(
    specification: str, manual_postgres: str, namespace: dict[str, object]
) -> None:
    """Refused before, and after the specification's own command it connects."""
    last = "store.connect(validate_schema=True, auto_initialize=False)"
    lines = specification.splitlines()
    snippet = "\n".join(lines[lines.index(last) - 1 : lines.index(last) + 1])
    run("from pystator import PostgresStateStore", namespace)
    with pytest.raises(SchemaError, match="run `pystator db init postgresql://"):
        run(snippet, namespace)
    command = "pystator db init postgresql://user:pass@localhost/pystator"
    assert command in lines
    assert "nothing ->" in shell(command)
    run(snippet, namespace)
    assert namespace["store"].get_state("order-123") is None


def test_the_postgresql_store_requires_a_connection_string(
    specification: str, namespace: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "PostgreSQL-backed store for production deployments. Connection string is required." in (
        specification
    )
    monkeypatch.setenv("HOME", str(Path.cwd()))
    with pytest.raises(ConfigurationError, match=r'PostgresStateStore\("postgresql://'):
        run("from pystator import PostgresStateStore\nstore = PostgresStateStore()", namespace)


def test_custom_stores_satisfy_their_protocols(
    specification: str, namespace: dict[str, object]
) -> None:
    run(cut(specification, "from pystator import StateStore", "        return {}"), namespace)
    run(cut(specification, "from pystator import AsyncStateStore", "        return {}"), namespace)
    assert isinstance(namespace["MyCustomStateStore"](), StateStore)
    assert isinstance(namespace["MyAsyncStateStore"](), AsyncStateStore)


def test_a_custom_store_runs_an_orchestrator(
    specification: str, namespace: dict[str, object]
) -> None:
    """The snippet's bodies are empty, so the entity is always new; what counts is that it is called."""
    run(cut(specification, "from pystator import StateStore", "        return {}"), namespace)
    orchestrator = Orchestrator(
        machine=namespace["machine"],
        state_store=namespace["MyCustomStateStore"](),
        guards=namespace["guards"],
        actions=namespace["actions"],
    )
    assert orchestrator.process_event("order-123", "fill", context={"fill_qty": 1}).success


def test_two_machines_share_a_database(specification: str, namespace: dict[str, object]) -> None:
    first = "# Order FSM store — both share the same DB, machine_name differentiates"
    run("from pystator import SQLiteStateStore", namespace)
    run(cut(specification, first, "session_store.connect()"), namespace)
    order_store, session_store = namespace["order_store"], namespace["session_store"]
    order_store.set_state("e-1", "open", metadata={"machine_name": "order"})
    session_store.set_state("e-1", "active", metadata={"machine_name": "session"})
    assert order_store.get_state("e-1", machine_name="order") == "open"
    assert order_store.get_state("e-1", machine_name="session") == "active"


def test_context_is_persisted_as_the_page_shows(
    specification: str, namespace: dict[str, object]
) -> None:
    snippet = cut(
        specification,
        "# Context will be saved with each state change",
        'ctx = store.get_context("order-123")',
    )
    run("from pystator import SQLiteStateStore", namespace)
    run('store = SQLiteStateStore("sqlite:///pystator.db")\nstore.connect()', namespace)
    namespace["orchestrator"] = Orchestrator(
        machine=namespace["machine"],
        state_store=namespace["store"],
        guards=namespace["guards"],
        actions=namespace["actions"],
    )
    run(snippet, namespace)
    assert str(namespace["ctx"]).replace("'", '"') in specification
    assert namespace["ctx"] == {"fill_qty": 100, "price": 50.25}
    assert namespace["store"].get_state("order-123") == "filled"

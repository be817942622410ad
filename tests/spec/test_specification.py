"""The specification's own snippets, cut out of it and run as they stand.

Nothing is retyped here: a snippet is the text between its first and its last line in the specification.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystator import AsyncStateStore, InMemoryStateStore, Orchestrator, StateMachine, StateStore

MACHINE = {
    "meta": {"machine_name": "order_management", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "filled", "type": "terminal"},
    ],
    "transitions": [
        {
            "trigger": "fill",
            "source": "open",
            "dest": "filled",
            "guards": ["has_quantity"],
            "actions": ["report"],
        }
    ],
}


@pytest.fixture(scope="module")
def specification(shared: Path) -> str:
    """The text."""
    return (shared / "spec" / "state-stores.txt").read_text(encoding="utf-8")


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What a reader of the page has at hand: a machine, guards and actions; in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSTATOR_DATABASE_URL", raising=False)
    names: dict[str, object] = {
        "machine": StateMachine.from_dict(MACHINE),
        "guards": {"has_quantity": lambda ctx: ctx["fill_qty"] > 0},
        "actions": {"report": lambda ctx: None},
    }
    yield names
    for value in list(names.values()):
        for name in ("close", "disconnect"):
            if isinstance(value, type) or not hasattr(value, name):
                continue
            if isinstance(value, Orchestrator):
                break
            getattr(value, name)()


def cut(text: str, first: str, last: str) -> str:
    """The lines from ``first`` to the next ``last``, both included."""
    lines = text.splitlines()
    start = lines.index(first)
    return "\n".join(lines[start : lines.index(last, start) + 1])


def run(text: str, namespace: dict[str, object]) -> dict[str, object]:
    """Execute a snippet."""
    exec(compile(text, "state-stores.txt", "exec"), namespace)
    return namespace


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
    specification: str, tmp_path: Path, namespace: dict[str, object]
) -> None:
    """Init, upgrade and seed; PostgreSQL's line belongs to another store."""
    snippet = cut(specification, "# Initialize with SQLite (default)", "pystator db seed")
    commands = [
        line
        for line in snippet.splitlines()
        if line.startswith("pystator") and "postgresql" not in line
    ]
    assert commands == ["pystator db init", "pystator db upgrade", "pystator db seed"]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for command in commands:
        done = subprocess.run(
            command.split(),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "pystator.db").is_file()


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

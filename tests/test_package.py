"""What the package promises as a whole: light to import, installed whole, no dynamic code, every dependency explained."""

import ast
import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pystator
from pystator import testing

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
HEAVY = {"yaml", "pydantic", "sqlalchemy", "alembic", "typer", "rich", "sqlite3", "asyncio"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has after running the code."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_loads_no_library() -> None:
    assert loaded_by("import pystator") & HEAVY == set()


def test_stepping_a_machine_from_yaml_loads_no_database() -> None:
    machine = {"states": [{"name": "a", "type": "initial"}], "transitions": []}
    code = f"import pystator; pystator.StateMachine.from_dict({machine!r}).process('a', 'x')"
    assert loaded_by(code) & {"sqlalchemy", "alembic", "typer", "rich", "sqlite3"} == set()


def test_what_tests_of_machines_need_is_there_without_pytest() -> None:
    """Not every team has it; only the contract of a store is written for it."""
    code = (
        "from pystator.testing import FakeClock, RecordingStore, assert_linearizable, pure_guards"
    )
    assert loaded_by(code) & {"pytest", "hypothesis"} == set()


def test_every_name_for_tests_can_be_imported() -> None:
    missing = [name for name in testing.__all__ if not hasattr(testing, name)]
    assert missing == []
    assert not hasattr(testing, "nothing")


@pytest.mark.parametrize("name", pystator.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(pystator, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="StateMachin"):
        pystator.StateMachin  # noqa: B018 - the look-up is the test


def test_the_installed_package_is_whole() -> None:
    """Migrations, machines and type information travel in the wheel."""
    files = importlib.resources.files("pystator")
    assert (files / "py.typed").is_file()
    assert any((files / "db" / "migrations" / "versions").iterdir())
    assert importlib.metadata.version("pystator") == pystator.__version__
    assert f"## {pystator.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def dynamic(path: Path) -> set[str]:
    """What in a source file turns text into code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"eval", "exec", "compile", "__import__"}
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
            found |= {str(name) for name in names} & {"pickle", "marshal", "shelve"}
    return found


def test_no_source_runs_text_as_code() -> None:
    """Configuration is data: nothing reaches eval, exec, compile, pickle or marshal."""
    assert {str(path): found for path in SOURCES if (found := dynamic(path))} == {}


def test_a_source_file_has_one_meaning() -> None:
    """Over 500 lines it has two; and what is unfinished does not stand there."""
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    assert [path for path, text in texts.items() if text.count("\n") > 500] == []
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    assert [path for path, text in texts.items() if marks.search(text)] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    words = {"psycopg": "psycopg 3", "redis": "redis-py", "types-pyyaml": "types-pyyaml"}
    for line in wanted:
        name = re.split(r"[\[><=~ ]", line.lower(), maxsplit=1)[0]
        assert words.get(name, name) in page, f"docs/dependencies.md says nothing of {name}"


def test_the_api_extra_brings_pymongo() -> None:
    """As the specification says of the MongoDB store."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(line.startswith("pymongo") for line in project["optional-dependencies"]["api"])

"""Where the words go: plain in files and pipes, coloured on a terminal, quiet when nobody reads."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystator import __version__
from pystator.db.commands import init

ESCAPE = "\x1b["


def on_terminal(words: list[object], folder: Path, **more: str) -> str:
    """What a command writes when both its outputs are a terminal."""
    terminal, screen = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **more}
    for name in ("NO_COLOR", "CI", "PYSTATOR_DATABASE_URL"):
        environment.pop(name, None)
    environment |= more
    with subprocess.Popen(
        [sys.executable, "-m", "pystator", *map(str, words)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=screen,
        stderr=screen,
    ) as process:
        os.close(screen)
        seen = b""
        while True:
            try:
                chunk = os.read(terminal, 65_536)
            except OSError:  # Linux says so when the last writer has gone
                break
            if not chunk:
                break
            seen += chunk
    os.close(terminal)
    assert process.returncode == 0, seen
    return seen.decode()


def test_a_list_fits_a_narrow_terminal(tmp_path: Path, examples: Path) -> None:
    words = ["send", "o-1", "place", "total=5", f"note={'long ' * 9}", "-m"]
    db = ["--db", "sqlite:///o.db"]
    init(f"sqlite:///{tmp_path}/o.db")
    on_terminal([*words, examples / "order.yaml", *db], tmp_path)
    seen = on_terminal(["entities", *db], tmp_path, COLUMNS="70")
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in seen.splitlines()) <= 70


@pytest.fixture
def orders(tmp_path: Path, examples: Path) -> list[object]:
    """The words that process some orders, into tables that are there."""
    init(f"sqlite:///{tmp_path}/o.db")
    path = tmp_path / "orders.jsonl"
    script = [sys.executable, str(examples / "generate_orders.py"), "--output", str(path)]
    subprocess.run([*script, "--orders", "100", "--events", "700"], check=True)
    return ["process", "-m", examples / "order.yaml", "-e", path, "--db", "sqlite:///o.db"]


def test_a_terminal_has_a_bar_and_colours(orders: list[object], tmp_path: Path) -> None:
    seen = on_terminal([*orders, "--batch", "10"], tmp_path)
    assert "orders.jsonl" in seen
    assert "%" in seen
    assert f"{ESCAPE}32mapplied" in seen


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_plain_text_on_a_terminal_when_asked_for(
    orders: list[object], tmp_path: Path, more: dict[str, str]
) -> None:
    assert ESCAPE not in on_terminal(orders, tmp_path, **more)


def test_a_pipe_gets_plain_text_and_no_bar(
    command: Callable[..., Any], orders: list[object]
) -> None:
    answer = command(*orders)
    assert answer.code == 0
    assert ESCAPE not in answer.out + answer.err
    assert answer.err == ""


def test_help_is_plain_in_a_pipe_and_names_every_command(command: Callable[..., Any]) -> None:
    answer = command("--help")
    assert answer.code == 0
    for name in (
        "check",
        "graph",
        "schema",
        "send",
        "process",
        "show",
        "history",
        "entities",
        "db",
    ):
        assert f"\n  {name} " in answer.out
    assert "╭" not in answer.out


@pytest.mark.parametrize(
    "name", ["check", "graph", "schema", "send", "process", "show", "history", "entities", "db"]
)
def test_every_command_has_help(cli: Callable[..., Any], name: str) -> None:
    answer = cli(name, "--help")
    assert answer.code == 0
    assert "Usage: " in answer.out


def test_the_version_is_the_package_s(cli: Callable[..., Any]) -> None:
    assert f"pystator {__version__}\n" == cli("--version").out


def test_an_unknown_command_is_a_wrong_call(cli: Callable[..., Any]) -> None:
    answer = cli("chekc")
    assert answer.code == 2
    assert "chekc" in answer.err


def test_a_reader_that_leaves_is_no_failure(
    orders: list[object], tmp_path: Path, command: Any
) -> None:
    """``| head`` is how people look at long lists."""
    assert command(*orders).code == 0
    program = f"{sys.executable} -m pystator"
    script = f"set -o pipefail; {program} entities --json --limit 100000 --db sqlite:///o.db | head -c 10"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_load_only_what_they_need() -> None:
    """``pystator --help`` must not wait for a database library, nor ``check`` for one."""
    script = (
        "import sys\n"
        "from pystator.cli.app import app\n"
        "try: app(['check', sys.argv[1]], standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'sqlite3', 'asyncio', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    path = Path(__file__).parents[2] / "examples" / "order.yaml"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_locked_database_is_a_sentence(tmp_path: Path, command: Callable[..., Any]) -> None:
    """A file that is no database is told as one, without SQLite's own words alone."""
    (tmp_path / "o.db").write_bytes(
        b"this is a text and no database, and long enough for a header" * 10
    )
    answer = command("entities", "--db", "sqlite:///o.db")
    assert answer.code == 1
    assert "o.db" in answer.err
    assert "Traceback" not in answer.err

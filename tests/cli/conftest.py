"""What the command line's tests share: the command in this process, and as a process of its own."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pystator.cli.app import app

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

HIDDEN = {
    "PYSTATOR_API_KEY",
    "PYSTATOR_API_URL",
    "PYSTATOR_DATABASE_URL",
    "PYSTATOR_REDIS_URL",
    "PYSTATOR_MONGODB_URL",
    "FORCE_COLOR",
}
"""What would choose a store or colours."""


@pytest.fixture(autouse=True)
def _as_loggers_were() -> Iterator[None]:
    """``pystator api`` sets up the log of its process, which is this one."""
    loggers = [logging.getLogger(name) for name in ("pystator", "uvicorn", "uvicorn.error")]
    before = [(each.level, each.propagate, list(each.handlers)) for each in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers = handlers


class Answer:
    """Exit code and both outputs of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run a command in this process and an empty folder; a traceback fails the test."""
    monkeypatch.chdir(tmp_path)
    for name in HIDDEN:
        monkeypatch.delenv(name, raising=False)

    def run(*words: object, stdin: str | bytes | None = None) -> Answer:
        done = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Answer(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Answer]:
    """Run a command as a process of its own, in an empty folder, without a terminal."""

    def run(*words: object, **options: Any) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "pystator", *map(str, words)],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            **options,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


def environment() -> dict[str, str]:
    """Ours, without what would choose a database or colours."""
    return {name: value for name, value in os.environ.items() if name not in HIDDEN}


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of examples."""
    return EXAMPLES

"""The text of the specification, and what a reader of it has at hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pystator import StateMachine
from spec.snippets import MACHINE, close


@pytest.fixture(scope="session")
def specification(shared: Path) -> str:
    """The text."""
    return (shared / "spec" / "state-stores.txt").read_text(encoding="utf-8")


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What a reader of the page has at hand: a machine, guards and actions; in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("PYSTATOR_DATABASE_URL", "PYSTATOR_REDIS_URL", "PYSTATOR_MONGODB_URL"):
        monkeypatch.delenv(name, raising=False)
    names: dict[str, object] = {
        "machine": StateMachine.from_dict(MACHINE),
        "guards": {"has_quantity": lambda ctx: ctx["fill_qty"] > 0},
        "actions": {"report": lambda ctx: None},
    }
    yield names
    close(names)

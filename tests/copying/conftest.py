"""Stores to copy from and into."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pystator.stores.memory import InMemoryStateStore
from pystator.stores.registry import create_state_store


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """``url_of("sqlite2")``: a URL of an empty store of a kind; a number asks for another one."""

    def url(kind: str) -> str:
        if kind.startswith("sqlite"):
            return f"sqlite:///{tmp_path / kind}.db"
        if kind == "replicated":
            return f"replicated://?hot={url('redis')}&durable={url('sqlite-durable')}"
        found: str = request.getfixturevalue(f"{kind}_url")
        return found

    return url


@pytest.fixture
def store_of(url_of: Callable[[str], str]) -> Iterator[Callable[[str], Any]]:
    """``store_of("postgres")``: a connected, empty store of a kind."""
    with ExitStack() as open_stores:

        def make(kind: str) -> Any:
            if kind.startswith("memory"):
                return InMemoryStateStore()
            return open_stores.enter_context(create_state_store(url_of(kind)))

        yield make

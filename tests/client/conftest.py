"""What the client's tests share: a service over SQLite with a machine that counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pystator.client import Client
from servers.service import Service

COUNTER = """
meta: {machine_name: counter, version: "1"}
states: [{name: open, type: initial}, {name: closed, type: terminal}]
transitions:
  - {trigger: add, source: open, internal: true, guards: [{expr: "_event.data.by > 0"}],
     actions: [{increment: {total: {expr: "_event.data.by"}}}]}
  - {trigger: close, source: open, dest: closed}
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No service and no key of the environment."""
    monkeypatch.delenv("PYSTATOR_API_URL", raising=False)
    monkeypatch.delenv("PYSTATOR_API_KEY", raising=False)


def counting(folder: Path) -> Service:
    """A service of counters in this folder; not started yet."""
    (folder / "counters.py").write_text(
        f"from pystator import StateMachine\nimport yaml\nCOUNTER = '''{COUNTER}'''\n"
        "def application(): return StateMachine.from_dict(yaml.safe_load(COUNTER))\n"
    )
    return Service(folder, f"sqlite:///{folder}/counters.db", app="counters:application")


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with counting(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """One that the test may kill."""
    with counting(tmp_path) as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as made:
        yield made

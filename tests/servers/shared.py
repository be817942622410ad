"""One of something for all worker processes of a test run."""

import fcntl
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PORTS: Final = range(15_000, 32_000)
"""Below those that the system gives to clients: nobody takes the port of a server that is killed and comes back."""


def run_process() -> int:
    """The process that lives as long as the run: pytest itself, or the one above its workers."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def run_folder(factory: Any) -> Path:
    """The folder that all workers of a run share; ``factory`` is pytest's ``tmp_path_factory``."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(place: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``make`` gave to the first process of the run that asked."""
    with locked(place.with_suffix(".lock")):
        if not place.exists():
            place.write_text(json.dumps(make()))
        made: dict[str, Any] = json.loads(place.read_text())
        return made


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port of loopback is free")

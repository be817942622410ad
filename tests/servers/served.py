"""`pystator api` as a process over any store, which may be killed and started again at its address."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from servers.service import environment

__all__ = ["Service", "free_port"]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Service:
    """A service: a context manager that ends it.

    Args:
        folder: It runs there, and its log is there.
        store: The store's URL.
        app: An application, ``module:factory``.
        options: Further words of the command.
    """

    def __init__(self, folder: Path, store: str, *options: str, app: str = "") -> None:
        self.folder = folder
        self.store = store
        self.app = app
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.begin()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Start the process; it listens a moment later."""
        words = ["--port", str(self.port), "--store", self.store, *self.options]
        if self.app:
            words += ["--app", self.app]
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pystator", "api", *words],
                cwd=self.folder,
                env=environment(),
                stdout=log,
                stderr=log,
            )

    def wait(self, seconds: float = 30.0) -> None:
        """Wait until it listens."""
        end = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process is not None
                assert self.process.poll() is None, self.log
                assert time.monotonic() < end, self.log
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "service.log").read_text()

"""A server program of our own: started, killed, frozen, and ended with the run at the latest."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from servers.shared import free_port

__all__ = ["NOBODY", "Program", "is_readable"]

NOBODY: Final = 65534
"""The user that a server runs as when we are root, where that user can read its programs."""

PATIENCE: Final = 60.0


class Program:
    """A server on a port of loopback, in a temporary folder.

    A subclass says what to run (`command`) and when it is ready (`answers`).

    Args:
        owner: The process with which it ends.
        program: What is run; the server runs as an unprivileged user if that one can read it.
    """

    stop_signal = signal.SIGTERM

    def __init__(self, owner: int, program: Path) -> None:
        self.owner = owner
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix=f"pystator-{type(self).__name__.lower()}-"))
        self.data = self.folder / "data"
        self.data.mkdir()
        self.user = NOBODY if os.getuid() == 0 and is_readable(program) else None
        if self.user is not None:
            for each in (self.folder, self.data):
                os.chown(each, self.user, self.user)
        self.port = free_port()
        self._ran = False
        self._watch: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it answers; it is asked until it does."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start it and wait until it answers."""
        for _ in range(3):
            self.launch()
            if self.await_answer():
                self._ran = True
                return
            if self._ran:  # clients know its port
                break
            self.port = free_port()  # somebody else took it meanwhile
        log = (self.folder / "log").read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"the server did not start: {self.command()}\n{log}")

    def launch(self) -> None:
        """Start it; `await_answer` waits for it."""
        watch = [sys.executable, str(Path(__file__).with_name("watch.py")), str(self.owner)]
        watch += [str(self.folder), "-" if self.user is None else str(self.user)]
        watch += [str(int(self.stop_signal)), "--", *self.command()]
        self._watch = subprocess.Popen(
            watch, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True
        )

    def await_answer(self) -> bool:
        """Whether it came to answer."""
        assert self._watch is not None
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self._watch.poll() is not None or time.monotonic() > deadline:
                self.stop()
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """End it in good order; connections are cut."""
        if self._watch is not None:
            self._watch.terminate()
            self._watch.wait()
            self._watch = None

    def kill(self) -> None:
        """``kill -9``."""
        os.kill(self.process, signal.SIGKILL)
        if self._watch is not None:
            self._watch.wait()
            self._watch = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """As a machine that is frozen, or out of reach: it takes connections, and says nothing."""
        process = self.process
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it at once: nobody needs what it keeps."""
        with suppress(OSError):
            os.kill(self.process, signal.SIGKILL)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def process(self) -> int:
        """Its process id."""
        return int((self.folder / "pid").read_text())


def is_readable(path: Path) -> bool:
    """Whether any user can read and run it."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))

"""Several processes that serve on one socket, and the one that watches them."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pystator.api.layers.access import configure_logging
from pystator.api.metrics import forget_worker, shared_folder
from pystator.api.server.serving import Serving, run
from pystator.errors import FSMError, StoreUnavailableError

__all__ = ["supervise"]

PAUSE: Final = 0.2
"""Seconds between two looks at what was asked for."""

YOUNG: Final = 1.0
"""Seconds a worker lives at least: one that dies sooner is replaced only after so long."""

MARGIN: Final = 5.0
"""Seconds on top of the grace period, before a worker that does not end is killed."""

_log = logging.getLogger("pystator.api")
_spawn = get_context("spawn")


def supervise(serving: Serving, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve with several workers until somebody asks to stop.

    Raises:
        FSMError: The first worker could not begin; no other was started.
    """
    configure_logging(serving.log_format)
    with shared_folder() as numbers:
        Supervisor(serving, listening, numbers).run(on_ready)


class Supervisor:
    """Starts workers, replaces those that die, ends all."""

    def __init__(self, serving: Serving, listening: socket.socket, numbers: Path) -> None:
        self._serving = serving
        self._numbers = numbers
        self._listening = listening
        self._workers: dict[SpawnProcess, float] = {}
        self._asked = 0

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until asked to stop."""
        before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._begin()
            if not self._asked:
                on_ready()
            while not self._asked:
                connection.wait([each.sentinel for each in self._workers], PAUSE)
                self._replace()
        finally:
            self._end()
            self._listening.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked += 1

    def _begin(self) -> None:
        """The first worker opens the store, and makes it if there is none; then come the others."""
        ours, theirs = _spawn.Pipe(duplex=False)
        first = self._start(theirs)
        theirs.close()
        while not self._asked:
            if ours.poll(PAUSE):
                break
        else:
            return
        try:
            error: FSMError | None = ours.recv()
        except EOFError:
            first.join()
            raise StoreUnavailableError(
                f"the first worker ended before it served ({_how(first)}); its log says why"
            ) from None
        if error is not None:
            raise error
        for _ in range(self._serving.workers - 1):
            self._start(None)

    def _start(self, told: Any) -> SpawnProcess:
        process = _spawn.Process(target=_work, args=(self._serving, self._listening, told))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()  # blocked, too: Ctrl-C would show where its imports are
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._workers[process] = time.monotonic()
        return process

    def _replace(self) -> None:
        for process in [each for each in self._workers if not each.is_alive()]:
            if self._asked:
                return
            began = self._workers.pop(process)
            if process.pid is not None:
                forget_worker(process.pid, self._numbers)
            _log.error("worker %s ended (%s): another one begins", process.pid, _how(process))
            if time.monotonic() - began < YOUNG:
                time.sleep(YOUNG)
            self._start(None)

    def _end(self) -> None:
        """Ask all workers to stop, wait, and kill who does not."""
        for process in self._workers:
            if process.pid is not None and process.is_alive():
                process.terminate()
        deadline = time.monotonic() + self._serving.grace + MARGIN
        while any(each.is_alive() for each in self._workers):
            if self._asked > 1 or time.monotonic() > deadline:
                for process in self._workers:
                    process.kill()
            time.sleep(PAUSE / 4)


def _how(process: SpawnProcess) -> str:
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _work(serving: Serving, listening: socket.socket, told: Any) -> None:
    """A worker's life. Ctrl-C goes to all processes of a terminal: who watches passes it on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(error: FSMError | None) -> None:
        if told is not None:
            told.send(error)
            told.close()

    try:
        run(serving, listening, lambda: tell(None), (signal.SIGTERM,))
    except FSMError as error:
        if told is None:
            _log.error("a worker cannot begin: %s", error.message)
        tell(error)
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

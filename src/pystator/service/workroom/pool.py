"""A few worker processes that do heavy work for a service, bounded in time, memory and number.

A machine may come from a stranger. Reading it, searching it for mistakes, drawing it and stepping
through it is work of the processor, and a service that did it itself would answer nobody else
meanwhile. Here it is done in another process, which is ended when it takes too long.

::

    await ask(task, content) --> place free? --> thread --> worker process --> answer
                                     |                          |
                                   BusyError      BudgetError (time, memory, size)

A process is begun when it is needed first. It is told by its standard input alone and gets no
environment but what Python needs: secrets of the service are not its business.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import pystator.errors
from pystator.errors import ErrorCode, EvaluationError, FSMError, StoreUnavailableError
from pystator.service.workroom import frames

__all__ = ["BudgetError", "BusyError", "Workroom"]

_GRACE: Final = 5.0
"""Seconds beside a task's own before a worker is ended from outside: it may only just begin."""

_PASSED: Final = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "TZ")
"""What a worker gets of the environment."""


class BudgetError(EvaluationError):
    """The work on a machine would have taken more time, memory or room than it may."""


class BusyError(StoreUnavailableError):
    """So many ask for work on machines that this request would wait too long: try again."""


class Workroom:
    """Worker processes, begun when they are needed.

    Args:
        places: Tasks at once.
        waiting: Tasks that may wait for a place.
        megabytes: Memory of each process.
    """

    def __init__(self, places: int = 2, waiting: int = 16, megabytes: int = 1_024) -> None:
        self._threads = ThreadPoolExecutor(places, thread_name_prefix="pystator-workroom")
        self._room = threading.BoundedSemaphore(places + waiting)
        self._megabytes = megabytes
        self._idle: deque[_Worker] = deque()
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def ask(
        self, task: str, content: bytes, given: Mapping[str, Any], *, seconds: float
    ) -> dict[str, Any]:
        """What becomes of a task of `pystator.service.workroom.tasks`.

        Args:
            task: Its name.
            content: What it is about.
            given: Its other arguments.
            seconds: How long it may take.

        Raises:
            BusyError: Too many wait.
            BudgetError: It took too long, or too much.
            FSMError: What the task raised.
        """
        if not self._room.acquire(blocking=False):
            raise BusyError(
                "too many requests for work on machines: nothing was done, try again in a second"
            )
        request = frames.pack({"task": task, "given": dict(given), "seconds": seconds}, content)
        try:
            future = self._threads.submit(self._answer, request, seconds)
        except RuntimeError as error:  # it is closed
            self._room.release()
            raise BusyError("the service is going down: ask another one") from error
        future.add_done_callback(self._leave)
        answer: dict[str, Any] = await asyncio.wrap_future(future)
        return _told(answer)

    def _leave(self, _future: "Future[dict[str, Any]]") -> None:
        self._room.release()

    def close(self) -> None:
        """End all workers; what they are doing is lost, and nobody needs it."""
        with self._lock:
            self._closed = True
            workers = [*self._workers]
        for worker in workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)

    def _answer(self, request: bytes, seconds: float) -> dict[str, Any]:
        """One request; again with a new worker where the old one was dead already."""
        worker = self._take()
        answer = worker.ask(request, seconds + _GRACE)
        if answer is None and not worker.ended:
            self._drop(worker)
            worker = self._take(fresh=True)
            answer = worker.ask(request, seconds + _GRACE)
        if answer is not None and "refused" not in answer and "failed" not in answer:
            self._idle.append(worker)
            return answer
        self._drop(worker)
        return answer or {"refused": "it took too long, or more memory than there is"}

    def _take(self, *, fresh: bool = False) -> "_Worker":
        if not fresh:
            try:
                return self._idle.pop()
            except IndexError:
                pass
        with self._lock:
            if self._closed:
                raise BusyError("the service is going down: ask another one")
            worker = _Worker(self._megabytes)
            self._workers.add(worker)
        return worker

    def _drop(self, worker: "_Worker") -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)


def _told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker did, or the error it tells of."""
    if "done" in answer:
        done: dict[str, Any] = answer["done"]
        return done
    if "refused" in answer:
        why: str = answer["refused"]
        raise BudgetError(f"the work on this machine was given up: {why}; make the machine smaller")
    if "failed" in answer:
        raise RuntimeError(f"a worker failed: {answer['failed']}")
    told: dict[str, Any] = answer["error"]
    found = vars(pystator.errors).get(told["error"], FSMError)
    kind: type[FSMError] = found
    raise kind(told["message"], context=told["context"], code=ErrorCode(told["code"]))


class _Worker:
    """One process. Used by one thread at a time."""

    def __init__(self, megabytes: int) -> None:
        self.ended = False
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        program = [sys.executable, "-P", "-m", "pystator.service.workroom.worker", str(megabytes)]
        self._process = subprocess.Popen(  # noqa: S603 # our own program
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def ask(self, request: bytes, seconds: float) -> dict[str, Any] | None:
        """The answer; None where the process ended, or was ended after so many seconds."""
        source, target = self._process.stdout, self._process.stdin
        if source is None or target is None:  # never: both are pipes
            return None
        late = threading.Timer(seconds, self._kill)
        late.daemon = True
        late.start()
        try:
            frames.write(target, request)
            frame = frames.read(source)
        except (OSError, ValueError):  # the process, or our end of its pipes, is gone
            frame = None
        finally:
            late.cancel()
        return None if frame is None else frame[0]

    def _kill(self) -> None:
        self.ended = True
        self._process.kill()

    def end(self) -> None:
        """End the process, whatever it does."""
        self._kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is None:
                continue
            try:
                stream.close()
            except OSError:  # what it did not read
                continue

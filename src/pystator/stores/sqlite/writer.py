"""The writer of a SQLite store: one connection, one lock, and the point where commits meet.

Laws:

- Whoever holds the lock writes for everybody: it takes all requests that wait and puts them into
  one transaction. Those that arrive meanwhile are the next one (group commit).
- A commit of a transaction is written whole or not at all, and never takes its neighbours with it.
- A request is answered after the transaction is durable, or with the reason why it is not.

::

    blocking callers --> queue --> lock --> [ BEGIN  puts  rows  COMMIT ] --> answers
    event loops ------->   '----> thread -----^         (fsync)                 |
          ^------------------------- one call_soon_threadsafe a loop <----------'

A blocking caller writes in its own thread (flat combining). Handing over to the writer's thread and
back was measured at 1.5 times the time of a single commit; the thread is there for event loops, and
for rows that may wait.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pystator.db.sqlite import patiently, translate
from pystator.errors import FSMError, StoreUnavailableError
from pystator.records import Loaded, Lookup, Outcome
from pystator.stores.sqlite.files import Files
from pystator.stores.sqlite.ops import Write, load
from pystator.stores.sqlite.writes import APPLIED, write_all, write_alone, write_one

if TYPE_CHECKING:
    import asyncio  # at run time only where a loop runs: blocking programs never pay for it

__all__ = ["Request", "Writer"]

T = TypeVar("T")

_LATER: Final = 0.02
"""Seconds that rows which may wait do wait for a transaction to ride on."""

_AGAIN: Final = 1.0
"""Seconds until they are tried again after an error."""

_SIZE: Final = 10_000
"""Commits in one transaction, at most: those who wait for it wait for all of them."""


class Request:
    """What one caller wants, and the answer."""

    __slots__ = ("answer", "done", "error", "future", "lookups", "writes")

    def __init__(
        self, writes: list[Write], lookups: Sequence[Lookup] = (), future: Any = None
    ) -> None:
        self.writes = writes
        self.lookups = lookups
        self.future: asyncio.Future[Any] | None = future
        self.answer: Any = None
        self.error: Exception | None = None
        self.done = False


class Writer:
    """Takes commits from any thread and any event loop."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._turn = files.turn
        # Asked as an iterator: no interrupt comes between a step of it and the try that follows,
        # as one does after a call, to leave the lock taken for ever.
        self._take_turn = partial(files.turn.acquire, False)
        self._commits: deque[Request] = deque()
        self._loads: deque[Request] = deque()
        self._later: deque[Write] = deque()
        self._thread: threading.Thread | None = None
        self._thread_lock = threading.Lock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._later_due = 0.0
        self._closing = False
        self._syncing = False
        self.transactions = 0

    # Callers --------------------------------------------------------------------------------------

    def commit(self, writes: list[Write]) -> list[Outcome]:
        """Write, and wait until it is durable."""
        if len(writes) == 1:
            for _ in iter(self._take_turn, False):
                try:
                    if not self._commits:
                        return [self._write_single(writes[0])]
                    break
                finally:
                    self._turn.release()
        if not writes:
            return []
        request = Request(writes)
        self._commits.append(request)
        try:
            with self._turn:
                while not request.done:
                    self._transact()
        except BaseException:
            # Interrupted: what nobody has taken up is not sent, as its caller may send it again.
            with suppress(ValueError):
                self._commits.remove(request)
            raise
        if request.error is not None:
            raise request.error
        answer: list[Outcome] = request.answer
        return answer

    async def acommit(self, writes: list[Write]) -> list[Outcome]:
        """`commit` for asyncio: the writer's thread does it."""
        from asyncio import get_running_loop

        future = get_running_loop().create_future()
        self._commits.append(Request(writes, future=future))
        self._ring()
        answer: list[Outcome] = await future
        return answer

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Load in the writer's thread, together with what others want to load."""
        from asyncio import get_running_loop

        future = get_running_loop().create_future()
        self._loads.append(Request([], lookups, future))
        self._ring()
        answer: list[Loaded] = await future
        return answer

    def append_later(self, writes: list[Write]) -> None:
        """Rows that may wait for the next transaction, or for `_LATER` seconds."""
        self._later.extend(writes)
        if not self._later_due:
            self._later_due = time.monotonic() + _LATER
            self._ring()

    def flush(self) -> None:
        """Wait until everything that was handed over is written."""
        with self._turn:
            while self._commits or self._later:
                error = self._transact()
                if error is not None:
                    raise error

    def alone(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Call within a transaction of its own, and wait until it is durable."""
        with self._turn:
            connection = self._files.writer()
            committing = False
            try:
                self._begin(connection)
                answer = call(connection)
                committing = True
                connection.execute("COMMIT")
            except BaseException as error:
                raise self._undone(connection, error, committing=committing) from error
            self._counted()
            return answer

    def close(self) -> None:
        """Write what was handed over, and end the thread."""
        self._closing = True
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._bell.put(None)
            thread.join()
        try:
            if self._files.is_open:
                self.flush()
        finally:
            self._thread = None
            self._rung = False
            self._closing = False
            if self._loads or self._commits:  # they rang for a thread that had ended
                self._ring()

    def forget(self) -> None:
        """In a forked child: the thread and the callers are the parent's."""
        self._commits.clear()
        self._loads.clear()
        self._later.clear()
        self._thread = None
        self._thread_lock = threading.Lock()
        self._bell = SimpleQueue()
        self._rung = False
        self._later_due = 0.0

    # The thread -----------------------------------------------------------------------------------

    def _ring(self) -> None:
        """Wake the thread, unless it was woken and has not looked yet."""
        if self._thread is None:
            self._start()
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def _start(self) -> None:
        with self._thread_lock:
            if self._thread is None:
                # A daemon: a program may end without disconnecting; the store's finaliser flushes.
                thread = threading.Thread(target=self._work, name="pystator-sqlite", daemon=True)
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        while not self._closing:
            due = self._later_due
            with suppress(Empty):
                self._bell.get(timeout=max(due - time.monotonic(), 0) if due else None)
            self._rung = False  # before looking: who appends after this rings again
            if self._loads:
                self._load_all()
            late = bool(due) and time.monotonic() >= due
            if late:
                self._later_due = 0.0  # before looking, too
            if self._commits or (late and self._later):
                with self._turn:
                    error = self._transact()
                if error is not None and self._later:
                    self._later_due = time.monotonic() + _AGAIN

    def _load_all(self) -> None:
        """Answer every load that waits, before the next transaction: loops go on while it syncs."""
        requests = _drain(self._loads)
        wanted = [lookup for request in requests for lookup in request.lookups]
        try:
            found = self.load(wanted)
        except Exception as error:  # noqa: BLE001 - the callers' loops raise it
            for request in requests:
                request.error = error
        else:
            start = 0
            for request in requests:
                end = start + len(request.lookups)
                request.answer = found[start:end]
                start = end
        _answer(requests)

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Load over the writer's connection when it is free: its pages are in memory."""
        for _ in iter(self._take_turn, False):
            try:
                return load(self._files.writer(), lookups)
            except sqlite3.Error:
                break  # the other way waits, and knows what errors mean
            finally:
                self._turn.release()
        return self._files.read(lambda connection: load(connection, lookups))

    # Transactions (all with the lock held) --------------------------------------------------------

    def _transact(self) -> Exception | None:
        """One transaction with everything that waits; why it failed, which the callers are told."""
        requests: list[Request] = []
        later: list[Write] = []
        failure: Exception | None = None
        self._syncing = False
        try:
            self._take(requests)
            later = _drain(self._later)
            self._write(requests, later)
        except BaseException as error:
            self._later.extendleft(reversed(later))
            if isinstance(error, Exception) or self._syncing:
                failure = _reason(error)
                for request in requests:
                    if not request.done:
                        request.error = failure
                        request.done = True
            else:
                self._put_back(requests)
            if not isinstance(error, Exception):
                raise
        finally:
            try:
                _answer(requests)
            except BaseException:
                _answer(requests)  # interrupted half-way: who was answered does not mind
                raise
        return failure

    def _take(self, requests: list[Request]) -> None:
        """Move those that wait into the list, each there before it is gone from the queue."""
        size = 0
        waiting = self._commits
        while waiting and size < _SIZE:
            request = waiting[0]
            if not request.done:
                requests.append(request)
                size += len(request.writes)
            waiting.popleft()

    def _put_back(self, requests: list[Request]) -> None:
        """This thread was interrupted with nothing written: another one writes for the others."""
        waiting = self._commits
        if waiting and requests and waiting[0] is requests[-1]:
            requests.pop()  # it had not left the queue
        waiting.extendleft(reversed(requests))
        requests.clear()
        if any(request.future is not None for request in waiting):
            self._ring()

    def _write(self, requests: list[Request], later: list[Write]) -> None:
        connection = self._files.writer()
        writes = [write for request in requests for write in request.writes]
        outcomes = self._run(connection, writes, later)
        start = 0
        for request in requests:
            end = start + len(request.writes)
            request.answer = outcomes[start:end]
            request.done = True
            start = end

    def _write_single(self, write: Write) -> Outcome:
        """A transaction of one commit: what a single caller does all day, so it has no detours."""
        connection = self._files.writer()
        execute = connection.execute
        later: list[Write] = []
        committing = False
        try:
            self._begin(connection)
            if self._later:  # it happened before
                later = _drain(self._later)
                for each in later:
                    write_alone(connection, each)
            outcome = write_one(connection, write)
            if outcome is not APPLIED:
                execute("ROLLBACK")
                self._later.extendleft(reversed(later))
                return outcome
            committing = True
            execute("COMMIT")
        except BaseException as error:
            self._later.extendleft(reversed(later))
            raise self._undone(connection, error, committing=committing) from error
        self._counted()
        return outcome

    def _run(
        self, connection: sqlite3.Connection, writes: list[Write], later: list[Write]
    ) -> list[Outcome]:
        """Begin, write, commit; on an error nothing was written, unless it came from the commit."""
        committing = False
        try:
            self._begin(connection)
            for write in later:  # it happened before
                write_alone(connection, write)
            outcomes = write_all(connection, writes)
            if outcomes is None:
                # Somebody is stale or a duplicate: one by one, to find out who.
                connection.execute("ROLLBACK")
                self._begin(connection)
                outcomes = [write_alone(connection, write) for write in [*later, *writes]]
                del outcomes[: len(later)]
            committing = self._syncing = True
            connection.execute("COMMIT")
        except BaseException as error:
            raise self._undone(connection, error, committing=committing) from error
        self._counted()
        return outcomes

    def _undone(
        self, connection: sqlite3.Connection, error: BaseException, *, committing: bool
    ) -> BaseException:
        """Undo the transaction; the error to raise."""
        with suppress(sqlite3.Error):
            connection.rollback()
        if not isinstance(error, sqlite3.Error):
            return error
        files = self._files
        written = None if committing else False  # who failed to sync cannot know
        return translate(error, files.url, written=written, limit=files.busy_limit)

    def _counted(self) -> None:
        self.transactions += 1
        if self.transactions in _GROW:
            self._files.grow(_GROW[self.transactions])

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            # Another process writes.
            patiently(lambda: connection.execute("BEGIN IMMEDIATE"), self._files.busy_limit)


_GROW: Final = {16: 1_000, 256: 4_100}
"""After so many transactions the log is made this many pages long; see `Files.grow`."""


def _reason(error: BaseException) -> Exception:
    """What to tell the others when the thread that wrote for them was stopped."""
    if isinstance(error, FSMError):
        return error
    return StoreUnavailableError(
        f"the transaction was interrupted ({type(error).__name__}: {error}); "
        "read the entity to see whether it was written"
    )


def _drain(queue: deque[T]) -> list[T]:
    return [queue.popleft() for _ in range(len(queue))]


def _answer(requests: Iterable[Request]) -> None:
    """Wake every event loop once with all its answers."""
    loops: dict[asyncio.AbstractEventLoop, list[Request]] = {}
    for request in requests:
        if request.future is not None:
            loops.setdefault(request.future.get_loop(), []).append(request)
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, answered)
        except RuntimeError:
            continue  # that loop is closed: nobody waits


def _resolve(requests: list[Request]) -> None:
    for request in requests:
        future = request.future
        if future is None or future.done():
            continue  # its task was cancelled
        if request.error is not None:
            future.set_exception(request.error)
        else:
            future.set_result(request.answer)

"""Waiting for a PostgreSQL server: blocking or on a loop, and what to do when it takes too long.

Both ways can be interrupted at every wait.

Laws:

- A statement that is late is cancelled on the server, and heard of: it was cancelled, and then
  nothing was written, or it had just succeeded.
- A conversation that is broken off - by an interrupt, a cancellation, a server that does not even
  cancel - is the last one of its connection. The statement that runs is cancelled; of a stream,
  those that were sent behind it may still be executed.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import ConnStatus, PollingStatus
from psycopg.waiting import Wait, wait_conn

from pystator.stores.glance import Glance
from pystator.stores.postgres.wire import Talk, Wire

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from psycopg.abc import PQGenConn
    from psycopg.pq.abc import PGcancelConn, PGconn, PGresult

__all__ = ["LateError", "abandon", "astop", "await_for", "request_cancel", "stop", "wait_for"]

T = TypeVar("T")

GRACE: Final = 2.0
"""Seconds for a cancelled statement to come back."""

_PATIENCE: Final = 30.0
"""Seconds for a server to hear that it is to cancel one."""


class LateError(psycopg.OperationalError):
    """The server did not answer in time."""


def wait_for(wire: Wire, talk: Talk[T], seconds: float, glance: Glance | None = None) -> T:
    """Have the conversation, blocking; signal handlers run meanwhile.

    Args:
        wire: The connection.
        talk: What is said over it.
        seconds: How long the server may say nothing.
        glance: Looks for the answer before this thread sleeps.

    Raises:
        LateError: It said nothing for so long.
    """
    send = talk.send
    try:
        while True:
            poll = wire.poll_write if send(None) else wire.poll
            if not ((glance is not None and glance.at(poll)) or poll(seconds)):
                raise LateError("the server did not answer in time")
    except StopIteration as done:
        answer: T = done.value
        return answer


async def await_for(wire: Wire, talk: Talk[T], seconds: float) -> T:
    """`wait_for` on the running loop.

    Raises:
        LateError: The server said nothing for so many seconds.
    """
    from asyncio import get_running_loop  # blocking programs never pay for it

    loop = get_running_loop()
    steps = _Steps(loop, wire.fd, talk, seconds)
    loop.add_reader(wire.fd, steps.step)
    try:
        steps.step()
        return await steps.answer
    finally:
        steps.alarm.cancel()
        loop.remove_reader(wire.fd)
        if steps.writing:
            loop.remove_writer(wire.fd)


class _Steps(Generic[T]):
    """A conversation that goes on by a step whenever the loop sees the socket ready."""

    __slots__ = ("_count", "_fd", "_loop", "_seconds", "_talk", "alarm", "answer", "writing")

    def __init__(self, loop: "AbstractEventLoop", fd: int, talk: Talk[T], seconds: float) -> None:
        self._loop = loop
        self._fd = fd
        self._talk = talk
        self._seconds = seconds
        self._count = 0
        self.alarm = loop.call_later(seconds, self.look, 1)
        self.answer: Future[T] = loop.create_future()
        self.writing = False

    def step(self) -> None:
        if self.answer.done():
            return
        self._count += 1
        try:
            wants = self._talk.send(None)
        except StopIteration as done:
            self.answer.set_result(done.value)
        except BaseException as error:  # noqa: BLE001 - it is the awaiting task's to raise
            self.answer.set_exception(error)
        else:
            if wants is not self.writing:
                self.writing = wants
                if wants:
                    self._loop.add_writer(self._fd, self.step)
                else:
                    self._loop.remove_writer(self._fd)

    def look(self, count: int) -> None:
        """Has anything been heard since so many steps had been made?"""
        if self.answer.done():
            return
        if self._count <= count:
            self.answer.set_exception(LateError("the server did not answer in time"))
        else:
            self.alarm = self._loop.call_later(self._seconds, self.look, self._count)


# Breaking off -------------------------------------------------------------------------------------


def stop(wire: Wire, talk: "Talk[PGresult]", late: LateError) -> "PGresult":
    """Have the server end a statement that is late, and hear how it ended.

    Raises:
        LateError: It was cancelled: then nothing was written, and the connection is as before; or
            the server does not answer at all.
    """
    thread = request_cancel(wire.pgconn)
    try:
        return wait_for(wire, talk, GRACE)
    except errors.QueryCanceled:
        raise late from None
    finally:
        if thread is not None:
            thread.join(GRACE)
            _forgo(wire, thread)


async def astop(wire: Wire, talk: "Talk[PGresult]", late: LateError) -> "PGresult":
    """`stop` on the running loop."""
    from asyncio import to_thread

    thread = request_cancel(wire.pgconn)
    try:
        return await await_for(wire, talk, GRACE)
    except errors.QueryCanceled:
        raise late from None
    finally:
        if thread is not None:
            try:
                await to_thread(thread.join, GRACE)
            finally:
                _forgo(wire, thread)


def _forgo(wire: Wire, thread: threading.Thread) -> None:
    """A request that is still on its way would cancel another statement of this connection."""
    if thread.is_alive():
        wire.pgconn.finish()


def abandon(pgconn: "PGconn") -> threading.Thread | None:
    """Close a connection in the middle of whatever it does, and have the server stop doing it.

    A statement that waits for a lock would else get it one day, and write.
    """
    thread = None if pgconn.status == ConnStatus.BAD else request_cancel(pgconn)
    pgconn.finish()
    return thread


def request_cancel(pgconn: "PGconn") -> threading.Thread | None:
    """Ask the server, over a connection of its own, to cancel what this one does."""
    try:
        ask = _request(pgconn)
    except psycopg.Error:
        return None

    # It may take long: not for who was just interrupted, or a loop, to wait for.
    thread = threading.Thread(target=ask, name="pystator-cancel", daemon=True)
    thread.start()
    return thread


def _request(pgconn: "PGconn") -> Callable[[], None]:
    """What asks; it no longer needs the connection.

    Step by step where libpq can (17 and newer, as in psycopg's wheels): its older function waits
    for the server inside of C, where psycopg lets no other thread of this process run. A host that
    hangs would hang us.
    """
    try:
        asking = pgconn.cancel_conn()
    except psycopg.NotSupportedError:
        cancel = pgconn.get_cancel()

        def ask_at_once() -> None:
            with suppress(psycopg.Error):
                cancel.cancel()

        return ask_at_once

    def ask() -> None:
        with suppress(psycopg.Error):
            wait_conn(_steps(asking, time.monotonic() + _PATIENCE), interval=1.0)
        asking.finish()

    return ask


def _steps(asking: "PGcancelConn", deadline: float) -> "PQGenConn[None]":
    asking.start()
    while True:
        status = asking.poll()
        if status not in _WAITS:
            return
        while not (yield asking.socket, _WAITS[status]):
            if time.monotonic() > deadline:
                return


_WAITS: Final[dict[int, Wait]] = {PollingStatus.READING: Wait.R, PollingStatus.WRITING: Wait.W}

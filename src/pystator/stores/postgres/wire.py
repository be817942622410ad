"""Statements over one connection: libpq's own calls.

Cursors are for people; an event has a constant statement and values in the wire's binary form. A
conversation with the server is a generator over libpq's nonblocking calls that yields when it has
to wait; who waits, and how long, is decided in `pystator.stores.postgres.waiting`.

Laws:

- A statement has succeeded when the server is ready for the next one, not when it says how many
  rows it wrote: the transaction is committed in between.
- A connection whose conversation was broken off is never used again.
"""

import select
from collections.abc import Callable, Generator, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["UNKNOWN_STATEMENT", "Params", "Statement", "Stream", "Talk", "Wire"]

Params = Sequence[bytes | None]
"""A statement's values in binary form."""

_OK: Final = frozenset({int(ExecStatus.TUPLES_OK), int(ExecStatus.COMMAND_OK)})
_FATAL: Final = int(ExecStatus.FATAL_ERROR)
_SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
_IDLE: Final = int(TransactionStatus.IDLE)
_OFF: Final = int(PipelineStatus.OFF)
_READ: Final = False
_WRITE: Final = True

T = TypeVar("T")

Talk = Generator[bool, None, T]
"""Yields whether it waits for room to write, or else for something to read; ends in its answer."""

UNKNOWN_STATEMENT: Final = frozenset({"26000", "42P05", "0A000", "08P01"})
"""The session lost a prepared statement, has one of this name already, or one for other tables."""

_MANY: Final = 250
_REPLAN: Final = 16
_GROWTH: Final = 3

_PIPELINES: Final = pq.version() >= 140_000
"""This libpq can send a statement before it has heard of the one before."""


class Statement:
    """A constant statement.

    Args:
        name: Its name in the sessions where it is prepared.
        sql: Its text.
        types: OIDs of its parameters, all in binary form.
        many: It is about many entities.
    """

    __slots__ = ("formats", "name", "sql", "types", "work")

    def __init__(self, name: str, sql: str, types: Sequence[int], *, many: bool = False) -> None:
        self.work = _MANY if many else 1
        self.sql = sql.encode()
        # Releases that share a pooler's sessions have other statements under other names.
        self.name = f"pystator_{name}_{blake2b(self.sql, digest_size=4).hexdigest()}".encode()
        self.types = tuple(types)
        self.formats = [int(pq.Format.BINARY)] * len(types)


class Stream(Protocol):
    """Several statements that are sent one after the other, and answered meanwhile.

    Attributes:
        reads: They write nothing.
    """

    reads: bool

    def requests(self) -> Iterator[tuple[Statement, Params]]:
        """The statements: each is made while the server works on those before it."""
        ...

    def take(self, number: int, result: "PGresult | psycopg.Error") -> None:
        """What became of one of them, in order, counted from 0."""
        ...


class Wire:
    """A connection as conversations see it.

    Args:
        pgconn: libpq's connection.
        prepares: Statements are prepared; otherwise each is sent with its text.

    Attributes:
        sent: The statement under way, or the last one, may have been executed; of a stream, any.
            Whoever begins a conversation of one statement makes it False.
        prepared: The statements that this session knows, and by which names.
        work: Executions so far, those about many entities counted as many.
        planned_until: So much work, and they are planned again. A plan that was made when the
            tables were small reads them from end to end; when they have grown, that is slow, and
            the server's own statistics may be a minute late.
    """

    __slots__ = (
        "fd",
        "forgotten",
        "pgconn",
        "planned_until",
        "poll",
        "poll_write",
        "prepared",
        "prepares",
        "sent",
        "work",
    )

    def __init__(self, pgconn: "PGconn", *, prepares: bool) -> None:
        self.pgconn = pgconn
        self.prepares = prepares
        self.prepared: dict[bytes, bytes] = {}
        self.forgotten = 0
        self.work = 0
        self.planned_until = _REPLAN
        self.sent = False
        self.fd = pgconn.socket
        self.poll = _poller(self.fd, write=False)
        self.poll_write = _poller(self.fd, write=True)

    def is_alive(self) -> bool:
        """Nothing has happened to it while it was idle, as far as this side can know."""
        pgconn = self.pgconn
        try:
            if self.poll(0):
                pgconn.consume_input()
                if self.poll(0):  # a closed connection stays readable; a notice is read by now
                    pgconn.consume_input()
        except psycopg.Error:
            return False
        return self.is_clean()

    def is_clean(self) -> bool:
        """Ready for the next statement."""
        pgconn = self.pgconn
        return pgconn.transaction_status == _IDLE and pgconn.pipeline_status == _OFF

    def is_lost(self) -> bool:
        """There is nobody at the other end any more."""
        return self.pgconn.status == ConnStatus.BAD

    def forget(self) -> None:
        """Prepare everything again: the session lost it, or made it for tables that changed."""
        self.prepared.clear()
        self.forgotten += 1

    def name_of(self, statement: Statement) -> bytes:
        """The name under which a statement is prepared in this session."""
        return b"%b_%d" % (statement.name, self.forgotten) if self.forgotten else statement.name

    def talk(self, statement: Statement, params: Params) -> "Talk[PGresult]":
        """Execute a statement; its result, or the server's error.

        Raises:
            psycopg.Error: The server said no, or the connection is lost.
        """
        pgconn = self.pgconn
        if not self.prepares:
            self.sent = True
            pgconn.send_query_params(statement.sql, params, statement.types, statement.formats, 1)
        else:
            self.work += statement.work
            if self.work > self.planned_until:
                yield from self._plan_again()
            name = self.prepared.get(statement.name)
            if name is None:
                name = self.name_of(statement)
                pgconn.send_prepare(name, statement.sql, statement.types)
                yield from self._answer()
                self.prepared[statement.name] = name
            self.sent = True
            pgconn.send_query_prepared(name, params, statement.formats, 1)
        return (yield from self._answer())

    def talk_all(self, stream: Stream) -> Talk[None]:
        """Execute statements, each in a transaction of its own.

        Raises:
            psycopg.Error: The connection is lost; what was not taken by then is unknown.
        """
        self.sent = False
        if self.prepares and _PIPELINES:
            yield from self._pipeline(stream)
            return
        for number, (statement, params) in enumerate(stream.requests()):
            try:
                result = yield from self.talk(statement, params)
            except psycopg.Error as error:
                if not self.is_clean():
                    raise
                stream.take(number, error)
            else:
                stream.take(number, result)

    def _pipeline(self, stream: Stream) -> Talk[None]:
        pgconn = self.pgconn
        if self.work > self.planned_until:
            yield from self._plan_again()
        pgconn.enter_pipeline_mode()
        answers = _Answers(self, stream)
        for statement, params in stream.requests():
            name = self.prepared.get(statement.name)
            if name is None:
                name = self.prepared[statement.name] = self.name_of(statement)
                pgconn.send_prepare(name, statement.sql, statement.types)
                answers.preparing.add(answers.expected)
            self.sent = True
            self.work += statement.work
            pgconn.send_query_prepared(name, params, statement.formats, 1)
            pgconn.pipeline_sync()
            answers.expected += 1
            while pgconn.flush():
                yield _WRITE
                pgconn.consume_input()
            pgconn.consume_input()
            answers.take()
        while answers.expected > answers.taken:
            yield _READ
            pgconn.consume_input()
            answers.take()
        pgconn.exit_pipeline_mode()

    def _plan_again(self) -> Talk[None]:
        self.planned_until *= _GROWTH
        self.prepared.clear()
        self.pgconn.send_query_params(b"DEALLOCATE ALL", None)
        yield from self._answer()

    def _answer(self) -> "Talk[PGresult]":
        pgconn = self.pgconn
        while pgconn.flush():
            yield _WRITE
            pgconn.consume_input()
        first: PGresult | None = None
        yield _READ
        pgconn.consume_input()
        while True:
            while pgconn.is_busy():
                yield _READ
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            # An error may follow a result: the commit comes last.
            if first is None or result.status == _FATAL:
                first = result
        if first is None:
            raise psycopg.OperationalError("the server gave no answer")
        if first.status not in _OK:
            raise errors.error_from_result(first)
        return first


class _Answers:
    """Hands the answers of a pipeline on, as far as they have come."""

    __slots__ = ("_answer", "_pgconn", "_stream", "_wire", "expected", "preparing", "taken")

    def __init__(self, wire: Wire, stream: Stream) -> None:
        self._wire = wire
        self._pgconn = wire.pgconn
        self._stream = stream
        self._answer: PGresult | psycopg.Error | None = None
        self.expected = 0
        self.preparing: set[int] = set()
        self.taken = 0

    def take(self) -> None:
        pgconn = self._pgconn
        while self.taken < self.expected and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                continue  # what follows is the next statement's
            if result.status == _SYNC:
                answer, self._answer = self._answer, None
                if answer is None:
                    raise psycopg.OperationalError("the server gave no answer")
                self._stream.take(self.taken, answer)
                self.taken += 1
            elif result.status in _OK:
                self._answer = result  # after that of its preparation
            elif not isinstance(self._answer, psycopg.Error):
                error = errors.error_from_result(result)
                # Each time leaves what was prepared behind: not for an error of the execution.
                unprepared = self._answer is None and self.taken in self.preparing
                if unprepared or error.sqlstate in UNKNOWN_STATEMENT:
                    self._wire.forget()
                self._answer = error


def _poller(fd: int, *, write: bool) -> Callable[[float], bool]:
    """Waits so many seconds for a socket: True when it is ready."""
    if not hasattr(select, "poll"):  # Windows
        outgoing = [fd] if write else []

        def choose(seconds: float) -> bool:
            return any(select.select([fd], outgoing, [], seconds))

        return choose
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT if write else select.POLLIN)
    ask = poll.poll

    def wait(seconds: float) -> bool:
        return bool(ask(seconds * 1_000))

    return wait

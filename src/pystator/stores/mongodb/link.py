"""The way to a MongoDB server: PyMongo's clients, and the two functions that use them.

::

    operation --yields--> Request | Rows --> run  (any thread)  --> MongoClient       --> server
              <--sent---- reply | documents  arun (event loops) --> AsyncMongoClient, one a loop

Laws:

- An operation is a generator. It yields commands as MongoDB documents them, and is sent what the
  server replies. It does no I/O, so that both faces share it.
- Everything goes to the primary. A write says how safe it is to be: confirmed by a majority and
  journaled, unless the URL says otherwise; a read sees what is as safe.
- What is done about an error is decided by `Trouble`, for both faces.
"""

import re
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.uri_parser import split_options

from pystator.db.mongodb_url import MongoURL
from pystator.errors import ConfigurationError, StoreUnavailableError
from pystator.stores.mongodb.documents import Document
from pystator.stores.mongodb.errors import (
    UNSENDABLE,
    ClosedError,
    Trouble,
    Unanswered,
    check_reply,
    translate,
)

if TYPE_CHECKING:
    from pystator.stores.mongodb.loops import Loops

__all__ = ["LOCAL", "OWN", "Link", "Operation", "Request", "Rows"]

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 10.0
"""Seconds to wait for a server when the store connects, and for each connection."""

_OLDEST: Final = 13
"""The wire version of MongoDB 5.0."""

LOCAL: Final[Document] = {"level": "local"}
"""Read concern of who looks for the newest, however safe it is."""

OWN: Final[Document] = {"level": "own"}
"""Read concern of who looks for what was written a moment ago: as safe as writes are."""

_MAJORITY: Final[Document] = {"level": "majority"}

_STRANDED: Final[list[object]] = []
"""What a forked child must not close: it is the parent's."""


class Request(NamedTuple):
    """A command with one reply; answered with it.

    Attributes:
        command: As MongoDB documents it: its first name is the command's. It gets the link's write
            concern, or its read concern where it has none: `LOCAL` or `OWN`.
        reads: It writes nothing.
    """

    command: Document
    reads: bool = False


class Rows(NamedTuple):
    """A ``find`` or an ``aggregate`` that writes nothing; answered with a list of all documents."""

    command: Document


Operation = Generator[Request | Rows, Any, T]
"""Yields requests, is sent answers, is thrown `Unanswered` and `UNSENDABLE`; ends in its own."""

_CONCERNED: Final = frozenset({"find", "aggregate", "count", "distinct"})


class Link:
    """Clients of one server, for all threads and event loops of this process.

    Args:
        url: The server.
        database: The database's name.
        pool_size: Connections of the threads, and of each event loop, at most.
        timeout: Seconds to wait for a server, for a connection, and for the answer to a command.
    """

    def __init__(self, url: MongoURL, database: str, *, pool_size: int, timeout: float) -> None:
        self.url = url
        self.database = database
        self.timeout = timeout
        self.options = _options(url, pool_size, timeout)
        self.is_open = False
        self._write_concern: Document = {}
        self._read_concern = self._own_concern = LOCAL
        self._lock = threading.RLock()
        self._client: MongoClient[Document] | None = None
        self._database: Database[Document] | None = None
        self._loops: Loops | None = None

    # Opening and closing --------------------------------------------------------------------------

    def open(self, first: Callable[[], None]) -> None:
        """Connect, once; further calls wait for the first and do nothing.

        Args:
            first: Is called when commands can be sent, before anybody else sends one.

        Raises:
            StoreUnavailableError: There is no server to be had, or it is too old.
            ConfigurationError: PyMongo does not take the URL.
        """
        with self._lock:
            if self.is_open:
                return
            try:
                self._greet()
                first()
            except BaseException:
                self.close()
                raise
            self.is_open = True

    def _greet(self) -> None:
        """Make the client and wait for its server, not as long as for an answer later."""
        import pymongo

        _check_options(self.url)
        try:
            client = self._made()
            self._take_concerns(client)
            patience = min(_CONNECT_TIMEOUT, self.timeout)
            if "serverselectiontimeoutms" in self.url.options:
                patience = client.options.server_selection_timeout
            with pymongo.timeout(patience):
                hello = client.admin.command("hello")
        except PyMongoError as error:
            raise translate(error, self.url, written=False) from error
        if hello.get("maxWireVersion", 0) < _OLDEST:
            raise StoreUnavailableError(
                f"{self.url}: this MongoDB is too old; use 5.0 or newer",
                context={"database": str(self.url), "written": False},
            )
        if not hello.get("isWritablePrimary"):
            raise StoreUnavailableError(
                f"{self.url}: this member of a replica set only reads; name the set, with"
                " ?replicaSet=NAME, and without directConnection",
                context={"database": str(self.url), "written": False},
            )

    def _made(self) -> MongoClient[Document]:
        try:
            client: MongoClient[Document] = MongoClient(self.url.text, **self.options)
        except (OSError, ValueError) as error:  # what the driver says of a port, or of a file
            raise ConfigurationError(
                f"{self.url}: {self.url.scrub(str(error))}", context={"database": str(self.url)}
            ) from error
        self._client = client
        self._database = client[self.database]
        return client

    def _take_concerns(self, client: MongoClient[Document]) -> None:
        """The URL's, and what is safe where it says nothing.

        Raises:
            ConfigurationError: The URL asks for no answers.
        """
        write = client.write_concern
        if not write.acknowledged:
            raise ConfigurationError(
                f"{self.url}: w=0 asks for no answers, but every write needs one; leave it out",
                context={"database": str(self.url)},
            )
        concern = {"w": "majority", "j": True, **write.document}
        self._own_concern = _MAJORITY if concern["w"] == "majority" else LOCAL
        self._write_concern = concern
        self._read_concern = dict(client.read_concern.document) or self._own_concern

    def close(self) -> None:
        """Close every connection; those in use when they come back, and loops close their own."""
        with self._lock:
            client, self._client = self._client, None
            loops, self._loops = self._loops, None
            self._database = None
            self.is_open = False
        if client is not None:
            client.close()
        if loops is not None:
            loops.close()

    async def aclose(self) -> None:
        """Close what the running loop has of clients that `close` could not."""
        from pystator.stores.mongodb.loops import close_retired

        await close_retired()

    def forget(self) -> None:
        """In a forked child: the connections are the parent's; it makes its own."""
        self._lock = threading.RLock()
        _STRANDED.append((self._client, self._loops))
        self._client = None
        self._database = None
        self._loops = None

    def check_open(self) -> None:
        """Refuse to work before `open` and after `close`.

        Raises:
            StoreUnavailableError: It is not open.
        """
        if not self.is_open:
            raise StoreUnavailableError(
                f"the store of {self.url} is not connected: call store.connect() first",
                context={"database": str(self.url), "written": False},
            )

    # Blocking -------------------------------------------------------------------------------------

    def run(self, operation: Operation[T]) -> T:
        """Run an operation on this thread.

        Raises:
            StoreUnavailableError: As `pystator.stores.mongodb.errors` says.
        """
        talk = _Talk()
        try:
            while True:
                request = talk.next(operation)
                try:
                    talk.took(self.ask(request), request)
                except Exception as error:  # noqa: BLE001 - it decides
                    talk.failed(error)
        except StopIteration as done:
            result: T = done.value
            return result
        except Unanswered as error:
            raise error.told from error

    def ask(self, request: Request | Rows) -> Any:
        """Send one command.

        Raises:
            Unanswered: It is not known whether it was written.
            StoreUnavailableError: As `pystator.stores.mongodb.errors` says.
        """
        trouble: Trouble | None = None
        while True:
            database = self._database
            if database is None:
                database = self._opened()
            try:
                if isinstance(request, Rows):
                    return list(database.cursor_command(self._completed(request)))
                reply = database.command(self._completed(request))
            except PyMongoError as error:
                trouble = trouble or self.trouble(request)
                pause = self._pause(trouble, error)
            else:
                if not request.reads:
                    check_reply(reply, self.url)
                return reply
            time.sleep(pause)

    def _opened(self) -> Database[Document]:
        with self._lock:
            self.check_open()  # not before: it may be closed while this thread waits
            client = self._client
            return (self._made() if client is None else client)[self.database]

    # Async ----------------------------------------------------------------------------------------

    async def arun(self, operation: Operation[T]) -> T:
        """`run` on the running loop."""
        talk = _Talk()
        try:
            while True:
                request = talk.next(operation)
                try:
                    talk.took(await self.aask(request), request)
                except Exception as error:  # noqa: BLE001 - it decides
                    talk.failed(error)
        except StopIteration as done:
            result: T = done.value
            return result
        except Unanswered as error:
            raise error.told from error

    async def aask(self, request: Request | Rows) -> Any:
        """`ask` on the running loop."""
        from asyncio import sleep

        trouble: Trouble | None = None
        while True:
            database = await self._loop_database()
            try:
                if isinstance(request, Rows):
                    cursor = await database.cursor_command(self._completed(request))
                    return await cursor.to_list()
                reply = await database.command(self._completed(request))
            except PyMongoError as error:
                trouble = trouble or self.trouble(request)
                pause = self._pause(trouble, error)
            else:
                if not request.reads:
                    check_reply(reply, self.url)
                return reply
            await sleep(pause)

    async def _loop_database(self) -> Any:
        loops = self._loops
        if loops is None:
            from pystator.stores.mongodb.loops import Loops  # blocking programs never pay for it

            with self._lock:
                self.check_open()
                if self._loops is None:
                    self._loops = Loops(self)
                loops = self._loops
        return await loops.database()

    # What both need -------------------------------------------------------------------------------

    def _completed(self, request: Request | Rows) -> Document:
        """The command with its concerns; a copy, for the driver adds to it."""
        command = request.command
        if isinstance(request, Request) and not request.reads:
            return {**command, "writeConcern": self._write_concern}
        if next(iter(command)) not in _CONCERNED:
            return dict(command)
        concern = command.get("readConcern", self._read_concern)
        return {**command, "readConcern": self._own_concern if concern is OWN else concern}

    def trouble(self, request: Request | Rows) -> Trouble:
        """For a command that met an error."""
        reads = isinstance(request, Rows) or request.reads
        return Trouble(self.url, reads=reads, patience=self.timeout)

    def _pause(self, trouble: Trouble, error: PyMongoError) -> float:
        """How long to wait before the next try; a client that was closed may have a successor."""
        try:
            return trouble.pause_after(error)
        except ClosedError:
            self.check_open()
            return 0.0


def _check_options(url: MongoURL) -> None:
    """Refuse options that the driver would leave out with a warning: ``tls=1`` is no TLS at all.

    Raises:
        ConfigurationError: It does not know one, or not its value.
    """
    for option in filter(None, re.split("[&;]", url.text.partition("?")[2])):
        try:
            split_options(option, validate=True, warn=False)
        except (PyMongoError, OSError, ValueError, TypeError) as error:
            name, text = option.partition("=")[0], url.scrub(str(error)).partition(" Refer to")[0]
            raise ConfigurationError(
                f"{url}: the option {name!r} of the URL: {text}",
                context={"database": str(url), "option": name},
            ) from error


def _options(url: MongoURL, pool_size: int, timeout: float) -> dict[str, Any]:
    """Of the client, where the URL says nothing of them."""
    wait = max(int(timeout * 1_000), 1)
    wishes: dict[str, tuple[str, Any]] = {
        "maxpoolsize": ("maxPoolSize", pool_size),
        "serverselectiontimeoutms": ("serverSelectionTimeoutMS", wait),
        "waitqueuetimeoutms": ("waitQueueTimeoutMS", wait),
        "connecttimeoutms": ("connectTimeoutMS", min(wait, int(_CONNECT_TIMEOUT * 1_000))),
        "sockettimeoutms": ("socketTimeoutMS", wait),
        "appname": ("appname", "pystator"),
    }
    if "timeoutms" in url.options:
        wishes = {"maxpoolsize": wishes["maxpoolsize"], "appname": wishes["appname"]}
    return {name: value for key, (name, value) in wishes.items() if key not in url.options}


class _Talk:
    """Where an operation and its driver stand: what it is told next, and whether it wrote."""

    __slots__ = ("_answer", "_thrown", "_wrote")

    def __init__(self) -> None:
        self._answer: Any = None
        self._thrown: Exception | None = None
        self._wrote = False

    def next(self, operation: Operation[Any]) -> Request | Rows:
        """What the operation asks next."""
        thrown, self._thrown = self._thrown, None
        answer, self._answer = self._answer, None
        return operation.send(answer) if thrown is None else operation.throw(thrown)

    def took(self, answer: Any, request: Request | Rows) -> None:
        """Keep an answer for the operation."""
        self._answer = answer
        if isinstance(request, Request) and not request.reads:
            self._wrote = True

    def failed(self, error: Exception) -> None:
        """Tell the operation if it can do something about it, or the caller.

        Raises:
            Exception: The error itself, for the caller.
        """
        if isinstance(error, UNSENDABLE):
            self._thrown = error
        elif isinstance(error, Unanswered):
            self._thrown = error
            self._wrote = True
        else:
            if self._wrote and isinstance(error, StoreUnavailableError):
                error.context.pop("written", None)  # it is said of the whole operation
            raise error

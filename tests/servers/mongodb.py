"""MongoDB for the tests: ``mongod`` where there is one, else a server that speaks its protocol."""

import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import pymongo
from pymongo.errors import PyMongoError

from servers import find
from servers.find import NoServerError
from servers.program import Program

__all__ = ["Databases", "MongoDB", "is_replica_set", "url_with"]

SYSTEM: Final = {"admin", "config", "local"}
"""Databases of the server itself."""

PREFIX: Final = "pystator_test_"
"""Databases of tests begin with it."""


class MongoDB(Program):
    """A server of our own.

    Args:
        owner: The process with which it ends.
        options: Of its command line.
        replica: It is a replica set of one; else a standalone server.
        durable: What it acknowledged outlasts a ``kill -9``.
    """

    def __init__(
        self, owner: int, *options: str, replica: bool = False, durable: bool = False
    ) -> None:
        self.mongod = find.mongodb()
        program = self.mongod or find.mongodb_wheel()
        if program is None:
            raise NoServerError("mongodb")
        super().__init__(owner, program)
        if self.mongod is None and not is_readable_python():
            self.user = None
        self.options = options
        self.replica = replica
        self.durable = durable
        # The other server than mongod takes two seconds to end in good order, without need.
        self.stop_signal = signal.SIGTERM if durable else signal.SIGKILL

    @property
    def url(self) -> str:
        """The server; a database's name goes before the question mark."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    @property
    def replica_url(self) -> str:
        name = "pystator" if self.mongod else "secantus"
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={name}"

    def command(self) -> list[str]:
        if self.mongod is not None:
            command = [str(self.mongod), "--bind_ip", "127.0.0.1", "--port", str(self.port)]
            command += ["--dbpath", str(self.data), *self.options]
            return [*command, "--replSet", "pystator"] if self.replica else command
        command = [
            sys.executable,
            "-m",
            "secantus",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command += ["--storage-path", str(self.data), "--cache-size", "128M"]
        command += ["--log-level", "WARNING", *self.options]
        command += [] if self.replica else ["--standalone"]
        return [*command, "--sync-on-commit"] if self.durable else command

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                pass
            with self.client(serverSelectionTimeoutMS=2_000) as client:
                return self._is_primary(client)
        except (OSError, PyMongoError):
            return False

    def _is_primary(self, client: pymongo.MongoClient[Any]) -> bool:
        if client.admin.command("hello")["isWritablePrimary"]:
            return True
        if self.mongod is not None and self.replica:
            members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
            client.admin.command("replSetInitiate", {"_id": "pystator", "members": members})
        return False

    def client(self, **options: Any) -> pymongo.MongoClient[Any]:
        """A driver's client; whoever asks closes it."""
        return pymongo.MongoClient(self.url, **options)


class Databases:
    """Databases of one server, ours or the user's; only those that were made here are removed."""

    def __init__(self, url: str) -> None:
        self.url = url

    def borrow(self) -> str:
        """The URL of a database in which there is nothing."""
        return url_with(self.url, f"{PREFIX}{uuid.uuid4().hex}")

    def give_back(self, url: str) -> None:
        name = url.partition("?")[0].rpartition("/")[2]
        assert name.startswith(PREFIX)
        with self._client() as client:  # who may read and write may not always drop a database
            for collection in client[name].list_collection_names():
                client[name].drop_collection(collection)

    def empty(self) -> None:
        """Remove all there is; only in a server of ours."""
        with self._client() as client:
            for name in set(client.list_database_names()) - SYSTEM:
                client.drop_database(name)

    @contextmanager
    def _client(self) -> Iterator[pymongo.MongoClient[Any]]:
        with pymongo.MongoClient[Any](self.url, serverSelectionTimeoutMS=10_000) as client:
            yield client


def url_with(url: str, database: str) -> str:
    """The same server and credentials, another database."""
    server, _, options = url.partition("?")
    scheme, _, rest = server.partition("://")
    hosts, _, named = rest.partition("/")
    fields = dict(parse_qsl(options))
    if "@" in hosts and named:  # its database is where the user is known, unless it says otherwise
        fields.setdefault("authSource", named)
    tail = f"?{urlencode(fields, quote_via=quote)}" if fields else ""
    return f"{scheme}://{hosts}/{database}{tail}"


def is_replica_set(url: str) -> bool:
    with pymongo.MongoClient[Any](url, serverSelectionTimeoutMS=10_000) as client:
        return "setName" in client.admin.command("hello")


def is_readable_python() -> bool:
    """Whether an unprivileged user can run the Python that runs the tests."""
    real = Path(sys.executable).resolve()
    return all(each.stat().st_mode & 0o001 for each in (real, *real.parents))

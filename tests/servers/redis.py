"""Redis and Valkey for the tests: a server, and places for keys in it."""

import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import redis

from servers import find
from servers.find import NoServerError
from servers.program import Program

__all__ = ["OURS", "QUICK", "SAFE", "Keys", "Redis", "program_of"]

OURS: Final = "pystator-tests"
"""The name of connections that stay open between tests."""

QUICK: Final = ("--appendonly", "yes", "--appendfsync", "no")
"""Options of a server that nobody kills."""

SAFE: Final = ("--appendonly", "yes", "--appendfsync", "always")
"""Options of a server that keeps what it acknowledged."""


class Redis(Program):
    """A server of our own.

    Args:
        owner: The process with which it ends.
        options: Of its command line: ``"--maxmemory", "10mb"``.
        name: ``redis`` or ``valkey``.
        password: What clients have to give.
    """

    def __init__(
        self, owner: int, *options: str, name: str = "redis", password: str | None = None
    ) -> None:
        super().__init__(owner, program_of(name))
        self.options = options
        self.password = password

    @property
    def url(self) -> str:
        secret = "" if self.password is None else f":{quote(self.password, safe='')}@"
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        command = [str(self.program), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.data), "--save", "", "--loglevel", "warning"]
        if self.password is not None:
            command += ["--requirepass", self.password]
        return [*command, *self.options]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                return bool(client.ping())
        except (
            redis.ConnectionError,
            redis.TimeoutError,
            redis.ResponseError,
        ):  # it loads its file
            return False

    def client(self, **options: Any) -> redis.Redis:
        """A driver's client; whoever asks closes it."""
        return redis.Redis.from_url(self.url, **options)


class Keys:
    """Places for the tests' keys in one server: ours, of which a test has all, or the user's.

    In the user's server every test has a prefix of its own, and nothing else is ever removed.
    """

    def __init__(self, url: str, *, ours: bool) -> None:
        self.url = url
        self.ours = ours

    def borrow(self) -> str:
        """A URL below which there is nothing."""
        if self.ours:
            return self.url
        return with_options(self.url, key_prefix=f"pystator-test-{uuid.uuid4().hex}")

    def give_back(self, url: str) -> None:
        """Empty the place."""
        with redis.Redis.from_url(self.url) as client:
            if self.ours:
                empty(client)
            else:
                remove(client, url.rpartition("key_prefix=")[2])


def empty(client: redis.Redis) -> None:
    """Cut everybody else off and remove all there is."""
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    client.execute_command("FLUSHALL", "SYNC")


def remove(client: redis.Redis, prefix: str) -> None:
    """Remove the keys of a prefix, also of those whose name begins with a hash tag."""
    for pattern in (f"{prefix}:*", f"{{{prefix}:*"):
        for key in list(
            client.scan_iter(pattern, count=1_000)
        ):  # one by one: in a cluster each has its slot
            client.unlink(key)


def with_options(url: str, **options: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(options)}"


def program_of(name: str) -> Path:
    """``redis-server`` or ``valkey-server``."""
    found: Path | None = getattr(find, name)() or getattr(find, f"{name}_wheel")()
    if found is None:
        raise NoServerError(name)
    return found

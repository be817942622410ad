"""Serve: one process, or several workers that one watches.

Laws:

- Who cannot be served is told before anything listens: a port that is taken, an address that is
  open without authentication, a store that cannot be reached. Each is one sentence.
- Asked to stop (SIGTERM, Ctrl-C), a process takes no new connection, ends its streams, finishes
  what is in flight within the grace period, closes the store, and ends with 0. Asked twice, it
  stops at once.
- Workers share one socket and nothing else: each opens its own store. One that dies is replaced;
  all end when the one that watches them does.
"""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import replace
from ipaddress import ip_address
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.lifespan.off import LifespanOff

from pystator.api.app import create_app
from pystator.api.layers.access import configure_logging
from pystator.api.layers.protect import authenticator_of
from pystator.api.security.origins import LOOPBACK
from pystator.api.server.protocol import HEAD_LIMIT, Protocol
from pystator.api.settings import ApiSettings
from pystator.errors import ConfigurationError
from pystator.records import record
from pystator.service.application import load_application

__all__ = ["Serving", "allow_connections", "listen", "run", "url_of"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_MOST_FILES: Final = 65_536
"""So many files a process asks to have open at once; a connection is one."""

_KEPT_FILES: Final = 128
"""So many are not for connections: the store, logs and workers need some."""


@record
class Serving:
    """What is served, where and how.

    Attributes:
        store: The store's URL.
        app: ``module:factory`` of the application; None for the machines that are stored.
        settings: How the API behaves.
        host: Where it listens.
        port: 0 takes any that is free.
        workers: How many processes.
        log_format: ``text`` or ``json``.
        grace: Seconds for what is in flight when it is asked to stop.
    """

    store: str
    app: str | None
    settings: ApiSettings
    host: str = "127.0.0.1"
    port: int = 8004
    workers: int = 1
    log_format: str = "text"
    grace: int = 30


# Where to listen ----------------------------------------------------------------------------------


def listen(serving: Serving) -> tuple[Serving, socket.socket]:
    """The socket, and what is served with what follows from its address.

    Raises:
        ConfigurationError: It cannot be, or must not be without authentication.
    """
    family, address = _address(serving.host, serving.port)
    is_loopback = ip_address(address[0].partition("%")[0]).is_loopback
    is_open = not authenticator_of(serving.settings).is_on
    if is_open and not is_loopback and not serving.settings.insecure:
        raise ConfigurationError(
            f"{serving.host} is reachable from other machines, and nobody is asked for a key: make"
            " one (`pystator keys create NAME --scope admin`), configure JWT, listen on 127.0.0.1"
            " only, or say --insecure",
            context={"host": serving.host},
        )
    if is_open and is_loopback and not serving.settings.hosts:
        names = tuple(sorted(LOOPBACK | {serving.host.lower()}))
        serving = replace(serving, settings=replace(serving.settings, hosts=names))
    return serving, _bind(family, address, serving)


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The address that a host's name stands for; of several the first, IPv4 before IPv6."""
    if not host:
        raise ConfigurationError("--host '' is no address of this machine: it is empty")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigurationError(
            f"--host {host!r} is no address of this machine: {error}", context={"host": host}
        ) from error
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def _bind(
    family: socket.AddressFamily, address: tuple[Any, ...], serving: Serving
) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(2_048)
    except OSError as error:
        made.close()
        where = f"{serving.host}:{serving.port}"
        taken = error.errno is not None and "in use" in str(error.strerror).lower()
        why = "another program listens there already" if taken else str(error.strerror).lower()
        raise ConfigurationError(
            f"cannot listen on {where}: {why}; choose another place with --host and --port",
            context={"host": serving.host, "port": serving.port},
        ) from error
    made.setblocking(False)
    made.set_inheritable(True)
    return made


def url_of(listening: socket.socket) -> str:
    """The address as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# One process --------------------------------------------------------------------------------------


def run(
    serving: Serving,
    listening: socket.socket,
    on_ready: Callable[[], None],
    signals: tuple[signal.Signals, ...] = _SIGNALS,
) -> None:
    """Serve until somebody asks to stop.

    Raises:
        FSMError: The application or its store cannot be opened.
    """
    configure_logging(serving.log_format)
    application = None if serving.app is None else load_application(serving.app)
    app = create_app(application, store=serving.store, settings=serving.settings)

    class Timed(Protocol):
        head_seconds = serving.settings.request_seconds
        most_connections = allow_connections(serving.settings)

    config = uvicorn.Config(
        app,
        http=Timed,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_graceful_shutdown=serving.grace,
        backlog=2_048,
    )
    config.load()
    config.lifespan_class = _Lifespan
    server = Server(config, app, on_ready, signals)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listening]))


def allow_connections(settings: ApiSettings) -> int:
    """Let this process have as many open files as the system does; the connections they allow."""
    most = settings.most_connections
    try:
        import resource  # Unix has it
    except ImportError:
        return most
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if files != resource.RLIM_INFINITY and files < wanted:
        with contextlib.suppress(OSError, ValueError):  # what cannot be had is done without
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            files = wanted
    return most if files == resource.RLIM_INFINITY else max(min(most, files - _KEPT_FILES), 1)


class _Lifespan(LifespanOff):
    """Opens and closes the application; its errors go to who started it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        app: Any = config.app
        self._context: contextlib.AbstractAsyncContextManager[Any] = app.router.lifespan_context(
            app
        )

    async def startup(self) -> None:
        """Open it."""
        await self._context.__aenter__()

    async def shutdown(self) -> None:
        """Close it."""
        await self._context.__aexit__(None, None, None)


class Server(uvicorn.Server):
    """uvicorn's server, which ends streams when it is asked to stop, and then ends well."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        on_ready: Callable[[], None],
        signals: tuple[signal.Signals, ...],
    ) -> None:
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready
        self._signals = signals

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, listen, say so."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is here now stays: it is not looked at with every collection
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, finish what is in flight."""
        self._app.state.services.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Within it signals ask to stop; what was asked for is done in the end, not asked again."""
        before = {number: signal.signal(number, self.handle_exit) for number in self._signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second time at once."""
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True

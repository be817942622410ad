"""The way to a Redis server or a cluster: where its nodes are, and who sends what to them.

::

    run  (any thread)  --> Pool, one a node ----------+--> Wire --> server
    arun (event loops) --> LoopPool, one a loop and node -'

What is sent again, and to which node, is decided by `pystator.stores.redis.talk` for both faces.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.crc import key_slot

from pystator.db.redis_url import RedisURL
from pystator.errors import StoreUnavailableError
from pystator.stores.glance import Glance
from pystator.stores.redis.errors import LOST, Complaint, translate
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.ops import Command, One, Request
from pystator.stores.redis.pool import Pool
from pystator.stores.redis.talk import (
    Broken,
    Exchange,
    Part,
    Pause,
    Result,
    Step,
    refresh,
    talk,
)
from pystator.stores.redis.wire import Address, Wire, connect

if TYPE_CHECKING:
    from pystator.stores.redis.loops import LoopPool, Loops

__all__ = ["Link"]

T = TypeVar("T")

FEW: Final = 8
"""So many commands take a shorter way."""

_STRANDED: Final[list[object]] = []
"""What a forked child must not close: it is the parent's."""


class Link:
    """Connections to one server or cluster, for all threads and event loops of this process.

    Args:
        url: The server.
        key_prefix: What keys begin with.
        pool_size: Connections of the threads, and of each event loop, to one server, at most.
        timeout: Seconds to wait for a connection, and for an answer.

    Attributes:
        layout: The names of keys; of one server until it is open.
        is_cluster: There are several nodes, each of which has some of the slots.
        epoch: What the data must belong to for anything to be written; None for whatever it is.
        changes: Connections that were made, or found lost: a server may have been started again.
    """

    def __init__(self, url: RedisURL, *, key_prefix: str, pool_size: int, timeout: float) -> None:
        self.url = url
        self.key_prefix = key_prefix
        self.pool_size = pool_size
        self.timeout = timeout
        self.epoch: str | None = None
        self.changes = 0
        self.is_open = False
        self.is_cluster = False
        self.layout = Layout(key_prefix, is_cluster=False)
        self._slots: list[int] = []
        self._homes: list[Address] = [None]
        self._nodes: list[Address] = [None]
        self._lock = threading.RLock()
        self._pools: dict[Address, Pool] = {}
        self._loops: Loops | None = None
        turn = threading.Lock()
        self._glances = (Glance(turn), Glance(turn))  # at what was written, at what was read

    # Opening and closing --------------------------------------------------------------------------

    def open(self, first: Callable[[Wire], bool]) -> None:
        """Connect, once; further calls wait for the first and do nothing.

        Args:
            first: Is given a connection before anybody else gets one, and says whether this is a
                node of a cluster.

        Raises:
            StoreUnavailableError: There is no connection to be had.
        """
        with self._lock:
            if self.is_open:
                return
            try:
                wire = connect(self.url, None, self.timeout)
                try:
                    self._become(is_cluster=first(wire))
                finally:
                    wire.close()
            except LOST as error:
                raise translate(error, self.url, written=False) from error
            self.is_open = True
            try:
                if self.is_cluster:
                    self._drive(refresh(self))
                    self._check_homes()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close every connection; those in use are closed when they come back."""
        with self._lock:
            pools, self._pools = self._pools, {}
            loops, self._loops = self._loops, None
            self.is_open = False
        for pool in pools.values():
            pool.retire()
        if loops is not None:
            loops.close()

    def forget(self) -> None:
        """In a forked child: the connections are the parent's; it makes its own."""
        _STRANDED.append((self._pools, self._loops))
        self._lock = threading.RLock()
        turn = threading.Lock()
        self._glances = (Glance(turn), Glance(turn))
        self._pools = {}
        self._loops = None

    def check_open(self) -> None:
        """Refuse to work before `open` and after `close`.

        Raises:
            StoreUnavailableError: It is not open.
        """
        if not self.is_open:
            raise StoreUnavailableError(
                f"the store of {self.url} is not connected: call store.connect() first",
                context={"server": str(self.url), "written": False},
            )

    def exhausted(self) -> StoreUnavailableError:
        """There was no connection in time."""
        return StoreUnavailableError(
            f"{self.url}: all {self.pool_size} connections were in use for {self.timeout:g} s: "
            "give the store a larger pool_size, or see what keeps them busy",
            context={"server": str(self.url), "pool_size": self.pool_size, "written": False},
        )

    # Nodes ----------------------------------------------------------------------------------------

    def _become(self, *, is_cluster: bool) -> None:
        self.is_cluster = is_cluster
        self.layout = Layout(self.key_prefix, is_cluster=is_cluster)
        self._slots = [key_slot(pre.encode()) for pre in self.layout.pres]
        self._homes = [None] * len(self._slots)
        self._nodes = [None]

    def home(self, partition: int) -> Address:
        """The server that has a partition."""
        return self._homes[partition]

    def nodes(self) -> list[Address]:
        """All that are known; the one that the URL names comes last."""
        return list(self._nodes)

    def named(self, name: str, asked: Address) -> Address:
        """The address in a redirection, ``host:port``; without a host it is the one asked."""
        host, _, port = name.rpartition(":")
        return (host.strip("[]") or (asked or self._seed())[0], int(port))

    def moved(self, partition: int, address: Address) -> None:
        """A node says that another one has this partition."""
        self._homes[partition] = address

    def learn(self, ranges: list[list[Any]], asked: Address) -> None:
        """Take over what a node says of all slots.

        Args:
            ranges: The reply to ``CLUSTER SLOTS``.
            asked: The node.
        """
        homes: list[Address] = list(self._homes)
        nodes: dict[Address, None] = {}
        for first, last, *servers in ranges:
            addresses = [self._address(server, asked) for server in servers]
            nodes.update(dict.fromkeys(addresses))
            for partition, slot in enumerate(self._slots):
                if first <= slot <= last and addresses:
                    homes[partition] = addresses[0]
        self._homes = homes
        self._nodes = [*nodes, None]
        for address in self._pools.keys() - nodes.keys():
            gone = self._pools.pop(address, None)
            if gone is not None:
                gone.retire()

    def _address(self, server: list[Any], asked: Address) -> Address:
        host, port = server[0], server[1]
        return (host if host and host != "?" else (asked or self._seed())[0], int(port))

    def _seed(self) -> tuple[str, int]:
        return (self.url.host or "localhost", self.url.port)

    def _check_homes(self) -> None:
        """Refuse a cluster some of whose slots have no node.

        Raises:
            StoreUnavailableError: It is one.
        """
        if None in self._homes:
            raise translate(Complaint("CLUSTERDOWN Hash slot not served"), self.url, written=False)

    # Blocking -------------------------------------------------------------------------------------

    def run(self, request: Request) -> list[Any]:
        """The replies to commands, in order.

        Raises:
            FSMError: As `pystator.stores.redis.errors` says.
        """
        commands = request.commands
        if isinstance(commands, One):
            return [self.run_one(*commands.command, reads=request.reads, blames=request.blames)]
        first: Result | None = None
        if isinstance(commands, list) and 0 < len(commands) <= FEW:
            first = self._ask_few(commands, reads=request.reads)
            if isinstance(first, list) and Complaint not in set(map(type, first)):
                return first
        return self._drive(talk(self, request, first))

    def run_one(self, partition: int, command: bytes, *, reads: bool, blames: bool = False) -> Any:
        """The reply to one command, by the shortest way: see `Request`.

        Raises:
            FSMError: As `run`.
        """
        reply = self._ask(self._homes[partition], command, reads=reads)
        if type(reply) is not Complaint and type(reply) is not Broken:
            return reply
        first: Result = reply if type(reply) is Broken else [reply]
        request = Request(One(partition, command), reads, blames)
        return self._drive(talk(self, request, first))[0]

    def _ask_few(self, commands: Sequence[Command], *, reads: bool) -> Result | None:
        """The replies to a few commands for one server; None when they are for several."""
        homes = self._homes
        address = homes[commands[0][0]]
        if any(homes[partition] != address for partition, _ in commands):
            return None
        packed = b"".join([command for _, command in commands])
        sent = False
        try:
            pool = self._pools.get(address) or self.pool(address)
            wire = pool.take()
            wire.sent = False
            try:
                return wire.ask_few(packed, len(commands), self._glances[reads])
            finally:
                sent = wire.sent
                pool.give_back(wire)
        except LOST as error:
            return Broken(error, sent)

    def _ask(self, address: Address, command: bytes, *, reads: bool) -> Any:
        """One reply, or why there is none."""
        sent = False
        try:
            pool = self._pools.get(address) or self.pool(address)
            wire = pool.take()
            wire.sent = False
            try:
                return wire.ask(command, self._glances[reads])
            finally:
                sent = wire.sent
                pool.give_back(wire)
        except LOST as error:
            return Broken(error, sent)

    def _drive(self, steps: Generator[Step, Any, T]) -> T:
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, Exchange):
                    answer = self._exchange(step.parts)
                elif isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    self.pool(step.address).retire()
        except StopIteration as done:
            result: T = done.value
            return result

    def _exchange(self, parts: Sequence[Part]) -> list[Result]:
        """Send all, then receive all: nodes work at the same time."""
        results: list[Result] = []
        wires: list[Wire | None] = []
        try:
            for part in parts:
                wire: Wire | None = None
                try:
                    wire = self.pool(part.address).take()
                    wire.sent = False
                    wires.append(wire)
                    wire.send(part.chunks())
                except (*LOST, StoreUnavailableError) as error:
                    if wire is None:
                        wires.append(None)
                    results.append(Broken(error, wire is not None and wire.sent))
                else:
                    results.append([])
            for place, (part, wire) in enumerate(zip(parts, wires, strict=True)):
                if wire is None or isinstance(results[place], Broken):
                    continue
                try:
                    results[place] = wire.receive(len(part.packed))
                except LOST as error:
                    results[place] = Broken(error, wire.sent)
        finally:
            for wire in wires:
                if wire is not None:
                    wire.pool.give_back(wire)
        return results

    def pool(self, address: Address) -> Pool:
        """The connections of the threads to a server.

        Raises:
            StoreUnavailableError: It is not open.
        """
        with self._lock:
            self.check_open()  # not before: it may be closed while this thread waits
            found = self._pools.get(address)
            if found is None:
                found = self._pools[address] = Pool(self, address)
            return found

    # Async ----------------------------------------------------------------------------------------

    async def arun(self, request: Request) -> list[Any]:
        """`run` on the running loop."""
        from pystator.stores.redis.loops import drive  # blocking programs never pay for it

        return await drive(self, talk(self, request))

    def loop_pool(self, address: Address) -> "LoopPool":
        """The connections of the running loop to a server.

        Raises:
            StoreUnavailableError: It is not open.
        """
        loops = self._loops
        if loops is None:
            from pystator.stores.redis.loops import Loops

            with self._lock:
                self.check_open()
                if self._loops is None:
                    self._loops = Loops(self)
                loops = self._loops
        return loops.pool(address)

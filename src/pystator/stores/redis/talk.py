"""What is done with a request: where its commands go, and which of them are sent again.

::

    request --> parts, one a node --> replies --+--> all are answers: done
                     ^                          +--> MOVED, ASK: to where the slot is now
                     |                          +--> NOSCRIPT: after the scripts
                     '--- those that were       +--> LOADING, TRYAGAIN, ...: in a moment
                          surely not executed <-'--> anything else: the caller is told

A `Talk` is a generator: it yields a `Step` and ends in the replies. Nothing here does I/O:
`pystator.stores.redis.link` does, for threads and for event loops.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pystator.records import record
from pystator.stores.redis.errors import Complaint, Trouble, may_wait
from pystator.stores.redis.ops import Request, pack
from pystator.stores.redis.scripts import loads
from pystator.stores.redis.wire import Address

if TYPE_CHECKING:
    from pystator.stores.redis.link import Link

__all__ = ["Broken", "Exchange", "Part", "Pause", "Result", "Retire", "Step", "Talk", "talk"]

CHUNK: Final = 32_768
"""Bytes that are sent while the next commands are packed."""

_ASKING: Final[bytes] = pack(("ASKING",))
_SLOTS: Final[bytes] = pack(("CLUSTER", "SLOTS"))


class Part:
    """Commands for one server.

    Attributes:
        packed: Those that were taken so far; all of them when it was sent.
    """

    __slots__ = ("_commands", "address", "packed")

    def __init__(self, address: Address, commands: Iterable[bytes]) -> None:
        self.address = address
        self.packed: list[bytes] = []
        self._commands = commands

    def chunks(self) -> Iterator[bytes]:
        """The commands, many at once; further ones are made when they are asked for."""
        waiting: list[bytes] = []
        size = 0
        for command in self._commands:
            self.packed.append(command)
            waiting.append(command)
            size += len(command)
            if size > CHUNK:
                yield b"".join(waiting)
                waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)


@record
class Broken:
    """The connection was lost, or could not be made.

    Attributes:
        sent: Some of the commands may have reached the server.
    """

    error: Exception
    sent: bool


Result = list[Any] | Broken


@record
class Exchange:
    """Answered with a `Result` for each part: its replies in order, or why there are none."""

    parts: Sequence[Part]


@record
class Pause:
    """Answered after so many seconds."""

    seconds: float


@record
class Retire:
    """Answered when no connection to this server is used any more that was made before."""

    address: Address


Step = Exchange | Pause | Retire
Talk = Generator[Step, Any, list[Any]]


def talk(link: "Link", request: Request, first: Result | None = None) -> Talk:
    """Send commands until each has its reply.

    Args:
        link: To where.
        request: The commands.
        first: What became of them when they were sent already, all to one server.

    Raises:
        FSMError: One cannot be answered.
    """
    return (yield from _Conversation(link, request).run(first))


class _Conversation:
    """The commands of a request by their numbers, and what is known of each."""

    def __init__(self, link: "Link", request: Request) -> None:
        self._link = link
        self._request = request
        self._trouble: Trouble | None = None
        self._commands: list[bytes] = []
        self._partitions: list[int] = []
        self._replies: list[Any] = []
        self._asks: dict[int, Address] = {}
        self._again: list[int] = []
        self._cause: Exception | None = None
        self._unknown: set[Address] = set()
        self._retired: set[Address] = set()
        self._is_moved = False

    def run(self, first: Result | None) -> Talk:
        if self._link.is_cluster or first is not None:
            for partition, command in self._request.commands:
                self._partitions.append(partition)
                self._commands.append(command)
            self._replies = [None] * len(self._commands)
            left: Sequence[int] = range(len(self._commands))
        else:
            left = yield from self._stream()
        if first is not None:
            self._take(self._link.home(self._partitions[0]), left, first)
            left = yield from self._prepare()
        while left:
            grouped = self._grouped(left)
            parts = [Part(address, self._packed(places)) for address, places in grouped]
            results: list[Result] = yield Exchange(parts)
            for (address, places), result in zip(grouped, results, strict=True):
                self._take(address, places, _answers(places, result, self._asks))
            left = yield from self._prepare()
        return self._replies

    def _stream(self) -> Generator[Step, Any, Sequence[int]]:
        """The first time, to one server: it works on what has been packed already."""
        part = Part(None, (command for _, command in self._request.commands))
        [result] = yield Exchange([part])
        answered: Result = result
        if isinstance(answered, Broken):
            for _ in part.chunks():
                pass  # the rest of them
        elif Complaint not in set(map(type, answered)):
            self._replies = answered
            return ()
        self._commands = part.packed
        self._partitions = [0] * len(part.packed)
        self._replies = [None] * len(part.packed)
        self._take(None, range(len(part.packed)), answered)
        return (yield from self._prepare())

    def _grouped(self, left: Sequence[int]) -> list[tuple[Address, list[int]]]:
        """The servers, and the commands for each.

        In one order for all threads: who holds connections and waits for one more never waits for
        somebody who waits for these.
        """
        grouped: dict[Address, list[int]] = {}
        for place in left:
            address = self._asks.get(place) or self._link.home(self._partitions[place])
            grouped.setdefault(address, []).append(place)
        return sorted(grouped.items(), key=_name)

    def _packed(self, places: list[int]) -> list[bytes]:
        asks = self._asks
        if not asks:
            return [self._commands[place] for place in places]
        packed: list[bytes] = []
        for place in places:
            if place in asks:
                packed.append(_ASKING)
            packed.append(self._commands[place])
        return packed

    # Replies --------------------------------------------------------------------------------------

    def _take(self, address: Address, places: Sequence[int], result: Result) -> None:
        if isinstance(result, Broken):
            self._link.changes += 1
            if result.sent and not self._request.reads:
                raise self._troubled().told(result.error, written=None) from result.error
            self._again += places
            self._cause = result.error
            self._is_moved = True
            return
        for place, reply in zip(places, result, strict=True):
            self._replies[place] = reply
            self._asks.pop(place, None)
            if type(reply) is Complaint:
                self._complain(address, place, reply)

    def _complain(self, address: Address, place: int, complaint: Complaint) -> None:
        code = complaint.code
        if code == "NOSCRIPT":
            self._unknown.add(address)
        elif code in {"MOVED", "ASK"} and self._link.is_cluster:
            target = self._link.named(complaint.text.split()[2], address)
            if code == "ASK":
                self._asks[place] = target
            else:
                self._link.moved(self._partitions[place], target)
                self._is_moved = True
        elif may_wait(complaint):
            self._is_moved = True
            if code == "READONLY":
                self._retired.add(address)
        elif self._request.blames:
            return
        else:
            raise self._troubled().told(complaint, written=None if self._wrote() else False)
        self._again.append(place)
        self._cause = complaint

    def _wrote(self) -> bool:
        """One of the commands was executed."""
        return not self._request.reads and any(
            reply is not None and type(reply) is not Complaint for reply in self._replies
        )

    def _prepare(self) -> Generator[Step, Any, Sequence[int]]:
        """Do what has to be done before the rest is sent again; which it is."""
        left, self._again = self._again, []
        if not left:
            return left
        cause = self._cause or EOFError()
        yield Pause(self._troubled().pause_after(cause, wrote=self._wrote()))
        for address in self._retired:
            yield Retire(address)
        if self._unknown:
            yield Exchange([Part(address, loads()) for address in self._unknown])
        if self._is_moved and self._link.is_cluster:
            yield from refresh(self._link)
        self._is_moved = False
        self._unknown.clear()
        self._retired.clear()
        return left

    def _troubled(self) -> Trouble:
        if self._trouble is None:
            link = self._link
            self._trouble = Trouble(link.url, reads=self._request.reads, patience=link.timeout)
        return self._trouble


def refresh(link: "Link") -> Generator[Step, Any, None]:
    """Ask the nodes, one after the other, which of them has which slot now."""
    for address in link.nodes():
        results: list[Result] = yield Exchange([Part(address, [_SLOTS])])
        reply: Any = None if isinstance(results[0], Broken) else results[0][0]
        if reply and not isinstance(reply, Complaint):
            link.learn(reply, address)
            return


def _name(group: tuple[Address, list[int]]) -> tuple[str, int]:
    return group[0] or ("", 0)


def _answers(places: Sequence[int], result: Result, asks: dict[int, Address]) -> Result:
    """Without those to ``ASKING``."""
    if isinstance(result, Broken) or not asks:
        return result
    replies = iter(result)
    answers: list[Any] = []
    for place in places:
        if place in asks:
            next(replies)
        answers.append(next(replies))
    return answers

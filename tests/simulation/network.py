"""What lies between a process and the database: requests on their way, and what becomes of them.

==========  ==============================================================================================
trouble     what happens
==========  ==============================================================================================
slow        it is done; the answer stays under way
never       it never arrives; the caller gets an error that says nothing
lost        it is done; the caller gets an error that says nothing
late        the caller gets an error that says nothing; it is done at some later time, or after all is over
torn        some commits of a batch are done, others are not, or late; the caller gets an error that says nothing
down        the database starts again: all that is under way is done or not, and none of it is answered
busy        it is not done; the caller gets an error that says so
stale       it is answered by a replica that lags behind
crash       the process dies: before the request arrives, after it is done, or while it is still under way
cancel      one of the callers of the process is cancelled; the request is on its way all the same
==========  ==============================================================================================
"""

from typing import TYPE_CHECKING, Any

from pystator.errors import FSMError, StoreUnavailableError
from pystator.records import Commit, Lookup
from simulation.luck import Label, Trouble

if TYPE_CHECKING:
    import asyncio

    from simulation.process import Process
    from simulation.world import World

__all__ = ["KINDS", "Answer", "Belated", "Killed", "Request", "Wake", "busy", "lost"]

KINDS = {
    "load": ("slow", "slow", "stale", "stale", "lost", "busy", "down", "crash", "cancel"),
    "commit": (
        "slow", "lost", "lost", "late", "late", "never", "torn", "torn", "busy", "down", "crash", "crash", "cancel",
    ),
    "history": ("slow", "stale", "lost", "busy", "crash", "cancel"),
    "due": ("slow", "lost", "crash"),
    "append": ("never", "late"),
    "wake": ("cancel", "crash"),
}  # fmt: skip
"""What may go wrong with each request; a pause of a caller is one, too."""

BLOCKING = {
    kind: tuple(each for each in kinds if each not in {"slow", "cancel"})
    for kind, kinds in KINDS.items()
}
"""The same for a caller that blocks: its answers cannot be overtaken, nor can it be cancelled."""


class Killed(BaseException):
    """The process that this runs in has died."""


def lost() -> FSMError:
    """What a store says that got no answer."""
    return StoreUnavailableError("the answer was lost")


def busy() -> FSMError:
    """What a store says that has written nothing."""
    return StoreUnavailableError(
        "the store is busy; nothing was written", context={"written": False}
    )


class Wake:
    """Somebody goes on after a pause."""

    __slots__ = ("future", "label", "process")

    def __init__(self, label: Label, process: "Process", future: "asyncio.Future[None]") -> None:
        self.label = label
        self.process = process
        self.future = future

    def happen(self, world: "World") -> None:
        """Go on, unless trouble comes first."""
        if self.process.dead or self.future.done():
            return
        trouble = world.luck.trouble(self.label, KINDS["wake"])
        if trouble is not None:
            world.tell(self.process.name, "pauses", trouble)
            if trouble.kind == "crash":
                self.process.crash()
                return
            self.process.cancel(trouble.way)
        if not self.future.done():
            self.future.set_result(None)


class Answer:
    """An answer on its way back."""

    __slots__ = ("error", "label", "reply", "request")

    def __init__(self, request: "Request", reply: Any, error: Exception | None = None) -> None:
        self.label = (request.label[0], -request.label[1])
        self.request = request
        self.reply = reply
        self.error = error

    def happen(self, world: "World") -> None:
        """Arrive, if somebody still waits."""
        future = self.request.future
        if future is None or future.done() or self.request.process.dead:
            return
        if self.request.slow:
            world.tell(self.request.process.name, f"is answered #{self.request.number}", None)
        if self.error is None:
            future.set_result(self.reply)
        else:
            future.set_exception(self.error)


class Belated:
    """Commits of which nobody knows any more."""

    __slots__ = ("commits", "label")

    def __init__(self, label: Label, commits: Any) -> None:
        self.label = (f"{label[0]}!", label[1])
        self.commits = commits

    def happen(self, world: "World") -> None:
        """Arrive at last."""
        outcomes = world.server.commit(self.commits)
        if world.trace is not None:
            world.tell(self.label[0], f"late: {told('commit', self.commits)}", None, outcomes)


class Request:
    """A request on its way.

    Attributes:
        future: Where the answer is waited for; None where nobody waits.
        slow: Its answer came apart from it.
    """

    __slots__ = ("args", "future", "label", "number", "process", "slow", "spared", "what")

    def __init__(
        self,
        label: Label,
        process: "Process",
        what: str,
        args: tuple[Any, ...],
        future: "asyncio.Future[Any] | None",
    ) -> None:
        self.label = label
        self.process = process
        self.what = what
        self.args = args
        self.future = future
        self.number = 0
        self.slow = False
        self.spared = False

    def happen(self, world: "World") -> None:
        """Arrive at the database, and be answered."""
        what, process = self.what, self.process
        trouble = None
        if process.dead:
            trouble = world.luck.trouble(self.label, ("never",))
        elif not self.spared:
            trouble = world.luck.trouble(self.label, KINDS[what])
        reply: Any = None
        error: Exception | None = None
        if trouble is None:
            try:
                reply = self.done(world)
            except FSMError as failure:
                error = failure
        elif trouble.kind in {"slow", "crash", "cancel"}:
            self.delayed(world, trouble)
            return
        else:
            reply, error = self.troubled(world, trouble)
        if world.trace is not None:
            world.tell(process.name, told(what, self.args[0]), trouble, reply)
        if self.future is not None:
            Answer(self, reply, error).happen(world)

    def delayed(self, world: "World", trouble: Trouble) -> None:
        """Trouble after which nobody is answered yet."""
        kind, way = trouble
        process = self.process
        self.number = world.tell(process.name, told(self.what, self.args[0]), trouble)
        if kind == "slow":
            self.slow = True
            reply = error = None
            try:
                reply = self.done(world)
            except FSMError as failure:
                error = failure
            world.waiting.append(Answer(self, reply, error))
        elif kind == "cancel":
            self.spared = True
            world.waiting.append(self)
            process.cancel(way)
        else:
            if way % 3 == 1:
                self.done(world)
            elif way % 3 == 2:
                self.spared = True
                world.waiting.append(self)
            process.crash()

    def troubled(self, world: "World", trouble: Trouble) -> tuple[Any, Exception | None]:
        """The reply, or the error, that trouble leads to."""
        kind, way = trouble
        args = self.args
        if kind != "stale" and self.what in {"commit", "history"}:
            world.unsure += 1
        if kind == "busy":
            return None, busy()
        if kind == "stale" and self.what == "history":
            return world.server.history_of_replica(*args, 1 + way % 6), None
        if kind == "stale":
            return world.server.load_of_replica(args[0], 1 + way % 6), None
        if kind == "lost":
            self.done(world)
        elif kind == "late":
            world.waiting.append(Belated(self.label, args[0]))
        elif kind == "torn":
            some = [commit for place, commit in enumerate(args[0]) if way >> place % 6 & 1]
            if some:
                world.server.commit(some)
            if way & 32 and (rest := [each for each in args[0] if each not in some]):
                world.waiting.append(Belated(self.label, rest))
        elif kind == "down":
            self.swept(world, way)
        return None, lost()

    def swept(self, world: "World", way: int) -> None:
        """The database stops and starts: this and all that is under way gets no answer."""
        if way & 1:
            self.done(world)
        for number, other in enumerate(world.waiting.copy(), 1):
            if isinstance(other, Request) and other.future is not None and not other.process.dead:
                world.waiting.remove(other)
                if way >> number % 6 & 1:
                    other.done(world)
                world.tell(
                    other.process.name, told(other.what, other.args[0]), Trouble("down", way)
                )
                Answer(other, None, lost()).happen(world)

    def done(self, world: "World") -> Any:
        """What the database does and says."""
        server, what, args = world.server, self.what, self.args
        if what == "load":
            return server.load(args[0])
        if what in {"commit", "append"}:
            return server.commit(args[0])
        if what == "history":
            return server.history(*args)
        return server.due(*args)


def told(what: str, about: Any) -> str:
    """A request in a line."""
    if what == "load":
        return f"loads {', '.join(map(_lookup, about))}"
    if what in {"commit", "append"}:
        return f"{what}s {', '.join(map(_commit, about))}"
    return f"asks for {what} of {about}"


def _lookup(lookup: Lookup) -> str:
    ids = f" with {'+'.join(lookup.event_ids)}" if lookup.event_ids else ""
    return f"{lookup.entity_id}{ids}"


def _commit(commit: Commit) -> str:
    entries = " ".join(
        f"{entry.kind}:{(entry.payload or {}).get('tag') or entry.trigger}"
        for entry in commit.entries
    )
    return (
        f"{commit.entity_id} {commit.expected_version}->{commit.new_version}"
        f" [{entries}] as {commit.commit_id}"
    )

"""A process: an orchestrator and its connection to the database, until it dies; then there is another one."""

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from pystator import Orchestrator
from pystator.engine.registry import ActionRegistry
from pystator.records import Commit, Entity, HistoryEntry, Key, Loaded, Lookup, Outcome, Page
from pystator.scheduler import AsyncioScheduler
from pystator.stores.facade import StoreFacade
from pystator.stores.immediate import ImmediateAsync
from simulation.loop import OWNER, Owner
from simulation.machines import async_machine, machine
from simulation.network import BLOCKING, Killed, Request, told

if TYPE_CHECKING:
    from simulation.callers import Caller
    from simulation.world import World

__all__ = ["Process"]


def _tell(ctx: dict[str, Any]) -> None:
    """The action of these worlds."""
    asyncio.get_running_loop().world.ran[ctx["tag"]] += 1


def _ring(ctx: dict[str, Any]) -> None:
    """The action of a timer: it has no event, but counts."""
    asyncio.get_running_loop().world.rang[ctx["tag"], ctx["n"]] += 1


async def _tell_slowly(ctx: dict[str, Any]) -> None:
    """The same, and it takes its time."""
    _tell(ctx)
    world = asyncio.get_running_loop().world
    await world.breathe()
    if world.plan.chatty:
        await world.send_on(ctx["tag"], "action")


_QUICK = ActionRegistry({"tell": _tell, "ring": _ring})
_SLOW = ActionRegistry({"tell": _tell_slowly, "ring": _ring})


class Client(ImmediateAsync, StoreFacade):
    """The store as a process sees it: every call is a request to the world."""

    durable = True
    idempotent = True
    keeps_history = True
    has_feed = False
    combines = True

    def __init__(self, process: "Process") -> None:
        super().__init__()
        self._process = process
        self.in_flight = process.world.plan.flights

    # Calls that wait ------------------------------------------------------------------------------

    async def _ask(self, what: str, *args: Any) -> Any:
        process = self._process
        world = process.world
        future = world.loop.create_future()
        world.waiting.append(Request(process.label(), process, what, args, future))
        return await future

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        return await self._ask("load", lookups)

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        return await self._ask("commit", commits)

    async def ahistory(
        self, entity_id, *, machine_name=None, after=None, limit=100, newest_first=False
    ) -> Page[HistoryEntry]:
        assert newest_first
        return await self._ask("history", entity_id, machine_name, after)

    async def adue(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        return await self._ask("due", now, limit, machine_name)

    # Calls that block -----------------------------------------------------------------------------

    def _do(self, what: str, *args: Any) -> Any:
        process = self._process
        world = process.world
        request = Request(process.label(), process, what, args, None)
        trouble = world.luck.trouble(request.label, BLOCKING[what])
        reply, error = None, None
        if trouble is None:
            reply = request.done(world)
        elif trouble.kind == "crash":
            world.tell(process.name, told(what, args[0]), trouble)
            if trouble.way % 3 == 1:
                request.done(world)
            elif trouble.way % 3 == 2:
                request.spared = True
                world.waiting.append(request)
            process.crash()
            raise Killed
        else:
            reply, error = request.troubled(world, trouble)
        world.micro += world.plan.pace
        if world.trace is not None:
            world.tell(process.name, told(what, args[0]), trouble, reply)
        if error is not None:
            raise error
        return reply

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        return self._do("load", lookups)

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        return self._do("load", (Lookup(entity_id, machine_name),))[0].entity

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        return self._do("commit", commits)

    def history(
        self, entity_id, *, machine_name=None, after=None, limit=100, newest_first=False
    ) -> Page[HistoryEntry]:
        return self._do("history", entity_id, machine_name, after)

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        return self._do("due", now, limit, machine_name)

    def append_later(self, commits: Sequence[Commit]) -> None:
        process = self._process
        if not process.dead:
            request = Request(process.label(), process, "append", (commits,), None)
            process.world.waiting.append(request)


class Witness:
    """Counts the events that an orchestrator began and ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    def on_before_process(self, *_: Any) -> None:
        self.begun += 1

    def on_transition_complete(self, _: str, result: Any) -> None:
        self.ended += ":" not in (result.trigger or "")  # else it was a timer

    def on_transition_error(self, _: str, trigger: str | None, __: Exception) -> None:
        self.ended += trigger is not None and ":" not in trigger


class Process(Owner):
    """One life of a process.

    Attributes:
        clock: Microseconds; it may jump to and fro.
        callers: Who calls from it.
        context: What its tasks run in, and die by.
        witness: Its observer.
        cancelled: Some of its calls were.
    """

    def __init__(self, world: "World", number: int, life: int = 0) -> None:
        super().__init__()
        plan = world.plan
        world.lives.append(self)
        self.world = world
        self.number = number
        self.life = life
        self.name = f"p{number}"
        self.mode = plan.modes[number]
        self.blocks = self.mode == "blocking"
        self.skew = plan.skews[number]
        self.cancelled = False
        self.client = Client(self)
        self.callers: list[Caller] = []
        extra = plan.extras[number]
        version = "2.0" if extra == "newer" else "1.0"
        self.witness = Witness() if extra == "hooks" else None
        self.scheduler: AsyncioScheduler | None = None
        if extra == "scheduler" and not self.blocks:
            self.scheduler = AsyncioScheduler(poll_interval=5.0)
        self.context = copy_context()
        self.context.run(OWNER.set, self)
        self.orchestrator = self.context.run(
            Orchestrator,  # a scheduler begins at once
            (machine if self.blocks else async_machine)(plan.machine, version),
            self.client,
            hooks=None if self.witness is None else [self.witness],
            scheduler=self.scheduler,
            most_waiting=plan.room,
            use_initial_state_when_missing=extra != "strict",
            actions=_QUICK if self.blocks else _SLOW,
            batching=self.mode == "combined",
            clock=self.clock,
        )
        settings = self.orchestrator._settings
        settings.jitter = _none if self.blocks else _half
        settings.tick = _no_time
        settings.identify = world.identify
        settings.patience = plan.patience

    def clock(self) -> int:
        world = self.world
        if not self.skew:
            return world.micro
        return world.micro + (self.skew if world.steps & 1 else 0)

    def label(self) -> tuple[str, int]:
        """Of its next request."""
        return self.world.label(self.name)

    def crash(self) -> None:
        """Die: nothing of it runs any more. What is on its way is on its way."""
        self.dead = True
        self.world.crashes += 1
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False
        for note in self.world.journal.notes.values():
            if note.home is self and not note.done:
                note.died = note.maybe = note.done = True
        again = Process(self.world, self.number, self.life + 1)
        self.world.processes[self.number] = again
        for caller in self.callers:
            caller.restart(again)

    def cancel(self, way: int) -> None:
        """Cancel one of the calls under way."""
        calls: list[asyncio.Task[Any]] = [task for each in self.callers for task in each.calls()]
        if calls:
            self.cancelled = True
            self.world.tell(self.name, f"call {way % len(calls)} is cancelled", None)
            calls[way % len(calls)].cancel()


def _none() -> float:
    return 0.0


def _half() -> float:
    return 0.5


def _no_time() -> int:
    return 0

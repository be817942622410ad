"""A world: processes, callers, a network and a database, and the one thing that happens next.

::

    callers --> orchestrator (the real one) --> client --> waiting: requests, answers, pauses
                        ^                                      |
                        |                                      |  luck chooses who is next,
                        |                                      v  and with which trouble
                        '-------------- answer ----------- the database

A run is a function of a plan and of luck, and of nothing else: no clock, no thread, no random number of its own.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

from pystator import scheduler
from pystator.orchestrator import batching, drivers, lines
from simulation.callers import Caller
from simulation.chatter import send_on
from simulation.journal import Journal
from simulation.loop import OWNER, Loop
from simulation.luck import Label, Luck, Trouble
from simulation.network import Wake
from simulation.plan import START, Plan
from simulation.process import Process
from simulation.server import Server
from simulation.trace import Trace

if TYPE_CHECKING:
    import asyncio

__all__ = ["Violation", "World"]


class Violation(AssertionError):  # noqa: N818 - it reads as what it is
    """A promise was broken."""


class World:
    """One world.

    Args:
        store: An empty store to keep it in; a new memory store by default.

    Attributes:
        micro: What time it is, in microseconds.
        steps: Of what waited, so much has happened.
        waiting: What may happen next.
        ran: Actions that ran, by the tag of their event.
        rang: Actions of timers that ran, by the tag and the number that they saw.
        crashes: Processes that died.
        processes, lives: Those of now, and all that ever were.
        unsure: Commits, and questions about them, that were not answered.
    """

    def __init__(
        self,
        plan: Plan,
        luck: Luck,
        *,
        trace: Trace | None = None,
        store: Any = None,
    ) -> None:
        self.plan = plan
        self.luck = luck
        self.trace = trace
        self.micro = START
        self.steps = 0
        self.crashes = 0
        self.waiting: list[Any] = []
        self.ran: Counter[str] = Counter()
        self.rang: Counter[tuple[str, int]] = Counter()
        self.unsure = 0
        self.journal = Journal()
        self.loop = Loop(self)
        self.server = Server(lambda: self.micro, store)
        self._labels: dict[str, int] = {}
        self._commits = 0
        self.processes: list[Process] = []
        self.lives: list[Process] = []
        self.callers = [Caller(self, caller) for caller in plan.callers]

    # What its inhabitants ask ---------------------------------------------------------------------

    def label(self, name: str) -> Label:
        """The next label of a name."""
        number = self._labels[name] = self._labels.get(name, 0) + 1
        return name, number

    def identify(self, _: int) -> str:
        """A commit id."""
        self._commits += 1
        return f"k{self._commits}"

    def breathe(self, name: str = "", process: Process | None = None) -> "asyncio.Future[None]":
        """A pause, in which anything may happen."""
        if process is None:
            process = OWNER.get()
            name = f"{process.name}~"
        future = self.loop.create_future()
        self.waiting.append(Wake(self.label(name), process, future))
        return future

    async def send_on(self, tag: str, kind: str) -> None:
        """What a guard or an action does in chatty worlds, see `simulation.chatter`."""
        await send_on(self, tag, kind)

    def tell(self, who: str, what: str, trouble: Trouble | None, reply: Any = None) -> int:
        """Keep a line of the trace; its number."""
        return 0 if self.trace is None else self.trace.add(who, what, trouble, reply)

    # The run --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything happen.

        Raises:
            Violation: Somebody waits for ever, or failed as nobody may.
            AssertionError: Another promise was broken on the way.
        """
        plan = self.plan
        for number in range(len(plan.modes)):
            self.processes.append(Process(self, number))
        for caller, each in zip(self.callers, plan.callers, strict=True):
            caller.start(self.processes[each.process])
        with self.loop as loop, _laws_of_this_world(self):
            self._until_quiet(loop, plan.limit)
            self._look_at_callers()
            if loop.complaints:
                raise Violation(f"asyncio complains: {loop.complaints[0]}")

    def end(self) -> None:
        """Let go of everything: it is full of circles, and would wait for the garbage collector."""
        self.loop.end()
        for part in (*self.lives, *self.callers):
            vars(part).clear()
        vars(self).clear()

    def _until_quiet(self, loop: Loop, limit: int) -> None:
        waiting, ready = self.waiting, loop.ready
        eager, pace = self.plan.eager, self.plan.pace
        turns = 0
        while True:
            loop.turn()
            turns += 1
            if ready and not (eager and turns % eager == 0 and waiting):
                continue
            if not waiting and self._rests():
                return
            self.steps += 1
            if self.steps > limit:
                raise Violation(f"after {limit} steps somebody still waits")
            self.micro += pace
            self._next(loop)

    def _rests(self) -> bool:
        """Nothing is left to wait for; schedulers are told that it is over."""
        if not self.loop.sleeping:
            return True
        if all(caller.done for caller in self.callers):
            for process in self.processes:
                if process.scheduler is not None:
                    process.scheduler.cease()
        return False

    def _next(self, loop: Loop) -> None:
        """Let the next thing happen: one of what waits, or that time comes for a sleeper."""
        waiting = self.waiting
        if not loop.sleeping:
            waiting.pop(self.luck.turn(waiting)).happen(self)
            return
        alarm = Alarm(loop.sleeping[0][1])
        place = self.luck.turn([*waiting, alarm])
        if place == len(waiting):
            loop.wake()
        else:
            waiting.pop(place).happen(self)

    def _look_at_callers(self) -> None:
        for caller in self.callers:
            task = caller.task
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise Violation(f"caller {caller.name} failed: {error!r}") from error
            if not caller.done:
                raise Violation(f"caller {caller.name} waits for ever")


@contextmanager
def _laws_of_this_world(world: World) -> Iterator[None]:
    """Batches are as small as the plan says, drivers sleep in the loop's time, and chance is the seed's."""
    usual = lines.MOST, lines.MOST_OF_ONE, drivers.time, scheduler.random
    lines.MOST = batching.MOST = world.plan.most
    lines.MOST_OF_ONE = min(world.plan.most, usual[1])
    drivers.time = Time(world.loop)
    scheduler.random = Random(world.plan.seed)
    try:
        yield
    finally:
        lines.MOST, lines.MOST_OF_ONE, drivers.time, scheduler.random = usual
        batching.MOST = usual[0]


class Time:
    """What the drivers use of the module."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.monotonic = loop.time

    def sleep(self, seconds: float) -> None:
        """Who blocks makes time pass."""
        self._loop.now += seconds


class Alarm:
    """That the time comes for which the first sleeper waits."""

    __slots__ = ("label",)

    def __init__(self, number: int) -> None:
        self.label = ("time", number)

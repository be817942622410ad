"""The two loops that answer a program's requests: one blocking, one async. They decide nothing.

An error that answering raises is thrown into the program. An interrupt or a cancellation ends the
loop and with it the program: whatever was written stays written. That something which a store or a
guard waited for was cancelled is an error like others: nobody has cancelled the call.
"""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from pystator.engine.actions import ActionExecutor, cancelled_within
from pystator.engine.result import TransitionResult
from pystator.errors import FSMError
from pystator.orchestrator.plain import decide_one
from pystator.orchestrator.program import CANCELLED
from pystator.orchestrator.requests import (
    AppendLater,
    AwaitGuard,
    FindDue,
    Load,
    Outcomes,
    Program,
    ReadBack,
    Request,
    RunActions,
    Sleep,
    Write,
    WriteAhead,
)
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.single import conclude
from pystator.orchestrator.tracing import TRACE
from pystator.orchestrator.waiting import DECIDING, Deciding
from pystator.records import Commit, Loaded, Lookup, Outcome, OutcomeKind
from pystator.stores.protocols import AheadStore, NativeStore

__all__ = ["Driver"]

T = TypeVar("T")

APPLIED: Final = OutcomeKind.APPLIED


class Driver:
    """Answers requests with a store, an executor of actions and a clock.

    Args:
        clock: Microseconds since the epoch; the system's clock by default.
    """

    __slots__ = ("executor", "nanoseconds", "store")

    def __init__(
        self,
        store: NativeStore,
        executor: ActionExecutor,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.store = store
        self.executor = executor
        # asked as it is, the system's clock costs half of one that is wrapped
        self.nanoseconds = time.time_ns if clock is None else lambda: clock() * 1_000

    def clock(self) -> int:
        """Microseconds since the epoch."""
        return self.nanoseconds() // 1_000

    def over(self, store: NativeStore) -> "Driver":
        """The same over another store."""
        return Driver(store, self.executor, self.clock)

    # Blocking -----------------------------------------------------------------------------------

    def run(self, program: Program[T]) -> T:
        """Run a program to its end, blocking."""
        store = self.store
        send = program.send
        reply: Any
        try:
            request: Any = send(None)
            while True:
                try:
                    kind: Any = request.__class__
                    if kind is Lookup:
                        reply = (store.load((request,))[0], self.clock())
                    elif kind is Commit:
                        reply = store.commit((request,))[0]
                    else:
                        reply = self._answer(request)
                except Exception as error:  # noqa: BLE001 # the program decides what it means
                    request = program.throw(error)
                else:
                    request = send(reply)
        except StopIteration as done:
            result: T = done.value
            return result

    def run_one(
        self, settings: Settings, entity_id: str, trigger: str, payload: dict[str, Any] | None
    ) -> TransitionResult:
        """`process_one` without its generator, as far as an event is plain.

        Raises:
            FSMError: The event could not be decided or written.
        """
        began = settings.tick()
        entity = self.store.load_one(entity_id, settings.name)
        now = self.nanoseconds() // 1_000
        decided = decide_one(settings, trigger, payload, entity, now, began)
        outcome: Outcome | Exception | None = None
        if decided is not None and (commit := decided[0]) is not None:
            try:
                outcome = self.store.commit((commit,))[0]
            except Exception as error:  # noqa: BLE001 # what it wrote is found out
                outcome = error
            else:
                if outcome.kind is APPLIED and not commit.entries[0].actions:
                    return decided[1]
        single = (settings, entity_id, trigger, payload, began)
        return self.run(conclude(single, (Loaded(entity, {}), now), decided, outcome))

    def _answer(self, request: Request) -> Any:  # noqa: PLR0911 - one line a request
        """The reply to a request that most events do not make."""
        match request:
            case Load():
                return self.store.load(request.lookups), self.clock()
            case Write():
                return self.store.commit(request.commits)
            case WriteAhead():
                return cast("AheadStore", self.store).commit_ahead(request.commits)
            case RunActions():
                return self._act(request)
            case AppendLater():
                return self.store.append_later(request.commits)
            case Sleep():
                time.sleep(request.seconds)
                return time.monotonic()
            case FindDue():
                now = self.clock() if request.now is None else request.now
                return self.store.due(now, request.limit, machine_name=request.machine_name), now
            case ReadBack():
                return self.store.history(
                    request.entity_id,
                    machine_name=request.machine_name,
                    after=request.after,
                    newest_first=True,
                )
            case AwaitGuard():
                raise FSMError(
                    f"guard {request.need.name!r} is async and this call is blocking:"
                    " use its async twin, e.g. async_process_event",
                    context={"guard": request.need.name},
                )
            case _:
                raise TypeError(f"{type(request).__name__} is no request")

    def _act(self, request: RunActions) -> Outcomes:
        if request.trace is TRACE.get():  # neither: most actions
            return self.executor.execute(request.specs, request.context, request.around)
        token = TRACE.set(request.trace)
        try:
            return self.executor.execute(request.specs, request.context, request.around)
        finally:
            TRACE.reset(token)

    # Async --------------------------------------------------------------------------------------

    async def arun(self, program: Program[T]) -> T:
        """Run a program to its end on the running loop."""
        store = self.store
        send = program.send
        reply: Any
        try:
            request: Any = send(None)
            while True:
                try:
                    kind: Any = request.__class__
                    if kind is Lookup:
                        reply = ((await store.aload((request,)))[0], self.clock())
                    elif kind is Commit:
                        reply = (await store.acommit((request,)))[0]
                    else:
                        reply = await self._aanswer(request)
                except BaseException as error:  # noqa: BLE001 # the program decides what it means
                    request = program.throw(_ordinary(error))
                else:
                    request = send(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        except BaseException as error:
            if not cancelled_within(error):
                raise
            raise FSMError(CANCELLED) from error

    async def _aanswer(self, request: Request) -> Any:  # noqa: PLR0911 - one line a request
        match request:
            case Load():
                return await self.store.aload(request.lookups), self.clock()
            case Write():
                return await self.store.acommit(request.commits)
            case WriteAhead():
                return await cast("AheadStore", self.store).acommit_ahead(request.commits)
            case RunActions():
                return await self._aact(request)
            case AppendLater():
                return self.store.append_later(request.commits)
            case Sleep():
                return await _sleep(request.seconds)
            case FindDue():
                now = self.clock() if request.now is None else request.now
                keys = await self.store.adue(now, request.limit, machine_name=request.machine_name)
                return keys, now
            case ReadBack():
                return await self.store.ahistory(
                    request.entity_id,
                    machine_name=request.machine_name,
                    after=request.after,
                    newest_first=True,
                )
            case AwaitGuard():
                return await _verdict(request)
            case _:
                raise TypeError(f"{type(request).__name__} is no request")

    async def _aact(self, request: RunActions) -> Outcomes:
        token = TRACE.set(request.trace)
        try:
            return await self.executor.async_execute(request.specs, request.context, request.around)
        finally:
            TRACE.reset(token)


def _ordinary(error: BaseException) -> Exception:
    """What a program is told of; an interrupt or a cancellation of the task is raised."""
    if isinstance(error, Exception):
        return error
    if not cancelled_within(error):
        raise error
    return FSMError("what the store waited for was cancelled")


async def _verdict(request: AwaitGuard) -> bool | Exception:
    """Ask the guard, where everybody that it calls can see for whom."""
    outer = DECIDING.get()
    if outer is not None and outer.is_of(request.home, request.entity_id):
        deciding = outer
    else:
        deciding = Deciding(request.home, request.entity_id, outer)
    token = DECIDING.set(deciding)
    deciding.asking = True
    try:
        return await _asked(request)
    finally:
        deciding.asking = False
        DECIDING.reset(token)


async def _asked(request: AwaitGuard) -> bool | Exception:
    try:
        return bool(await request.need.call())
    except Exception as error:  # noqa: BLE001 # the guard's own error is its verdict
        return error
    except BaseException as error:
        if not cancelled_within(error):
            raise
        return FSMError(f"what guard {request.need.name!r} waited for was cancelled")


async def _sleep(seconds: float) -> float:
    import asyncio  # a loop runs: it is imported already

    await asyncio.sleep(seconds)
    return time.monotonic()

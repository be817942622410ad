"""Planned actions and their execution.

A step only plans: it returns `ActionSpec`s whose params were evaluated in the step.
`ActionExecutor` runs them after the commit, in order, on a copy of the final context; what a
callable writes to its copy is not kept.

One action is one generator that decides (attempts, pauses, outcome) and yields what is to be done;
the blocking and the async driver only do it.
"""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import field
from inspect import isawaitable, iscoroutine
from threading import Thread
from typing import Any, Literal

from pystator.engine.copying import copy_mapping
from pystator.engine.registry import ActionRegistry, RegisteredAction
from pystator.errors import FSMError, TimeoutExpiredError, readable
from pystator.records import Context, record

__all__ = [
    "ActionExecutor",
    "ActionOutcome",
    "ActionSpec",
    "Around",
    "Phase",
    "cancelled_within",
    "spec_of",
]

Phase = Literal["exit", "transition", "enter"]


@record
class ActionSpec:
    """One planned action.

    Attributes:
        params: Evaluated in the step; read-only.
        phase: Where it stands: in an exit, in the transition or in an entry.
        timeout: Seconds for one attempt; None waits.
        retry: Further attempts after a failure.
        retry_backoff: Seconds before the first further attempt, doubled before each next one.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    phase: Phase = "transition"
    timeout: float | None = None
    retry: int = 0
    retry_backoff: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        params = dict(self.params)
        settings = (self.phase, self.timeout, self.retry, self.retry_backoff)
        return ActionSpec, (self.name, params, *settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; settings that are not set are left out."""
        plain: dict[str, Any] = {"name": self.name, "phase": self.phase}
        if self.params:
            plain["params"] = dict(self.params)
        if self.timeout is not None:
            plain["timeout"] = self.timeout
        if self.retry:
            plain["retry"] = self.retry
            plain["retry_backoff"] = self.retry_backoff
        return plain


def spec_of(plain: Mapping[str, Any]) -> ActionSpec:
    """The action that `ActionSpec.to_dict` told of."""
    return ActionSpec(
        plain["name"],
        plain.get("params", {}),
        plain.get("phase", "transition"),
        plain.get("timeout"),
        plain.get("retry", 0),
        plain.get("retry_backoff", 0.0),
    )


@record
class ActionOutcome:
    """What became of one action.

    Attributes:
        duration: Seconds, over all attempts and the pauses between them.
        value: What the callable returned.
    """

    name: str
    ok: bool
    error: Exception | None
    duration: float
    attempts: int = 1
    value: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without ``value``."""
        plain: dict[str, Any] = {
            "name": self.name,
            "ok": self.ok,
            "duration_us": int(self.duration * 1_000_000),
        }
        if self.attempts != 1:
            plain["attempts"] = self.attempts
        if isinstance(self.error, FSMError):
            plain["error"] = self.error.to_dict()
        elif self.error is not None:
            message = readable(str(self.error))
            plain["error"] = {"error": type(self.error).__name__, "message": message}
        return plain


Around = Callable[[ActionSpec], AbstractContextManager[list[ActionOutcome]]]
"""What an action runs within; its outcome is put into the list."""


@record
class _Invoke:
    """Call the function; its answer, awaited if need be, goes back into the generator."""

    function: Callable[..., Any]
    context: Context
    params: Mapping[str, Any]
    timeout: float | None
    is_async: bool


_Program = Generator[_Invoke | float, Any, ActionOutcome]
"""Yields calls to make and pauses (seconds) to wait; returns the outcome."""


class ActionExecutor:
    """Runs planned actions.

    Args:
        actions: A registry, or a mapping name -> callable (the built-in actions are then there
            too).
    """

    def __init__(
        self, actions: ActionRegistry | Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self.actions = actions if isinstance(actions, ActionRegistry) else ActionRegistry(actions)
        self._find = self.actions.entries.get

    def execute(
        self, specs: Iterable[ActionSpec], context: Context, around: Around | None = None
    ) -> list[ActionOutcome]:
        """Run the actions in order, blocking; one outcome for each, whatever the others did.

        An async action cannot run here: its outcome is an error that names `async_execute`.
        """
        own = copy_mapping(context)
        if around is not None:
            return [_drive_within(around, spec, self._program(spec, own)) for spec in specs]
        outcomes: list[ActionOutcome] = []
        clock = time.perf_counter
        for spec in specs:
            entry = self._find(spec.name)
            if entry is None or entry.is_async or spec.retry or spec.timeout is not None:
                outcomes.append(_drive(self._program(spec, own)))
                continue
            began = clock()
            try:
                if entry.takes_params and spec.params:
                    value = entry.function(own, **copy_mapping(spec.params))
                else:
                    value = entry.function(own)
                if value is not None:
                    _refuse_awaitable(spec.name, value)
            except Exception as error:  # noqa: BLE001 # an action's error is its outcome
                outcomes.append(ActionOutcome(spec.name, False, error, clock() - began))
            else:
                outcomes.append(ActionOutcome(spec.name, True, None, clock() - began, 1, value))
        return outcomes

    async def async_execute(
        self, specs: Iterable[ActionSpec], context: Context, around: Around | None = None
    ) -> list[ActionOutcome]:
        """Run the actions in order: async ones awaited, late blocking ones left in a thread."""
        own = copy_mapping(context)
        if around is not None:
            return [
                await _drive_async_within(around, spec, self._program(spec, own)) for spec in specs
            ]
        return [await _drive_async(self._program(spec, own)) for spec in specs]

    def _program(self, spec: ActionSpec, context: Context) -> _Program:
        """The decisions about one action."""
        began = time.perf_counter()
        attempts = 0
        error: Exception | None = None
        while attempts <= spec.retry:
            if attempts and spec.retry_backoff:
                yield spec.retry_backoff * 2 ** (attempts - 1)
            attempts += 1
            try:
                entry: RegisteredAction = self.actions.get(spec.name)
                params = copy_mapping(spec.params) if entry.takes_params else {}
                value = yield _Invoke(entry.function, context, params, spec.timeout, entry.is_async)
            except Exception as failure:  # noqa: BLE001 # an action's error is its outcome
                error = failure
            else:
                return ActionOutcome(
                    spec.name, True, None, time.perf_counter() - began, attempts, value
                )
        return ActionOutcome(spec.name, False, error, time.perf_counter() - began, attempts)


# Drivers ----------------------------------------------------------------------------------------


def _drive(program: _Program) -> ActionOutcome:
    """Do what the program yields, blocking."""
    try:
        request = next(program)
        while True:
            if not isinstance(request, _Invoke):
                time.sleep(request)
                request = next(program)
                continue
            try:
                value = _call(request)
            except Exception as error:  # noqa: BLE001 # the program decides
                request = program.throw(error)
            else:
                request = program.send(value)
    except StopIteration as done:
        outcome: ActionOutcome = done.value
        return outcome


def _drive_within(around: Around, spec: ActionSpec, program: _Program) -> ActionOutcome:
    with around(spec) as outcomes:
        outcomes.append(_drive(program))
    return outcomes[0]


async def _drive_async_within(around: Around, spec: ActionSpec, program: _Program) -> ActionOutcome:
    with around(spec) as outcomes:
        outcomes.append(await _drive_async(program))
    return outcomes[0]


async def _drive_async(program: _Program) -> ActionOutcome:
    """Do what the program yields, on the running loop."""
    try:
        request = next(program)
        while True:
            if not isinstance(request, _Invoke):
                import asyncio  # a loop runs: it is imported already

                await asyncio.sleep(request)
                request = next(program)
                continue
            try:
                value = await _acall(request)
            except Exception as error:  # noqa: BLE001 # the program decides
                request = program.throw(error)
            except BaseException as error:
                if not cancelled_within(error):
                    raise
                request = program.throw(FSMError("what the action waited for was cancelled"))
            else:
                request = program.send(value)
    except StopIteration as done:
        outcome: ActionOutcome = done.value
        return outcome


def cancelled_within(error: BaseException) -> bool:
    """Something that was awaited or called has been cancelled, and not the task that did so."""
    asyncio = sys.modules.get("asyncio")  # where it was never imported, nothing is cancelled
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return False
    return task is not None and not task.cancelling()


def _call(request: _Invoke) -> Any:
    name = getattr(request.function, "__name__", "action")
    if request.is_async:
        raise _needs_loop(name)
    if request.timeout is None:
        value = request.function(request.context, **request.params)
    else:
        value = _call_within(request, request.timeout)
    _refuse_awaitable(name, value)
    return value


def _call_within(request: _Invoke, seconds: float) -> Any:
    """Call in a thread and wait so long; a late call is left alone and its answer dropped."""
    answer: list[Any] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answer.append(request.function(request.context, **request.params))
        except Exception as error:  # noqa: BLE001 # handed to the caller
            errors.append(error)

    thread = Thread(target=copy_context().run, args=(run,), daemon=True, name="pystator-action")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answer:
        raise _late(seconds)
    return answer[0]


async def _acall(request: _Invoke) -> Any:
    if request.timeout is None:
        value = request.function(request.context, **request.params)
        return await value if isawaitable(value) else value
    import asyncio  # a loop runs: it is imported already

    if request.is_async:
        call = request.function(request.context, **request.params)
    else:
        call = asyncio.to_thread(request.function, request.context, **request.params)
    try:
        value = await asyncio.wait_for(call, request.timeout)
        return await value if isawaitable(value) else value
    except TimeoutError as error:
        raise _late(request.timeout) from error


def _late(seconds: float) -> TimeoutExpiredError:
    return TimeoutExpiredError(
        f"the action took longer than its timeout of {seconds:g} s", context={"timeout": seconds}
    )


def _needs_loop(name: str) -> FSMError:
    return FSMError(
        f"action {name!r} is async and this call is blocking:"
        " use async_process_event, or ActionExecutor.async_execute",
        context={"action": name},
    )


def _refuse_awaitable(name: str, value: object) -> None:
    """A blocking function may hand out a coroutine: nothing here can await it."""
    if iscoroutine(value):
        value.close()
        raise _needs_loop(name)

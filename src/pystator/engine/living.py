"""An entity in memory: what it is and what happened to it, without the ways to change it.

It is small, so that a program may hold a million of them: the machine is shared, what was told to
all is shared, and what an event leaves behind is a reference to facts that all entities share, and
a time.
"""

import time
from array import array
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Self

from pystator.engine.actions import ActionOutcome
from pystator.engine.adopt import carried
from pystator.engine.copying import copy_mapping
from pystator.engine.machine import StateMachine
from pystator.engine.past import PastResult
from pystator.engine.result import Facts, TransitionResult
from pystator.errors import (
    ErrorCode,
    EvaluationError,
    FSMError,
    InvalidValueError,
    MachineVersionMismatchError,
)
from pystator.records import Context, from_datetime

__all__ = ["HISTORY_LIMIT", "Clock", "LivingEntity", "Ways", "ways"]

HISTORY_LIMIT: Final = 32
"""Results a session remembers, if it is not told another number: with these it fits in 1 KB."""

_FIRINGS: Final = 10_000
"""Timers that fire before one event; more are a mistake, or time for `fire_due`."""

_FORMAT: Final = 1

Clock = Callable[[], datetime | int]
"""Tells the time: an aware datetime, or microseconds since the epoch."""


class Ways:
    """What a session was told when it was made; sessions that were told nothing share one."""

    __slots__ = ("clock", "executes", "limit")

    def __init__(self, executes: bool, limit: int, clock: Clock | None) -> None:
        if type(limit) is not int or limit < 0:
            raise InvalidValueError(
                f"history_limit= is a number of results, 0 or more, not {limit!r:.80}",
                context={"what": "history_limit", "value": repr(limit)},
            )
        self.executes = executes
        self.limit = limit
        self.clock = clock


_USUAL: Final = Ways(False, HISTORY_LIMIT, None)


def ways(executes: bool, limit: int, clock: Clock | None) -> Ways:
    """What a session was told; the same object for all that were told nothing."""
    if clock is None and not executes and limit == HISTORY_LIMIT:
        return _USUAL
    return Ways(executes, limit, clock)


class LivingEntity:
    """The data of an entity in memory; `pystator.engine.session.EntitySession` sends it events."""

    __slots__ = (
        "__weakref__",
        "_context",
        "_facts",
        "_next",
        "_outcomes",
        "_state",
        "_timers",
        "_times",
        "_ways",
        "entity_id",
        "machine",
    )

    def _set_up(self, machine: StateMachine, entity_id: str | None, ways: Ways) -> None:
        self.machine = machine
        self.entity_id = entity_id
        self._ways = ways
        self._facts: list[Facts] = []
        self._times: array[int] = array("q")
        self._next = 0
        self._outcomes: list[ActionOutcome] | None = None
        self._state = ""
        self._context: Context = {}
        self._timers: dict[str, int] | None = None

    # What it is now -------------------------------------------------------------------------

    @property
    def current_state(self) -> str:
        """The configuration: its active leaves joined by ``+``."""
        return self._state

    @property
    def active_states(self) -> frozenset[str]:
        """Names of all active states and regions, ancestors included."""
        return self.machine.active_states(self._state)

    @property
    def context(self) -> Context:
        """A copy of its data."""
        return copy_mapping(self._context)

    @property
    def timers(self) -> dict[str, int]:
        """Armed timers: id -> deadline in microseconds since the epoch."""
        return dict(self._timers or {})

    @property
    def history(self) -> list[TransitionResult]:
        """The latest results, oldest first; refused events included, contexts not."""
        at = self._next
        facts = self._facts[at:] + self._facts[:at]
        times = self._times[at:] + self._times[:at]
        return [PastResult(*each) for each in zip(facts, times, strict=True)]

    @property
    def outcomes(self) -> list[ActionOutcome]:
        """Outcomes of the actions that the last call ran, those of timers included, in order."""
        return list(self._outcomes or ())

    @property
    def allowed_triggers(self) -> list[str]:
        """Triggers that some transition has here, whatever its guards say."""
        return self.machine.get_available_triggers(self._state)

    @property
    def is_final(self) -> bool:
        """Nothing can happen any more."""
        return self.machine.is_terminal(self._state)

    def __repr__(self) -> str:
        name = f" {self.entity_id!r}" if self.entity_id else ""
        return f"<EntitySession{name} of {self.machine.name!r} in {self._state!r}>"

    # What happens to it ---------------------------------------------------------------------

    def _take(self, result: TransitionResult, now: int) -> None:
        """Be what the result says, and remember it."""
        facts = result.facts
        kept, limit = self._facts, self._ways.limit
        if len(kept) < limit:
            kept.append(facts)
            self._times.append(now)
        elif limit:
            at = self._next
            kept[at] = facts
            self._times[at] = now
            self._next = (at + 1) % limit
        if facts.cancelled or facts.delays or facts.deadlines:
            self._move_timers(result)
        if facts.success and facts.target_state is not None:
            self._state = facts.target_state
            self._context = result.context

    def _move_timers(self, result: TransitionResult) -> None:
        timers, changes = self._timers or {}, result.timers
        for timer in changes.cancelled:
            timers.pop(timer, None)
        timers.update(changes.armed)
        self._timers = timers or None

    def _first_due(self, now: int, fired: int) -> tuple[str, int] | None:
        """The timer to fire next, and its deadline."""
        timers = self._timers
        if not timers:
            return None
        order = self.machine.timer_order
        moment, _, timer = min(
            (moment, order(timer) or 0, timer) for timer, moment in timers.items()
        )
        if moment > now:
            return None
        if fired >= _FIRINGS:
            raise EvaluationError(
                f"{_FIRINGS:,} timers fired, and more are due: if they do not re-arm each other"
                " without end, it was a long time, and fire_due() fires the next ones",
                context={"state": self._state},
                code=ErrorCode.LIVELOCK,
            )
        return timer, moment

    def _use_up(self, timer: str) -> None:
        """A timer fires once, whatever comes of it."""
        if self._timers:
            self._timers.pop(timer, None)

    def _now(self) -> int:
        clock = self._ways.clock
        if clock is None:
            return time.time_ns() // 1000
        now = clock()
        return now if isinstance(now, int) else from_datetime(now)

    # Writing it down ------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to take it up again; plain data, if the context's values are plain.

        What history states remember is in the context, under ``_history``.
        """
        return {
            "format": _FORMAT,
            "machine": self.machine.name,
            "machine_version": self.machine.version,
            "fingerprint": self.machine.fingerprint,
            "entity_id": self.entity_id,
            "state": self._state,
            "context": copy_mapping(self._context),
            "timers": dict(self._timers or {}),
        }

    def _resume(self, snapshot: Mapping[str, Any]) -> None:
        """Be what a snapshot says.

        Raises:
            InvalidValueError, MachineVersionMismatchError: It says nothing of this machine.
        """
        _check_snapshot(snapshot)
        machine = self.machine
        try:
            self._state = machine.canonical(snapshot["state"])
        except FSMError as error:
            raise MachineVersionMismatchError(
                f"the snapshot is of machine {snapshot.get('machine')!r} version"
                f" {snapshot.get('machine_version')!r}: {error.message}",
                context={"state": snapshot["state"], "machine_version": machine.version},
            ) from error
        self.entity_id = snapshot.get("entity_id")
        self._context = copy_mapping(snapshot["context"])
        timers: Mapping[str, int] = snapshot["timers"]
        if timers and snapshot.get("fingerprint") != machine.fingerprint:
            timers = self._adopted(timers)
        self._timers = dict(timers) or None

    def _adopted(self, timers: Mapping[str, int]) -> Mapping[str, int]:
        """Timers that another version of the machine armed, as this one has them."""
        machine, now = self.machine, self._now()
        armed = machine.place(self._state, self._context, now).timers.armed
        stored = {timer: (moment, 0) for timer, moment in timers.items()}
        return {
            timer: moment
            for timer, (moment, _) in carried(stored, armed, now).items()
            if machine.timer_order(timer) is not None
        }

    # Copies: each goes its own way, and the machine is shared ----------------------------------

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        made.__setstate__(self._parts())
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = self.__copy__()
        made._context = copy_mapping(self._context)  # noqa: SLF001 # it is one of us
        return made

    def __getstate__(self) -> dict[str, Any]:
        results = [TransitionResult(each, {}, None) for each in self._facts]
        return {**self._parts(), "_facts": results}

    def _parts(self) -> dict[str, Any]:
        parts = {**getattr(self, "__dict__", {})}  # an heir may have one
        for name in _PARTS:
            parts[name] = getattr(self, name)
        parts["_facts"], parts["_times"] = self._facts[:], self._times[:]
        parts["_timers"] = self._timers and self._timers.copy()
        return parts

    def __setstate__(self, parts: dict[str, Any]) -> None:
        for name, value in parts.items():
            setattr(self, name, value)
        if any(isinstance(each, TransitionResult) for each in self._facts):
            self._facts = [each.facts for each in parts["_facts"]]


_PARTS: Final = tuple(name for name in LivingEntity.__slots__ if name != "__weakref__")


def _check_snapshot(snapshot: Mapping[str, Any]) -> None:
    kinds = {"state": str, "context": Mapping, "timers": Mapping}
    given: object = snapshot
    if isinstance(given, str):
        raise InvalidValueError(
            "a snapshot is the mapping that session.snapshot() returned: read JSON with json.loads",
            context={"value": repr(given)[:200]},
        )
    if (
        snapshot.get("format") != _FORMAT
        or not all(isinstance(snapshot.get(name), kind) for name, kind in kinds.items())
        or not all(type(moment) is int for moment in snapshot["timers"].values())
    ):
        raise InvalidValueError(
            "this is no snapshot of a session: use what session.snapshot() returned",
            context={"keys": sorted(str(key) for key in snapshot)},
        )

"""What a scheduler and an orchestrator are to each other.

::

    Orchestrator --attach--> Scheduler        once, when it is made
                 --start--->                  an async call came: a loop runs
    store.commit --wake---->                  a timer was armed
    Scheduler    --sweep--->  StoredTimers    fire what is due; when to come again

A scheduler keeps no timers: they stand in the store, with their entities. So it may die at any
moment, and any number of them may sweep one store: each timer fires once, by compare-and-set.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, cast

from pystator.engine.result import TransitionResult
from pystator.errors import ConfigurationError
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.ops import fire_due
from pystator.orchestrator.requests import FindDue, Load, Program
from pystator.orchestrator.settings import Settings
from pystator.records import Commit, Key, Loaded, Lookup, Outcome, OutcomeKind, record
from pystator.stores.adapt import LiftedStore
from pystator.stores.columns import next_due
from pystator.stores.protocols import NativeStore

__all__ = ["SCHEDULER", "Proof", "Scheduler", "StoredTimers", "Sweep", "watch"]

SCHEDULER: Final = ("attach", "start", "wake", "cease", "stop")
"""The methods of a scheduler."""

_END: Final = 2**62
"""After every deadline."""

_PROVED_AT_ONCE: Final = 16

_LOOKED_AT: Final = (1, 32, 1_024)
"""Entities looked at for the next deadline, when those before cannot fire."""


@record
class Sweep:
    """What a sweep did, and what it left.

    Attributes:
        fired: Number of timers.
        overdue: Timers are left that should have fired: there were more than the limit, somebody
            else fires them just now, or they cannot fire.
        deadline: The next one in the future; None when there is none.
        endless: An entity whose timer fired again and again at one and the same moment.
    """

    fired: int
    overdue: bool
    deadline: int | None
    endless: str | None = None


class Scheduler(Protocol):
    """What ``scheduler=`` takes; see `pystator.scheduler.AsyncioScheduler`."""

    def attach(self, timers: "StoredTimers") -> None:
        """Serve these timers; called once."""
        ...

    def start(self) -> None:
        """Begin, if that is possible here and now; called before each async call."""
        ...

    def wake(self, deadline: int) -> None:
        """A timer was armed; called from any thread."""
        ...

    def cease(self) -> None:
        """Begin no further sweep; called from any thread."""
        ...

    async def stop(self) -> None:
        """Cease, and wait for the sweep under way."""
        ...


class StoredTimers:
    """The timers of one machine in one store, as a scheduler sees them.

    Attributes:
        clock: Microseconds since the epoch.
        given: The clock the user gave, if one was given; it may be one that is moved by hand.
    """

    __slots__ = ("_driver", "_proof", "_settings", "clock", "given")

    def __init__(self, settings: Settings, driver: Driver, given: object) -> None:
        self._settings = settings
        self._driver = driver
        self._proof: Proof | None = getattr(driver.store, "proof", None)
        self.clock: Callable[[], int] = driver.clock
        self.given = given

    def sweep(self, limit: int) -> Coroutine[Any, Any, Sweep]:
        """Fire what is due, of so many entities at most; blocking where the store is."""
        program = _sweep(self._settings, limit, self._proof)
        if self._driver.store.has_async:
            return self._driver.arun(program)
        return _at_once(lambda: self._driver.run(program))


async def _at_once(call: Callable[[], Sweep]) -> Sweep:
    return call()


def _sweep(settings: Settings, limit: int, proof: "Proof | None") -> Program[Sweep]:
    if proof is not None:
        yield from proof.check(settings)
    results = yield from fire_due(settings, None, limit)
    overdue = False
    for count in _LOOKED_AT:
        found: tuple[list[Key], int] = yield FindDue(_END, count, settings.name)
        keys = found[0]
        if not keys:
            break
        loaded: tuple[list[Loaded], int] = yield Load([Lookup(key, name) for key, name in keys])
        deadlines = [_deadline(each) for each in loaded[0]]
        later = [moment for moment in deadlines if moment is not None and moment > loaded[1]]
        overdue = overdue or len(later) < len(deadlines)
        if later:
            return Sweep(len(results), overdue, min(later), _endless(results))
        if len(keys) < count:
            break
    return Sweep(len(results), overdue, None, _endless(results))


def _endless(results: Sequence[TransitionResult]) -> str | None:
    """The entity of a timer that fired twice at one moment: it re-arms itself in the past."""
    seen: set[tuple[str, str | None, int | None]] = set()
    for result in results:
        entity_id: str = result.metadata["entity_id"]
        firing = (entity_id, result.trigger, result.now)
        if firing in seen:
            return entity_id
        seen.add(firing)
    return None


def _deadline(found: Loaded) -> int | None:
    return None if found.entity is None else next_due(found.entity.timers)


# Commits that arm timers --------------------------------------------------------------------------


class Proof:
    """Whether a user's store keeps timers: it has to keep the whole context it is given.

    The first timers that are armed are read back once.
    """

    __slots__ = ("_armed", "_given")

    def __init__(self) -> None:
        self._armed: dict[Key, None] = {}
        self._given = False

    def note(self, commit: Commit) -> None:
        """A commit was written."""
        key = (commit.entity_id, commit.machine_name)
        if commit.timers and not self._given and len(self._armed) < _PROVED_AT_ONCE:
            self._armed[key] = None
        elif commit.timers is not None:
            self._armed.pop(key, None)

    def check(self, settings: Settings) -> Program[None]:
        """Read back what was armed.

        Raises:
            ConfigurationError: It is not there.
        """
        keys = list(self._armed)
        if not keys:
            return
        loaded: tuple[list[Loaded], int] = yield Load([Lookup(key, name) for key, name in keys])
        for key, found in zip(keys, loaded[0], strict=True):
            if key not in self._armed:  # an event has cancelled it in between
                continue
            del self._armed[key]
            if found.entity is None or not found.entity.timers:
                raise ConfigurationError(
                    f"the store keeps no timers: that of entity {key[0]!r} of machine"
                    f" {settings.name!r} is not there any more; set_state has to keep all of"
                    " metadata['context'], names that start with '_' included",
                    context={"option": "scheduler", "entity_id": key[0]},
                )
            self._given = True


class _Watched:
    """A store that tells a scheduler of the deadlines it is given; otherwise the store itself."""

    def __init__(self, store: NativeStore, wake: Callable[[int], None]) -> None:
        self._store = store
        self._wake = wake
        self.proof = Proof() if isinstance(store, LiftedStore) else None
        self.load = store.load  # what every event asks is not looked up twice
        self.load_one = store.load_one
        self.aload = store.aload

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        try:
            outcomes = self._store.commit(commits)
        except BaseException:
            self._tell(commits, None)
            raise
        self._tell(commits, outcomes)
        return outcomes

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        try:
            outcomes = await self._store.acommit(commits)
        except BaseException:
            self._tell(commits, None)
            raise
        self._tell(commits, outcomes)
        return outcomes

    def _tell(self, commits: Sequence[Commit], outcomes: Sequence[Outcome] | None) -> None:
        """Without outcomes the commits may have been written: a needless wake costs little."""
        if self.proof is not None and outcomes is not None:
            for commit in commits:
                self.proof.note(commit)
        armed = [
            deadline
            for number, commit in enumerate(commits)
            if commit.timers
            and (outcomes is None or outcomes[number].kind is OutcomeKind.APPLIED)
            and (deadline := next_due(commit.timers)) is not None
        ]
        if armed:
            self._wake(min(armed))


def watch(store: NativeStore, scheduler: Scheduler) -> NativeStore:
    """The store, telling the scheduler of each deadline it is given."""
    return cast("NativeStore", _Watched(store, scheduler.wake))

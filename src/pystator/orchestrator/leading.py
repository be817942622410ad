"""Group commit for threads: one of those who wait sends for all.

::

    callers --> lines, by entity --> the first caller in line leads: load, decide, commit
                                                 |
                 answered <----------------------+---> the next one leads what came meanwhile

No thread of its own, and no time in which nobody sends while somebody waits. The laws are those of
`pystator.orchestrator.batching`, and:

- Whoever leads decides for others: what is asked and told while deciding (guards, validators, the
  hook ``on_transition_start``) runs in any caller's thread. Actions and the other hooks run in the
  thread of their own caller.
- The main thread sends its own events alone. It is the one that Ctrl-C interrupts, at any moment,
  and whoever is interrupted must not take others along.
- A guard that sends an event sends it alone: the caller that leads would wait for itself.
- A guard that leaves by an exception that is none of an error's (``SystemExit``) leaves its own
  caller: the others of its batch are decided without it.
- A thread that is ended while it waits takes its event along if nobody has taken it up. Otherwise
  it stays until it is answered, for others may need it to lead.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from inspect import GEN_CLOSED, getgeneratorstate
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final

from pystator.engine.result import TransitionResult
from pystator.errors import StoreUnavailableError
from pystator.orchestrator.actions import finish
from pystator.orchestrator.cases import Case, fail_open
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.lines import LATE, Batch, Groups, Lines
from pystator.orchestrator.program import announce, decide, decide_groups, process
from pystator.orchestrator.requests import Program
from pystator.orchestrator.settings import Settings

__all__ = ["Leaders"]

_Duty = Batch | list[Case] | None
"""What a caller that waits is called for: to send a batch; to go on with the cases of its entity;
or because it is answered."""


class _Here(threading.local):
    """What is true of the running thread."""

    decides = False


_here: Final = _Here()


class _Duties:
    """What a caller is called for, in order. The first one stands here until it is done.

    A thread may be ended at any moment, also between taking something and having it in hand: what
    wakes the caller says nothing, and may get lost.

    Attributes:
        waiting: The caller stands in line, or did.
    """

    __slots__ = ("_bell", "_left", "waiting")

    def __init__(self) -> None:
        self._left: deque[_Duty] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.waiting = False

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def first(self) -> _Duty:
        """What to do next."""
        return self._left[0]

    def put(self, duty: _Duty) -> None:
        """Call the caller."""
        self._left.append(duty)
        self._bell.put(None)

    def done(self) -> None:
        """The first one is done."""
        self._left.popleft()

    def listen(self) -> bool:
        """Wait for a call; False when none came for a while."""
        try:
            self._bell.get(timeout=LATE)
        except Empty:
            return False
        return True


class Leaders:
    """Collects the calls of threads into batches.

    Args:
        in_flight: Batches that the store works on at once.
    """

    def __init__(self, settings: Settings, driver: Driver, *, in_flight: int) -> None:
        self._settings = settings
        self._driver = driver
        self._in_flight = in_flight
        self.reset()
        _all.add(self)

    def reset(self) -> None:
        """Nobody waits: at the beginning, and in a forked child, which has none of the callers."""
        self._turn = threading.Lock()
        self._lines = Lines(self._in_flight)

    def submit(self, case: Case) -> TransitionResult:
        """Have the case decided and written in a batch, then run its actions.

        Raises:
            FSMError: The event could not be decided or written.
        """
        settings, run = self._settings, self._driver.run
        if _here.decides or threading.get_ident() == threading.main_thread().ident:
            run(process(settings, (case,)))
            return case.answer()
        announce(settings, (case,))
        case.caller = duties = _Duties()
        try:
            with self._turn:
                self._lines.put(case)
                duties.waiting = True
                if (batch := self._lines.next()) is not None:
                    duties.put(batch)
            self._serve(case, duties)
        except BaseException as error:
            self._leave(case, duties)
            if settings.hooks is not None:
                settings.hooks.left(case, error)
            raise
        if case.todos or settings.hooks is not None:
            run(finish(settings, (case,)))
        return case.own_answer()

    def _serve(self, case: Case, duties: _Duties, end: float | None = None) -> None:
        """Do what there is to do until the case is answered, or until this time."""
        while (duty := self._wait(duties, end)) is not None:
            if isinstance(duty, Batch):
                self._lead(duty, duties)
            else:
                self._go_on(duty, case, duties)

    def _wait(self, duties: _Duties, end: float | None) -> _Duty:
        """Wait for what there is to do; if nobody comes back for a while, send one more batch."""
        while not duties:
            landed = self._lines.landed
            if duties.listen():
                continue
            with self._turn:
                if self._lines.landed == landed and (batch := self._lines.next(late=True)):
                    duties.put(batch)
            if end is not None and not duties and monotonic() > end:
                return None
        return duties.first

    def _leave(self, case: Case, duties: _Duties) -> None:
        """The thread is being ended: leave so that nobody waits for it."""
        with self._turn:
            if self._lines.remove(case) or not duties.waiting:
                case.error = _interrupted()
        try:
            if case.open or duties:
                self._serve(case, duties, monotonic() + self._settings.patience)
        finally:
            if case.open:
                case.error = _interrupted()  # nobody hands anything on to those who are answered

    def _lead(self, batch: Batch, duties: _Duties) -> None:
        """Decide and write a batch; what is left over of an entity is its first caller's."""
        cases = batch.cases
        try:
            self._decide(decide_groups(self._settings, batch.groups), cases)
        finally:
            duties.done()
            left: Groups = {}
            for case in cases:
                if case.open:
                    left.setdefault(case.entity_id, []).append(case)
            entities = [each for each in batch.groups if each not in left]
            with self._turn:
                self._lines.end(batch)
                following = self._follow(entities)
            _call(following, cases)
            for group in left.values():
                group[0].caller.put(group)

    def _go_on(self, cases: list[Case], own: Case, duties: _Duties) -> None:
        """Decide an entity's cases with all the patience they need."""
        try:
            self._decide(decide(self._settings, cases), cases, lone=len(cases) == 1)
            if own.open:
                self._decide(decide(self._settings, (own,)), (own,), lone=True)
        except BaseException:
            if own.open:
                own.error = _interrupted()  # it leaves, and the others go on
            raise
        finally:
            duties.done()
            left = [case for case in cases if case.open and case is not own]
            if left:
                left[0].caller.put(left)
                _call([], cases)
            else:
                with self._turn:
                    following = self._follow([own.entity_id])
                _call(following, cases)

    def _decide(self, program: Program[Any], cases: Sequence[Case], *, lone: bool = False) -> None:
        """Run a program; each case has its answer then, unless it has to go on alone.

        Args:
            program: Decides the cases.
            cases: The cases.
            lone: There is one, and it is this thread's own.
        """
        _here.decides = True
        try:
            self._driver.run(program)
        except Exception as error:  # noqa: BLE001 # each caller gets it
            fail_open(cases, error)
        except BaseException:
            if getgeneratorstate(program) != GEN_CLOSED:  # the store was to answer
                fail_open(cases, _interrupted())
                raise
            if lone:
                raise
            # A guard has left, before anything was sent: whose it is will show.
        finally:
            _here.decides = False

    def _follow(self, entities: Sequence[str]) -> list[Batch]:
        """Free entities; the batches to send next."""
        self._lines.free(entities)
        following: list[Batch] = []
        while (batch := self._lines.next()) is not None:
            following.append(batch)
        return following


def _call(batches: Sequence[Batch], cases: Sequence[Case]) -> None:
    """Call the leaders of batches, and those who are answered."""
    for batch in batches:
        next(iter(batch.groups.values()))[0].caller.put(batch)
    for case in cases:
        if not case.open:
            case.caller.put(None)


def _interrupted() -> StoreUnavailableError:
    return StoreUnavailableError(
        "the thread that was writing for several was ended: it is unknown whether this event was"
        " written; with an event id it can be sent again"
    )


# Forks ------------------------------------------------------------------------------------------

_all: Final[weakref.WeakSet[Leaders]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_all):
        each.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

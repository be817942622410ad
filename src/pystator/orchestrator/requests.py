"""What a decision may ask of the world.

A decision (a *program*) is a generator: it yields one of these requests and is sent the reply, or
is thrown the error that answering it raised. It reads no clock, draws no random number and does no
I/O, so a test can answer the requests of many programs in any order it likes. Two drivers answer
them for real: `pystator.orchestrator.drivers`.

====================  ==========================================================
request               reply
====================  ==========================================================
`Load`                ``(list of Loaded, wall clock now in microseconds)``
a lone `Lookup`       ``(Loaded, wall clock now in microseconds)``
`Write`               ``list of Outcome``
`WriteAhead`          ``list of Outcome``, of all that were drawn
a lone `Commit`       ``Outcome``
`ReadBack`            a page of an entity's history rows, newest first
`FindDue`             ``(keys, wall clock now in microseconds)``
`AwaitGuard`          the truth of the awaited verdict, or the error that the guard raised
`RunActions`          ``list of ActionOutcome``
`AppendLater`         None, at once
`Sleep`               monotonic seconds, after the pause
====================  ==========================================================
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

from pystator.engine.actions import ActionOutcome, ActionSpec, Around
from pystator.engine.frame import NeedGuard
from pystator.records import Commit, Context, Lookup, record

__all__ = [
    "AppendLater",
    "AwaitGuard",
    "FindDue",
    "Load",
    "Outcomes",
    "Program",
    "ReadBack",
    "Request",
    "RunActions",
    "Sleep",
    "Write",
    "WriteAhead",
]

T = TypeVar("T")

Outcomes = list[ActionOutcome]
"""The reply to `RunActions`."""


@record
class Load:
    """Read entities and known event ids, in one round trip."""

    lookups: Sequence[Lookup]


@record
class Write:
    """Commit, in one round trip."""

    commits: Sequence[Commit]


@record
class WriteAhead:
    """Commit, in one round trip, what is decided meanwhile."""

    commits: Iterable[Commit]


@record
class ReadBack:
    """Read a page of an entity's rows, newest first; ``after`` is the cursor of the last one."""

    entity_id: str
    machine_name: str
    after: str | None


@record
class FindDue:
    """Find entities with a timer due at ``now``, or at the wall clock's time."""

    now: int | None
    limit: int
    machine_name: str


@record
class AwaitGuard:
    """Await the verdict of an async guard.

    Attributes:
        home: Tells the entities of one orchestrator from those of others.
        entity_id: Whose guard it is.
    """

    need: NeedGuard
    home: object
    entity_id: str


@record
class RunActions:
    """Run the planned actions of one event, in order, on a copy of its context.

    Attributes:
        trace: What `pystator.orchestrator.tracing.current_trace` is meanwhile.
        around: Each action runs within one of these.
    """

    specs: Sequence[ActionSpec]
    context: Context
    trace: str | None = None
    around: Around | None = None


@record
class AppendLater:
    """Append history rows, best effort, without waiting."""

    commits: Sequence[Commit]


@record
class Sleep:
    """Pause so many seconds; 0 only reads the monotonic clock."""

    seconds: float


Request = (
    Load
    | Lookup
    | Write
    | Commit
    | WriteAhead
    | ReadBack
    | FindDue
    | AwaitGuard
    | RunActions
    | AppendLater
    | Sleep
)

Program = Generator[Request, Any, T]
"""A decision under way. ``T`` is what it decides in the end."""

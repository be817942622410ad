"""What a replication answers: how far it is, what it did, what it cannot know."""

from pystator.records import record, to_datetime

__all__ = ["Applied", "Known", "Lag", "Rebuilt", "shown_time"]


@record
class Lag:
    """How far the durable store is behind the hot one.

    Attributes:
        entries: Commits that are not applied yet.
        seconds: The age of the oldest of them; 0 when there is none.
        replicated: The time of the newest commit that is applied, in microseconds; None when there
            is none yet.
        trouble: Why replication in this process does not go on at this moment; None when it does,
            or is none of this process's.
    """

    entries: int
    seconds: float
    replicated: int | None
    trouble: str | None = None


@record
class Applied:
    """What a run of the replicator did.

    Attributes:
        entries: Commits.
        rows: History rows.
        waiting: Commits that were not applied yet when it looked last.
        trouble: Why it waits; None when it does not.
    """

    entries: int = 0
    rows: int = 0
    waiting: int = 0
    trouble: str | None = None


@record
class Known:
    """What the durable store knows of the hot one; after that, nothing is known.

    Attributes:
        replicated: The time of the newest commit that was applied, in microseconds, by the clock
            of the hot store; None when none was.
        seen: When the hot store was looked at last, in microseconds; None when it never was.
        head: The time of the newest commit that was seen then; None when there was none.
        waiting: Commits that were seen then and not applied yet.
    """

    replicated: int | None
    seen: int | None
    head: int | None
    waiting: int

    def __str__(self) -> str:
        """A sentence."""
        if self.replicated is None:
            applied = "no commit was replicated"
        else:
            applied = f"every commit up to {shown_time(self.replicated)} was replicated"
        if self.seen is None:
            return f"{applied}; the hot store was never looked at"
        head = (
            "there was none" if self.head is None else f"the newest was of {shown_time(self.head)}"
        )
        return (
            f"{applied}; when the hot store was looked at last, at {shown_time(self.seen)}, {head}"
            f" and {self.waiting:,} waited to be replicated; what was committed after that is"
            " unknown"
        )


@record
class Rebuilt:
    """What a rebuild did.

    Attributes:
        entities: Entities that were copied.
        rows: History rows that were copied.
        known: What was known of the hot store that was lost.
        epoch: The new epoch.
        finished: It came to its end; otherwise it was told to stop: run it again for the rest.
    """

    entities: int
    rows: int
    known: Known
    epoch: str
    finished: bool


def shown_time(microseconds: int) -> str:
    """A moment in UTC."""
    return to_datetime(microseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")

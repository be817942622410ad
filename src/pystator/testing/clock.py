"""A clock that stands still until it is told to move."""

from datetime import datetime, timedelta

from pystator.records import from_datetime, to_datetime

__all__ = ["FakeClock"]


class FakeClock:
    """Microseconds since the epoch, by hand; give it to a store as ``clock=``.

    Args:
        now: Where it starts: microseconds, or an aware datetime.
    """

    def __init__(self, now: int | datetime = 1_700_000_000_000_000) -> None:
        self.microseconds = from_datetime(now) if isinstance(now, datetime) else now

    def __call__(self) -> int:
        """The time, in microseconds."""
        return self.microseconds

    @property
    def now(self) -> datetime:
        """The time, as an aware UTC datetime."""
        return to_datetime(self.microseconds)

    def advance(self, seconds: float | timedelta) -> None:
        """Move it on, or back."""
        span = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        self.microseconds += span // timedelta(microseconds=1)

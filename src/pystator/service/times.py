"""Times as people write and read them: ISO 8601 with a time zone, and durations as in machines."""

from datetime import datetime, timedelta
from typing import Any

from pystator.records import from_datetime, to_datetime

__all__ = ["aware", "duration", "iso"]


def aware(at: Any) -> datetime:
    """The moment that is meant.

    Raises:
        ValueError: It is none; the message goes on after the name of what it is.
    """
    try:
        moment = datetime.fromisoformat(at)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"is no ISO 8601 time: {repr(at)[:42]}; write e.g. 2026-03-02T08:00:00Z"
        ) from error
    if moment.tzinfo is None:
        whole = moment.isoformat()
        raise ValueError(f"has no time zone: {at!r}; write e.g. {whole}Z or {whole}+02:00")
    from_datetime(moment)  # it has to be a moment in UTC, too
    return moment


def iso(moment: int | None) -> str | None:
    """A moment of a record as text."""
    return None if moment is None else to_datetime(moment).isoformat()


def duration(text: str) -> timedelta:
    """A whole number with ms, s, m, h or d.

    Raises:
        ValueError: It is none; the message goes on after the name of what it is.
    """
    from pystator.definition.durations import DurationError, microseconds  # when used

    try:
        return timedelta(microseconds=microseconds(text))
    except DurationError as error:
        raise ValueError(
            f"is no duration: {text[:42]!r}; write a whole number with ms, s, m, h or d, e.g. 2h,"
            " more than 0 and at most a hundred years"
        ) from error

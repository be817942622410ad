"""How long history is kept: ``meta.retention`` of a machine, and the same in Python."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, Self

from pystator.definition.durations import DurationError, microseconds
from pystator.records import record

__all__ = ["DEDUP_WINDOW", "Retention"]

DEDUP_WINDOW: Final = timedelta(days=30)
"""How long event ids are known at least, where nobody says otherwise."""


@record
class Retention:
    """How long the history of a machine's entities is kept.

    Attributes:
        history: Rows of this age may go.
        dedup_window: Rows of events that were sent with an ``event_id`` stay at least this long: an
            event that is sent again within it gets its first answer. 30 days by default.
    """

    history: timedelta
    dedup_window: timedelta = DEDUP_WINDOW

    @classmethod
    def mistakes(cls, meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What is wrong with ages that look right: key and sentence."""
        said: Mapping[str, Any] = meta.get("retention") or {}
        for key, text in said.items():
            try:
                if text is not None:
                    microseconds(text)
            except DurationError as error:
                yield key, str(error)

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Self | None:
        """What a checked machine's ``meta`` says, e.g. ``machine.meta``; None when it says nothing.

        Example:
            >>> Retention.of({"retention": {"history": "90d"}}).history.days
            90
        """
        said: Mapping[str, Any] | None = meta.get("retention")
        if said is None:
            return None
        window: Any = said.get("dedup_window")
        return cls(
            _timedelta(said["history"]), DEDUP_WINDOW if window is None else _timedelta(window)
        )


def _timedelta(text: str) -> timedelta:
    return timedelta(microseconds=microseconds(text))

"""Which rows an index holds, as statements have to say it.

PostgreSQL's have no room for long texts.

An index row holds 2,704 bytes. The two names of a key take up to 2,040 of them (255 characters of
four bytes each), so that some 600 are left for a third text: a state or an event id.
"""

from typing import Final

__all__ = [
    "ALIVE",
    "ARCHIVED",
    "HASH",
    "LONG_EVENT_ID",
    "LONG_STATE",
    "SHORT_EVENT_ID",
    "SHORT_STATE",
    "SHORT_STATE_SINCE",
    "is_long",
    "same_event",
    "same_long_event",
]

SHORT_STATE: Final = "octet_length(state) <= 512"
"""The states that are in the indexes. A query that wants one of these indexes says so."""

SHORT_STATE_SINCE: Final = f"{SHORT_STATE} AND state_since IS NOT NULL"
"""The same. What is true of every row need not follow from a query: one that does not compare the
time cannot be given this index in the place of the other."""

LONG_STATE: Final = "octet_length(state) > 512"
"""The few others: `ix_entity_states_long` has their keys, without the text."""

ALIVE: Final = "archived_at IS NULL"
"""The entities that are found, on every database: an index of theirs has no others."""

ARCHIVED: Final = "archived_at IS NOT NULL"
"""The others, in an index of their own."""

SHORT_EVENT_ID: Final = "octet_length(event_id) <= 512"
"""The event ids that are in their unique index; again, a look-up has to say so."""

LONG_EVENT_ID: Final = "octet_length(event_id) > 512"
"""The others have an index with a hash. Two of one entity that hash alike (1 : 2**64) would be
refused as known."""

HASH: Final = "hashtextextended({0}, 0)"


def same_event(column: str, event_id: str) -> str:
    """An SQL condition: this is the event, and its id is not long.

    Args:
        column: The column, e.g. ``h.event_id``.
        event_id: An expression of the id.
    """
    return f"{column} = {event_id} AND octet_length({column}) <= 512"


def same_long_event(column: str, event_id: str) -> str:
    """An SQL condition: this is the event, and its id is long."""
    return (
        f"{HASH.format(column)} = {HASH.format(event_id)} AND {column} = {event_id}"
        f" AND octet_length({column}) > 512"
    )


def is_long(name: str) -> bool:
    """It has more than 512 bytes."""
    return len(name) > 128 and len(name.encode()) > 512

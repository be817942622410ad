"""What is sent: paths, queries and JSON that a service reads as it was meant.

Law: nothing is bent silently. A value that JSON would change is refused before anything is sent.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from pystator.errors import InvalidValueError
from pystator.records import EventRequest, from_datetime

__all__ = ["Item", "a_key", "body_of", "key_header", "query", "request_of", "segment", "stamp"]

Item = tuple[str, str] | tuple[str, str, Mapping[str, Any] | None] | EventRequest
"""One event of a bulk call: ``(entity_id, trigger[, context])`` or an `EventRequest`."""

_LONGEST: Final = 255
"""Characters of an event id."""

_MADE: Final = "pystator-client:"


def a_key() -> str:
    """A new idempotency key."""
    return f"{_MADE}{uuid.uuid4()}"


def key_header(key: str) -> str:
    """An idempotency key as its header.

    Raises:
        InvalidValueError: No header can carry it.
    """
    if not key or len(key) > _LONGEST or not key.isprintable():
        raise InvalidValueError(
            f"an event id is a text of 1 to {_LONGEST} characters that can be printed,"
            f" not {key!r:.80}"
        )
    if key.strip() == key and '"' not in {key[0], key[-1]}:
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def segment(text: str, what: str) -> str:
    """A name as one segment of a path.

    Raises:
        InvalidValueError: It is no text, or empty.
    """
    if not isinstance(text, str) or not text:  # pyright: ignore[reportUnnecessaryIsInstance] # callers may not check
        raise InvalidValueError(f"{what} is a text with at least one character, not {text!r:.80}")
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"{what} {text!r:.80} is no Unicode text") from error
    return quoted if text.strip(".") else quoted.replace(".", "%2E")


def query(**params: str | float | bool | timedelta | None) -> tuple[tuple[str, str], ...]:
    """The parameters that are given."""
    return tuple((name, _told(value)) for name, value in params.items() if value is not None)


def _told(value: str | float | bool | timedelta) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f"{-(-value // timedelta(milliseconds=1))}ms"
    return str(value)


def stamp(moment: datetime | None) -> str | None:
    """A time as text.

    Raises:
        InvalidValueError: It is no aware datetime.
    """
    if moment is None:
        return None
    try:
        from_datetime(moment)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(str(error)) from error
    return moment.isoformat()


def body_of(facts: Mapping[str, Any]) -> bytes:
    """The facts that are given as a JSON document.

    Raises:
        InvalidValueError: JSON has no word for one of the values.
    """
    told = {name: value for name, value in facts.items() if value is not None}
    try:
        text = json.dumps(told, allow_nan=False, ensure_ascii=False)
        body = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_json(str(error)) from error
    if json.loads(text) != told:
        raise _no_json("a key is no text, or a value would come back as another one")
    return body


def _no_json(why: str) -> InvalidValueError:
    return InvalidValueError(
        f"the data cannot be sent as JSON: {why}; send text, numbers, True, False, None, lists,"
        " and dictionaries whose keys are text"
    )


def request_of(item: Item) -> EventRequest:
    """One event of a bulk call.

    Raises:
        InvalidValueError: It is none.
    """
    if isinstance(item, EventRequest):
        _check(item)
        return item
    if isinstance(item, tuple | list) and len(item) in {2, 3}:  # pyright: ignore[reportUnnecessaryIsInstance] # callers may not check
        return EventRequest(item[0], item[1], item[2] if len(item) == 3 else None)
    raise InvalidValueError(
        f"an item is (entity_id, trigger[, context]) or an EventRequest, not {item!r:.80}"
    )


def _check(event: EventRequest) -> None:
    """What a service decides by itself is not left out silently."""
    for name, value in (("actor", event.actor), ("now", event.now), ("trace", event.trace)):
        if value is not None:
            raise InvalidValueError(
                f"an event for a service has no {name}: it keeps the name of your key, and decides"
                " with its own clock"
            )

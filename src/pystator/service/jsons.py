"""JSON as the standard has it: Python's own reader takes more, which no store can keep.

And what two readers may understand in two ways is refused: a gateway that checks the first of two
amounts would let pass what an event takes from the second.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Never, cast

__all__ = ["as_plain", "parse"]


def _refuse(word: str) -> Never:
    raise ValueError(f"{word} is no JSON value")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {ascii(twice)[:60]} is there twice")
    return made


_STRICT = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)
_LAX = json.JSONDecoder(parse_constant=_refuse)


def parse(text: str, *, once: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.
        once: A key that is there twice is refused; whoever says more about it lets it pass here.

    Raises:
        ValueError: It is not JSON, or holds NaN or Infinity, says a key twice, or is nested too
            deeply to be read.
    """
    try:
        return (_STRICT if once else _LAX).decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def as_plain(value: Any) -> Any:
    """What JSON has no word for: dates in ISO 8601, bytes in hexadecimal, the rest as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, set | frozenset):
        return list(cast("set[Any]", value))
    return str(value)

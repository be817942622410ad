"""Tags of the context codec: values that JSON has no word for.

A tag is a list, the name first: ``["decimal", "1.10"]``,
``["datetime", "2024-05-01T09:30:00", "Europe/Paris"]``.
"""

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, timezone, tzinfo
from typing import Any, Final

from pystator.stores.refusals import Refusal, kind_of

__all__ = ["TAG", "identical", "tag", "untag"]

TAG: Final = "$t"


def tag(value: Any) -> list[Any]:
    """The tag of a value.

    Raises:
        Refusal: There is none; the reason is for `pystator.stores.refusals.explain`.
    """
    for base in kind_of(value).__mro__:
        writer = _WRITERS.get((base.__module__, base.__qualname__))
        if writer is not None:
            return writer(value)
    raise Refusal


def untag(words: Any) -> Any:
    """The value of a tag.

    Raises:
        ValueError, TypeError, LookupError, ArithmeticError: It is no tag.
    """
    return _READERS[words[0]](*words[1:])


def identical(value: Any) -> bool:
    """A tagged value that comes back as it is, and is small."""
    kind = kind_of(value)
    where = kind.__module__
    if where == "decimal":
        return kind.__qualname__ == "Decimal" and value.is_finite() and len(str(value)) <= 200
    if kind is datetime:
        return value.tzinfo is None or value.tzinfo is UTC
    return (
        kind is date
        or (where == "uuid" and kind.__qualname__ == "UUID")
        or (kind is bytes and len(value) <= 64)
    )


def _write_decimal(value: Any) -> list[Any]:
    if not value.is_finite():
        raise Refusal
    from decimal import Decimal  # who has one has paid for the module

    return ["decimal", Decimal.__str__(value)]


def _write_date(value: date) -> list[Any]:
    plain = date(value.year, value.month, value.day)
    if plain != value:
        raise Refusal
    return ["date", plain.isoformat()]


def _write_datetime(value: datetime) -> list[Any]:
    zone = value.tzinfo
    plain = datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        _fixed(value) if zone is not None else None,
        fold=value.fold,
    )
    if plain != value and not _in_gap(value):  # e.g. a pandas Timestamp with nanoseconds
        raise Refusal
    key = _zone_key(zone)
    if key is None:
        words: list[Any] = ["datetime", plain.isoformat()]
        return [*words, None, 1] if plain.fold else words
    words = ["datetime", plain.replace(tzinfo=None).isoformat(), key]
    return [*words, 1] if plain.fold else words


def _in_gap(value: datetime) -> bool:
    """Python never calls a time that a zone skips or has twice equal to one of another zone."""
    return value.utcoffset() != value.replace(fold=not value.fold).utcoffset()


def _fixed(value: datetime) -> tzinfo:
    try:
        offset = value.utcoffset()
    except Exception as error:  # a zone of the user's own
        raise Refusal from error
    if offset is None:
        raise Refusal
    return timezone(offset) if offset else UTC


def _zone_key(zone: tzinfo | None) -> str | None:
    if zone is None or isinstance(zone, timezone):
        return None
    from zoneinfo import ZoneInfo  # most contexts have no zones

    return zone.key if isinstance(zone, ZoneInfo) else None


def _write_uuid(value: Any) -> list[Any]:
    return ["uuid", str(value)]


def _write_bytes(value: bytes) -> list[Any]:
    return ["bytes", base64.b64encode(value).decode("ascii")]


def _read_decimal(text: str) -> Any:
    from decimal import Decimal  # only who stores decimals pays for the module

    return Decimal(text)


def _read_uuid(text: str) -> Any:
    from uuid import UUID  # the module takes longer to import than this package

    return UUID(text)


def _read_datetime(text: str, zone: str | None = None, fold: int = 0) -> datetime:
    moment = datetime.fromisoformat(text)
    if zone is not None:
        from zoneinfo import ZoneInfo

        return moment.replace(tzinfo=ZoneInfo(zone), fold=fold)
    return moment.replace(fold=fold) if fold else moment


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _read_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


_WRITERS: Final[dict[tuple[str, str], Callable[[Any], list[Any]]]] = {
    ("decimal", "Decimal"): _write_decimal,
    ("datetime", "datetime"): _write_datetime,
    ("datetime", "date"): _write_date,
    ("uuid", "UUID"): _write_uuid,
    ("builtins", "bytes"): _write_bytes,
}
"""By name, so that the modules need not be imported before a value of theirs is."""

_READERS: Final[dict[str, Callable[..., Any]]] = {
    "decimal": _read_decimal,
    "datetime": _read_datetime,
    "date": date.fromisoformat,
    "uuid": _read_uuid,
    "bytes": _read_bytes,
    "dict": _read_dict,
}

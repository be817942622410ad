"""The column types that are not the same on every database; migrations and models share them."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Dialect, Integer, String, Text, TextClause
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["BIG_ID", "EPOCH", "NAME", "Time"]

NAME: Final = String().with_variant(Text(collation="C"), "postgresql")
"""Ids, names and states: compared by code point, as SQLite and Python compare them."""

BIG_ID: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column declared INTEGER."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Time(TypeDecorator[int]):
    """A moment: in Python microseconds since 1970-01-01 UTC, in PostgreSQL a ``timestamptz``."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of a database's column."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | datetime | None:
        """What the driver gets."""
        if value is None or dialect.name != "postgresql":
            return value
        return _EPOCH + value * _MICROSECOND

    def process_result_value(self, value: int | datetime | None, dialect: Dialect) -> int | None:
        """What Python gets."""
        del dialect
        return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value


class _Epoch(TextClause):
    """The first moment, as each database writes a `Time` in the definition of a table."""

    inherit_cache = True


@compiles(_Epoch)
def _epoch(element: _Epoch, compiler: Any, **_: Any) -> str:
    del element
    return "'epoch'" if compiler.dialect.name == "postgresql" else "0"


EPOCH: Final = _Epoch("0")
"""A default for a `Time` that is not known."""

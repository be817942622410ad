"""SQLAlchemy over a connection of ours: for migrations and commands, never for an event."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

__all__ = ["over"]


@contextmanager
def over(raw: object, dialect: str, **options: bool) -> Generator[Connection]:
    """SQLAlchemy's connection over the driver's, which stays open.

    Args:
        raw: The driver's connection.
        dialect: A URL without a place, e.g. ``sqlite://``.
        options: Of the dialect.

    Raises:
        Exception: Inside, an error of the driver is the driver's, also where SQLAlchemy wrapped it.
    """
    engine = create_engine(dialect, creator=lambda: raw, poolclass=StaticPool, **options)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from error

"""A caller's own connection, in whose transaction a store is to write: which driver's it is.

A SQLAlchemy ``Connection`` or ``Session`` lends the driver's connection that it holds. Its own
transaction is begun, as its ``execute`` would: otherwise its ``commit`` would do nothing.

SQLAlchemy is never imported for this: where nobody has imported it, the connection is not its.
"""

import sys
from functools import partial
from typing import Any, NoReturn

from pystator.errors import ConfigurationError

__all__ = ["adriver_connection", "driver_connection", "refuse"]


def driver_connection(connection: object) -> object:
    """The driver's connection under a blocking SQLAlchemy object; anything else as it is.

    Raises:
        ConfigurationError: SQLAlchemy has none to lend.
    """
    if "sqlalchemy.orm" in sys.modules:
        from sqlalchemy.orm import Session, scoped_session

        if isinstance(connection, Session | scoped_session):
            connection = _lent(connection.connection)
    if "sqlalchemy.engine" in sys.modules:
        from sqlalchemy.engine import Connection

        if isinstance(connection, Connection):
            if not connection.in_transaction():
                _lent(connection.begin)
            connection = _lent(partial(getattr, connection, "connection"))
    return _unproxied(connection)


async def adriver_connection(connection: object) -> object:
    """`driver_connection` for asyncio: under an ``AsyncConnection`` or ``AsyncSession``, too.

    Raises:
        ConfigurationError: SQLAlchemy has none to lend.
    """
    if "sqlalchemy.ext.asyncio" in sys.modules:
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

        try:
            if isinstance(connection, AsyncSession | async_scoped_session):
                connection = await connection.connection()
            if isinstance(connection, AsyncConnection):
                if not connection.in_transaction():
                    await connection.begin()
                return _unproxied(await connection.get_raw_connection())
        except SQLAlchemyError as error:
            raise _unlent(error) from error
    return driver_connection(connection)


def refuse(connection: object, wanted: str) -> NoReturn:
    """Say what ``connection=`` takes.

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(
        f"connection= takes {wanted}, not {type(connection).__name__}",
        context={"option": "connection", "type": type(connection).__name__},
    )


def _lent(lend: Any) -> Any:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return lend()
    except SQLAlchemyError as error:
        raise _unlent(error) from error


def _unlent(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"connection=: SQLAlchemy lends no connection of this transaction: {error}",
        context={"option": "connection"},
    )


def _unproxied(connection: object) -> object:
    """The connection in the hands of SQLAlchemy's pool."""
    if "sqlalchemy.pool" in sys.modules:
        from sqlalchemy.pool import PoolProxiedConnection

        if isinstance(connection, PoolProxiedConnection):
            return connection.driver_connection
    return connection

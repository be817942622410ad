"""What the tests of the PostgreSQL store share."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from pystator.stores.postgres import PostgresStateStore
from servers.postgres import Databases


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStateStore]:
    """A connected store."""
    with PostgresStateStore(postgres_url) as connected:
        yield connected


@pytest.fixture
def admin(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else to the same database."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def altered(postgres: Databases) -> Iterator[Callable[..., str]]:
    """``altered(*settings)``: the URL of a database with our tables, for that test alone."""
    made: list[str] = []

    def make(*settings: str) -> str:
        url = postgres.database(postgres.tables)
        made.append(url)
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in settings:
                connection.execute(f"ALTER DATABASE {name} SET {setting}")
        return url

    yield make
    for url in made:
        postgres.drop(url)

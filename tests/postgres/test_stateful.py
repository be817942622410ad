"""The store in PostgreSQL against the one in memory, over random histories."""

import psycopg
import pytest
from hypothesis import settings

from pystator.db.schema import TABLES
from pystator.testing.stateful import StoreComparison
from servers.sessions import Settled

urls: list[str] = []


@pytest.fixture(autouse=True)
def _url(postgres_url):
    urls.append(postgres_url)
    yield
    urls.pop()


class PostgresAgainstMemory(StoreComparison):
    def make_store(self, path):
        mark = path / "used"
        if not mark.exists():  # the first of a run
            mark.touch()
            with psycopg.connect(urls[-1], autocommit=True) as connection:
                for table in TABLES:  # they are all but empty: quicker than TRUNCATE
                    connection.execute(f"DELETE FROM {table}")
        return Settled(urls[-1], pool_size=2)


class PostgresAgainstMemoryAsync(PostgresAgainstMemory):
    face = "async"


TestPostgresAgainstMemory = PostgresAgainstMemory.TestCase
TestPostgresAgainstMemory.settings = settings(
    max_examples=10, stateful_step_count=15, deadline=None
)

TestPostgresAgainstMemoryAsync = PostgresAgainstMemoryAsync.TestCase
TestPostgresAgainstMemoryAsync.settings = settings(
    max_examples=4, stateful_step_count=12, deadline=None
)


@pytest.mark.soak
class TestPostgresAgainstMemoryForLong(PostgresAgainstMemory.TestCase):
    settings = settings(max_examples=300, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestPostgresAgainstMemoryAsyncForLong(PostgresAgainstMemoryAsync.TestCase):
    settings = settings(max_examples=100, stateful_step_count=25, deadline=None)

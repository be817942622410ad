"""Behind a pooler that gives each transaction another server process: commands leave no session."""

import psycopg
import pytest

from pystator.cli.machines import find_definition
from pystator.db import commands
from pystator.db.postgres import is_pooled, open_connection
from pystator.db.postgres_url import parse_postgres
from pystator.db.schema import HEAD
from servers.pooler import Pooler, pgbouncer


@pytest.fixture(params=["ours", "pgbouncer"])
def pooled_url(request, trusting_postgres_url):
    """An empty database behind our own small pooler, and behind the real one where there is one."""
    if request.param == "ours":
        with Pooler(trusting_postgres_url) as pooler:
            yield pooler.url
            assert pooler.transactions > 10
        return
    with pgbouncer(trusting_postgres_url) as url:
        yield url or trusting_postgres_url


def test_our_pooler_is_one(trusting_postgres_url) -> None:
    """What a client left in its session is not there any more: that is what it is for."""
    with (
        Pooler(trusting_postgres_url) as pooler,
        psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as connection,
    ):
        assert is_pooled(connection)
        connection.execute("SET application_name = 'left behind'")
        names = {connection.execute("SHOW application_name").fetchone() for _ in range(6)}
        assert names > {("left behind",)}
        with connection.transaction():
            pids = {connection.execute("SELECT pg_backend_pid()").fetchone() for _ in range(6)}
        assert len(pids) == 1
        connection.execute("PREPARE mine AS SELECT 1")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            connection.execute("EXECUTE mine")


@pytest.mark.filterwarnings("ignore:.*behind a connection pooler")
def test_every_command_works(pooled_url) -> None:
    assert commands.init(pooled_url).after == HEAD
    assert commands.init(pooled_url).before == HEAD
    assert len(commands.seed(pooled_url)) == 3
    assert find_definition("order", pooled_url).name == "order"
    assert commands.rows(pooled_url) == 3
    assert commands.truncate(pooled_url)["machines"] == 3
    commands.downgrade(pooled_url, "base")
    assert commands.upgrade(pooled_url).after == HEAD
    assert next(each.is_current for each in commands.history(pooled_url))


def test_a_direct_connection_is_not_taken_for_a_pooled_one(trusting_postgres_url) -> None:
    with open_connection(parse_postgres(trusting_postgres_url)) as connection:
        assert not is_pooled(connection)

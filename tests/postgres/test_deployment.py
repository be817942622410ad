"""What the page about PostgreSQL promises to those who run one: rights, upgrades, backups."""

import re
from pathlib import Path

import psycopg
import pytest

from pystator import PostgresStateStore
from pystator.db import commands
from pystator.db.schema import HEAD
from pystator.errors import SchemaError, StoreUnavailableError
from pystator.testing.building import applied, change
from servers.sessions import Settled

PAGE = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text(encoding="utf-8")
OWNER = "postgresql://user:pass@localhost/pystator"
GUEST = "postgresql://guest:pass@localhost/pystator"


def sql_of_the_page(start: str) -> str:
    """The block of the page that begins so."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(start)]
    return found


def test_a_role_with_the_rights_of_the_page_runs_and_makes_nothing(manual_postgres) -> None:
    """One role owns the tables, another one runs: least rights, as security teams ask for."""
    commands.init(OWNER)
    with pytest.raises(StoreUnavailableError, match="permission denied for table") as refused:
        PostgresStateStore(GUEST).connect()
    right = sql_of_the_page("GRANT").split(";")[1].split(" TO ")[0].strip()
    assert right in refused.value.message
    with psycopg.connect(OWNER) as connection:
        connection.execute(sql_of_the_page("GRANT").replace(" app;", " guest;"))
    with PostgresStateStore(GUEST) as store:
        store.set_state("order-1", "open", metadata={"machine_name": "order"})
        store.set_state("order-1", "paid", metadata={"machine_name": "order"})
        assert store.get_state("order-1") == "paid"
        assert [row.version for row in store.history("order-1").items] == [1, 2]
        assert len(store.feed(None).items) == 2
    with psycopg.connect(GUEST) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DROP TABLE entity_states")


def test_a_database_of_the_release_before_is_upgraded_with_its_rows(postgres_url) -> None:
    """It is refused, not changed behind anybody's back; then the command is typed."""
    with PostgresStateStore(postgres_url) as store:
        for n in range(3):
            store.set_state(f"order-{n}", "open", metadata={"machine_name": "order"})
        before = store.entities().items
    assert commands.downgrade(postgres_url, "0001").after == "0001"
    with pytest.raises(SchemaError, match="pystator db upgrade postgresql://"):
        PostgresStateStore(postgres_url).connect()
    assert commands.upgrade(postgres_url).after == HEAD
    with PostgresStateStore(postgres_url) as store:
        assert store.entities().items == before
        assert [entity.state_since for entity in before] == [each.updated_at for each in before]
        applied(store, change("order-0", machine="order", after=1, archived_at=5))
        assert store.entities().items == before[1:]


def test_after_a_restored_dump_the_feed_goes_on_with_the_statement_of_the_page(
    postgres_url,
) -> None:
    """A dump keeps the numbers of transactions that a new server has not reached."""
    with PostgresStateStore(postgres_url) as store:
        for n in range(3):
            store.set_state(f"order-{n}", "open", metadata={"machine_name": "order"})
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                "UPDATE transition_history SET txid = (txid::text::bigint + 9e12)::bigint::text::xid8"
            )
        assert store.feed(None).items == []
        with psycopg.connect(postgres_url) as connection:
            connection.execute(sql_of_the_page("UPDATE"))
    with Settled(postgres_url) as store:
        rows = store.feed(None).items
        assert [row.entity_id for row in rows] == ["order-0", "order-1", "order-2"]


def test_the_queries_of_the_page_run(postgres_url) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(sql_of_the_page("SELECT"))

"""The tables: migrations and models describe the same ones, and users query them by the models."""

import re
import sqlite3
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, inspect, select
from sqlalchemy.orm import Session

from pystator.db import commands, models, schema
from pystator.db.models import (
    EntityStateModel,
    MachineModel,
    Model,
    TransitionHistoryModel,
    WorkerEventModel,
)
from pystator.errors import SchemaError
from pystator.stores.sqlite import SQLiteStateStore
from pystator.testing.building import applied, change


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    commands.init(url)
    return url


def test_migrations_make_exactly_the_models(url) -> None:
    """A column added to one and forgotten in the other would fail on somebody's database."""
    with create_engine(url).connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, Model.metadata) == []
    connection.engine.dispose()


def _parts(sql):
    """Columns and keys in any order: a migration adds a column at the end."""
    parts = re.split(r"\n|, (?=\w+ [A-Z])", sql.removesuffix(")"))
    return [part.strip(" ,\t") for part in parts if part.strip()]


def test_migrated_tables_are_the_models_to_the_letter(url, tmp_path) -> None:
    """What autogenerate does not compare: autoincrement, partial indexes, keys."""
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    Model.metadata.create_all(made)
    made.dispose()
    query = (
        "SELECT type, name, tbl_name, sql FROM sqlite_master"
        f" WHERE name NOT IN ('{schema.VERSION_TABLE}', 'sqlite_autoindex_{schema.VERSION_TABLE}_1')"
        " ORDER BY 1, 2"
    )
    found = []
    for name in ("shop.db", "made.db"):
        connection = sqlite3.connect(tmp_path / name)
        found.append(
            [(*row[:3], row[3] and sorted(_parts(row[3]))) for row in connection.execute(query)]
        )
        connection.close()
    assert found[0] == found[1]
    assert "AUTOINCREMENT" in str(found[0])


def test_the_list_of_revisions_is_the_list_of_migrations() -> None:
    """The store knows the newest revision without importing Alembic."""
    assert [each.revision for each in reversed(commands.history("sqlite://"))] == list(
        schema.REVISIONS
    )


def test_going_down_leaves_nothing_and_up_again_makes_the_same(url, tmp_path) -> None:
    def tables():
        connection = sqlite3.connect(tmp_path / "shop.db")
        rows = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY 1").fetchall()
        connection.close()
        return rows

    before = tables()
    assert commands.downgrade(url, "base").after is None
    assert {name for name, _ in tables()} <= {
        schema.VERSION_TABLE,
        f"sqlite_autoindex_{schema.VERSION_TABLE}_1",
        "sqlite_sequence",
    }
    assert commands.upgrade(url).after == schema.HEAD
    assert tables() == before


def test_what_was_there_before_is_in_its_state_since_its_last_change(url) -> None:
    """The first revision did not keep since when: the last change is the best that is known."""
    with SQLiteStateStore(url) as store:
        store.set_state("order-0", "open", metadata={"machine_name": "order"})
        changed = store.entities().items[0].updated_at
    assert commands.downgrade(url, "0001").after == "0001"
    with pytest.raises(SchemaError, match="pystator db upgrade"):
        SQLiteStateStore(url).connect()
    commands.upgrade(url)
    with SQLiteStateStore(url) as store:
        assert store.entities().items[0].state_since == changed


def test_what_was_there_before_the_archive_is_alive(url) -> None:
    with SQLiteStateStore(url) as store:
        applied(store, change("a", timers={"t": (20, 1)}), change("b"))
        before = store.entities().items, store.history("a").items
    assert commands.downgrade(url, "0002").after == "0002"
    commands.upgrade(url)
    with SQLiteStateStore(url) as store:
        assert (store.entities().items, store.history("a").items) == before
        assert store.due(50, 9) == [("a", "m")]
        applied(store, change("a", after=1, archived_at=5, trace="00-ab-cd-01"))
        assert [entity.entity_id for entity in store.entities().items] == ["b"]
    commands.downgrade(url, "0002")
    commands.upgrade(url)
    with SQLiteStateStore(url) as store:
        assert [entity.archived_at for entity in store.entities().items] == [None, None]
        assert [row.trace for row in store.history("a").items] == [None, None]


def test_users_query_entities_and_history_by_the_models(url) -> None:
    with SQLiteStateStore(url) as store:
        for n in range(3):
            store.set_state(f"order-{n}", "open", metadata={"machine_name": "order"})
        store.set_state("order-0", "paid", metadata={"machine_name": "order"})
    engine = create_engine(url)
    with Session(engine) as session:
        counts = session.execute(
            select(EntityStateModel.state, func.count()).group_by(EntityStateModel.state)
        ).all()
        assert dict(map(tuple, counts)) == {"open": 2, "paid": 1}
        rows = session.scalars(
            select(TransitionHistoryModel).where(TransitionHistoryModel.entity_id == "order-0")
        ).all()
        assert [(row.version, row.success, row.target_state) for row in rows] == [
            (1, True, "open"),
            (2, True, "paid"),
        ]
        assert session.scalars(select(MachineModel)).all() == []
        assert session.scalars(select(WorkerEventModel)).all() == []
    engine.dispose()


def test_the_four_models_are_the_four_tables_and_every_one_is_emptied() -> None:
    names = [
        model.__tablename__
        for model in (WorkerEventModel, TransitionHistoryModel, EntityStateModel, MachineModel)
    ]
    assert list(schema.TABLES[:4]) == names
    assert set(schema.TABLES) == set(Model.metadata.tables)


def test_columns_that_say_who_works_on_an_event_are_in_no_index(url) -> None:
    """A lease is renewed often; an index would pay for it each time."""
    engine = create_engine(url)
    indexes = inspect(engine).get_indexes("worker_events")
    engine.dispose()
    assert not {"lease_until", "lease_token"} & {
        column for index in indexes for column in index["column_names"]
    }


def test_importing_the_models_opens_nothing(tmp_path) -> None:
    code = "import sys, pystator.db.models; print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
    assert list(tmp_path.iterdir()) == []
    assert set(models.__all__) > {"MachineModel", "EntityStateModel"}

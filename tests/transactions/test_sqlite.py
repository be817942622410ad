"""The caller's transaction on SQLite: which connections are taken, locks, snapshots, other tasks."""

import asyncio
import sqlite3
import subprocess
import sys
import threading

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from pystator import (
    ConfigurationError,
    InMemoryStateStore,
    Orchestrator,
    SQLiteStateStore,
    StaleVersionError,
    StoreUnavailableError,
)


@pytest.fixture
def shop(sqlite_shop):
    return sqlite_shop


# Which connections --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [object(), "sqlite:///shop.db", 1], ids=["object", "text", "number"]
)
def test_what_is_no_connection_is_refused(orders, wrong):
    with pytest.raises(ConfigurationError, match=r"sqlite3\.Connection of your transaction"):
        orders.process_event("o-1", "note", connection=wrong)


def test_an_engine_is_refused(shop, orders):
    engine = create_engine(shop.url)
    with pytest.raises(ConfigurationError, match="not Engine"):
        orders.process_event("o-1", "note", connection=engine)


def test_another_database_is_refused(tmp_path, orders):
    for name in (tmp_path / "other.db", ":memory:"):
        other = sqlite3.connect(name)
        with pytest.raises(ConfigurationError, match="one transaction cannot hold both"):
            orders.process_event("o-1", "note", connection=other)
        other.close()


def test_the_same_file_by_another_name_is_taken(shop, tmp_path, orders):
    link = tmp_path / "link.db"
    link.symlink_to(shop.path)
    connection = sqlite3.connect(f"file:{link}?mode=rw", uri=True)
    orders.process_event("o-1", "note", connection=connection)
    connection.commit()
    connection.close()
    assert orders.get_entity("o-1").version == 1


def test_a_store_in_memory_says_that_nobody_can_reach_it(machine):
    connection = sqlite3.connect(":memory:")
    store = SQLiteStateStore("sqlite://").connect()
    with pytest.raises(ConfigurationError, match="in memory"):
        Orchestrator(machine, store).process_event("o-1", "note", connection=connection)
    store.disconnect()
    connection.close()


class Three:
    """A user's store."""

    def get_state(self, entity_id):
        return None

    def get_context(self, entity_id):
        return {}

    def set_state(self, entity_id, state, *, metadata=None):
        raise AssertionError


@pytest.mark.parametrize("store", [InMemoryStateStore(), Three()], ids=["memory", "three methods"])
def test_stores_without_transactions_say_so(machine, shop, store):
    name = type(store).__name__
    with pytest.raises(ConfigurationError, match=f"a PostgresStateStore; {name} has none"):
        Orchestrator(machine, store).process_event("o-1", "note", connection=shop.connect())


def test_a_connection_that_commits_by_itself_has_to_begin(shop, orders):
    connection = shop.connect()
    connection.isolation_level = None
    with pytest.raises(ConfigurationError, match="BEGIN IMMEDIATE"):
        orders.process_event("o-1", "note", connection=connection)
    connection.execute("BEGIN IMMEDIATE")
    orders.process_event("o-1", "note", connection=connection)
    assert orders.get_entity("o-1") is None
    connection.execute("COMMIT")
    assert orders.get_entity("o-1").version == 1


if sys.version_info >= (3, 12):  # Connection.autocommit

    @pytest.mark.parametrize("autocommit", [True, False])
    def test_the_newer_autocommit_is_understood(shop, orders, autocommit):
        connection = sqlite3.connect(shop.path, autocommit=autocommit)
        if autocommit:
            with pytest.raises(ConfigurationError, match="BEGIN IMMEDIATE"):
                orders.process_event("o-1", "note", connection=connection)
            connection.execute("BEGIN")
        orders.process_event("o-1", "note", connection=connection)
        assert orders.get_entity("o-1") is None
        connection.execute("COMMIT") if autocommit else connection.commit()
        connection.close()
        assert orders.get_entity("o-1").version == 1


def test_reading_begins_no_transaction(shop, orders):
    connection = shop.connect()
    assert orders.get_entity("o-1", connection=connection) is None
    assert not connection.in_transaction
    connection.isolation_level = None
    assert orders.get_entity("o-1", connection=connection) is None


def test_a_store_that_is_not_connected_says_so(machine, shop):
    connection = shop.connect()
    orders = Orchestrator(machine, SQLiteStateStore(shop.url))
    with pytest.raises(StoreUnavailableError, match=r"store\.connect"):
        orders.process_event("o-1", "note", connection=connection)


def test_a_closed_connection_is_unavailable(shop, orders):
    connection = shop.connect()
    connection.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        orders.process_event("o-1", "note", connection=connection)


def test_a_connection_of_another_thread_is_refused_by_the_driver(shop, orders):
    connection = sqlite3.connect(shop.path)
    errors: list[Exception] = []

    def use() -> None:
        try:
            orders.process_event("o-1", "note", connection=connection)
        except StoreUnavailableError as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    connection.close()
    assert "thread" in errors[0].message


def test_the_callers_factories_are_the_callers(shop, orders):
    connection = shop.connect()
    connection.row_factory = lambda cursor, row: {"row": row}
    connection.text_factory = bytes
    orders.process_event("o-1", "place", {"name": "Ümit"}, event_id="e", connection=connection)
    again = orders.process_event(
        "o-1", "place", {"name": "Ümit"}, event_id="e", connection=connection
    )
    assert again.replayed
    assert connection.execute("SELECT 'x'").fetchone() == {"row": (b"x",)}
    connection.commit()
    assert orders.get_entity("o-1").context == {"name": "Ümit"}


# SQLAlchemy ---------------------------------------------------------------------------------------


def test_a_session_rolls_both_back(shop, orders, engine):
    with Session(engine) as session:
        session.execute(text("INSERT INTO orders VALUES ('o-1', 1)"))
        orders.process_event("o-1", "place", connection=session)
        session.rollback()
    assert (shop.orders(), orders.get_entity("o-1")) == ([], None)


def test_a_scoped_session_is_taken(shop, orders, engine):
    session = scoped_session(sessionmaker(engine))
    orders.process_event("o-1", "place", connection=session)
    session.commit()
    session.remove()
    assert orders.get_entity("o-1").version == 1


def test_a_connection_of_an_engine_is_taken(shop, orders, engine):
    with engine.begin() as connection:
        orders.process_event("o-1", "place", connection=connection)
    with engine.connect() as connection:
        orders.process_event("o-1", "note", connection=connection)
        connection.commit()
    with engine.connect() as connection:
        orders.process_event("o-1", "note", connection=connection)
    assert orders.get_entity("o-1").version == 2


def test_a_session_without_an_engine_says_so(orders):
    with Session() as session, pytest.raises(ConfigurationError, match="SQLAlchemy lends no"):
        orders.process_event("o-1", "place", connection=session)


def test_a_store_inside_of_a_session_goes_with_its_transactions(shop, engine):
    """After a commit the session gives its connection back: the next one may be another."""
    with Session(engine) as session:
        inside = shop.store.within(session)
        inside.set_state("o-1", "placed")
        session.commit()
        inside.set_state("o-1", "paid")
        assert shop.store.get_state("o-1") == "placed"
        session.rollback()
        inside.set_state("o-1", "lost")
        session.commit()
    assert shop.store.get_state_versioned("o-1") == ("lost", 2)


# Locks and snapshots ------------------------------------------------------------------------------


def test_a_transaction_that_read_too_early_has_to_be_run_again(shop, orders, buy):
    connection = shop.connect()
    connection.isolation_level = None
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM orders").fetchall()
    orders.process_event("o-1", "note")
    with pytest.raises(StaleVersionError, match="run it again"):
        orders.process_event("o-1", "note", connection=connection)
    with pytest.raises(StaleVersionError, match="BEGIN IMMEDIATE"):
        orders.process_events([("o-1", "note"), ("o-2", "note")], connection=connection)
    connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    orders.process_event("o-1", "note", connection=connection)
    connection.execute("COMMIT")
    assert orders.get_entity("o-1").context == {"notes": 2}


def test_a_locked_file_is_waited_for_and_not_for_ever(shop, machine, tmp_path):
    store = SQLiteStateStore(shop.url, busy_limit=0.1).connect()
    orders = Orchestrator(machine, store)
    other, connection = shop.connect(), shop.connect()
    orders.process_event("o-1", "note", connection=other)
    with pytest.raises(StoreUnavailableError, match="give connection= to every call"):
        orders.process_event("o-1", "note", connection=connection)
    with pytest.raises(StoreUnavailableError, match="locked"):
        orders.process_event("o-1", "note")
    timer = threading.Timer(0.03, other.commit)
    timer.start()
    orders.process_event("o-1", "note", connection=connection)
    connection.commit()
    timer.join()
    assert orders.get_entity("o-1").context == {"notes": 2}
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (5_000,)
    store.disconnect()


def test_a_full_disk_is_told_and_rolled_back_by_the_caller(shop, orders, buy):
    connection = shop.connect()
    buy(connection, "o-1")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailableError, match="full"):
        orders.process_event("o-1", "note", {"text": "x" * 500_000}, connection=connection)
    connection.rollback()
    assert (shop.orders(), orders.get_entity("o-1")) == ([], None)


@pytest.mark.parametrize("begin", ["", "BEGIN", "BEGIN IMMEDIATE"])
def test_transactions_of_many_threads_lose_nothing(shop, orders, begin):
    """Whatever begins them: an event takes the lock before it reads."""
    errors: list[BaseException] = []

    def work(name: int) -> None:
        connection = sqlite3.connect(shop.path, isolation_level=None if begin else "")
        try:
            for number in range(20):
                if begin:
                    connection.execute(begin)
                orders.process_event("o-1", "note", connection=connection)
                connection.execute("INSERT INTO orders VALUES (?, 1)", (f"{name}-{number}",))
                connection.execute("COMMIT")
                orders.process_event("o-1", "note")
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(shop.orders()) == 80
    assert orders.get_entity("o-1").context == {"notes": 160}
    assert orders.get_entity("o-1").version == 160


# Processes ----------------------------------------------------------------------------------------

VICTIM = """
import sqlite3, sys
from pystator import Orchestrator, SQLiteStateStore, StateMachine

url, path = sys.argv[1:]
machine = StateMachine.from_dict({
    "meta": {"machine_name": "order", "version": "1.0"},
    "states": [{"name": "new", "type": "initial"}, {"name": "placed"}],
    "transitions": [{"trigger": "place", "source": "new", "dest": "placed"}],
})
orders = Orchestrator(machine, SQLiteStateStore(url).connect())
connection = sqlite3.connect(path)
for number in range(300):
    orders.process_event(f"v-{number}", "place", connection=connection)
    connection.execute("INSERT INTO orders VALUES (?, 1)", (f"v-{number}",))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_process_killed_before_its_commit_has_written_nothing(shop, orders):
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, shop.url, str(shop.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert victim.stdout.readline() == "written\n"
    finally:
        victim.kill()
        victim.communicate()
    assert shop.orders() == []
    assert shop.store.list_entities() == []
    assert shop.store.feed(None).items == []
    assert orders.process_event("v-1", "place").version == 1


# asyncio ------------------------------------------------------------------------------------------


def test_async_calls_commit_with_the_caller(shop, orders, done, buy):
    async def main() -> None:
        connection = shop.connect()
        buy(connection, "o-1")
        placed = await orders.async_process_event("o-1", "place", connection=connection)
        await orders.async_apply_data("o-1", {"amount": 12}, connection=connection)
        await orders.async_create_entity("o-2", connection=connection)
        many = await orders.async_process_events([("o-1", "pay")], connection=connection)
        await orders.async_force_state(
            "o-2", "lost", reason="test", actor="me", connection=connection
        )
        seen = await orders.async_get_entity("o-1", connection=connection)
        assert seen.version == 3
        assert await orders.async_get_entity("o-1") is None
        connection.commit()
        assert await orders.async_get_entity("o-1") == seen
        assert done == []
        await orders.async_run_actions([placed, *many])
        await orders.async_run_actions(placed)
        assert done == ["mail", "receipt", "mail"]

    asyncio.run(main())
    assert shop.orders() == ["o-1"]


def test_async_guards_and_actions_are_awaited(shop, machine):
    async def mail(ctx):
        await asyncio.sleep(0)
        sent.append(ctx["amount"])

    sent: list[int] = []
    gated = machine.from_dict(
        {
            "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
            "transitions": [
                {"trigger": "go", "source": "a", "dest": "b", "guards": ["ok"], "actions": ["mail"]}
            ],
        }
    )

    async def ok(ctx):
        await asyncio.sleep(0)
        return ctx["amount"] > 1

    orders = Orchestrator(gated, shop.store, guards={"ok": ok}, actions={"mail": mail})

    async def main() -> None:
        connection = shop.connect()
        went = await orders.async_process_event("o-1", "go", {"amount": 7}, connection=connection)
        connection.commit()
        await orders.async_run_actions(went)

    asyncio.run(main())
    assert sent == [7]


def test_waiting_for_the_lock_leaves_the_loop_to_others(shop, orders):
    """The holder of the lock is another task of the same loop."""

    async def main() -> None:
        first, second = shop.connect(), shop.connect()
        await orders.async_process_event("o-1", "note", connection=first)
        waits = asyncio.create_task(orders.async_process_event("o-1", "note", connection=second))
        await asyncio.sleep(0.02)
        assert not waits.done()
        first.commit()
        assert (await waits).version == 2
        second.commit()

    asyncio.run(main())

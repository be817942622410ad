"""The caller's transaction on PostgreSQL: which connections are taken, isolation, locks, asyncio."""

import asyncio
import subprocess
import sys
import threading

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pystator import (
    ConfigurationError,
    Orchestrator,
    PostgresStateStore,
    StaleVersionError,
    StoreUnavailableError,
)
from servers.sessions import Settled


@pytest.fixture
def shop(postgres_shop):
    return postgres_shop


def states(shop) -> list[str]:
    """Whose transactions wait for a lock."""
    with psycopg.connect(shop.url) as connection:
        found = connection.execute(
            "SELECT wait_event_type FROM pg_stat_activity WHERE datname = current_database()"
        )
        return [row[0] for row in found]


def until_somebody_waits_for_a_lock(shop) -> None:
    pause = threading.Event()
    for _ in range(1_000):
        if "Lock" in states(shop):
            return
        pause.wait(0.005)
    raise AssertionError("nobody waits")


class Aside(threading.Thread):
    """A call in a thread of its own, its result or its error."""

    def __init__(self, call) -> None:
        super().__init__()
        self._call = call
        self._result = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def result(self):
        self.join(20)
        if self._error is not None:
            raise self._error
        return self._result


# Which connections --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [object(), 1], ids=["object", "number"])
def test_what_is_no_connection_is_refused(orders, wrong):
    with pytest.raises(ConfigurationError, match=r"psycopg\.Connection of your transaction"):
        orders.process_event("o-1", "note", connection=wrong)


def test_the_face_of_the_call_has_to_be_the_connections(shop, orders):
    async def main() -> None:
        blocking = shop.connect()
        with pytest.raises(ConfigurationError, match="hold up the event loop"):
            await orders.async_process_event("o-1", "note", connection=blocking)
        with pytest.raises(ConfigurationError, match="AsyncConnection of your"):
            await orders.async_process_event("o-1", "note", connection=object())
        async with await psycopg.AsyncConnection.connect(shop.url) as connection:
            with pytest.raises(ConfigurationError, match="async_process_event"):
                orders.process_event("o-1", "note", connection=connection)

    asyncio.run(main())


def test_another_database_is_refused(postgres, orders):
    url = postgres.database()
    connection = psycopg.connect(url)
    with pytest.raises(ConfigurationError, match="does not see the store's tables"):
        orders.process_event("o-1", "note", connection=connection)
    connection.close()
    with PostgresStateStore(url):
        connection = psycopg.connect(url)
        with pytest.raises(ConfigurationError, match="one transaction cannot hold both"):
            orders.process_event("o-1", "note", connection=connection)
        connection.close()
    postgres.drop(url)


def test_another_schema_is_refused(shop, orders):
    connection = shop.connect()
    connection.execute("SET search_path = pg_catalog")
    with pytest.raises(ConfigurationError, match="search_path"):
        orders.process_event("o-1", "note", connection=connection)


def test_a_connection_that_commits_by_itself_has_to_begin(shop, orders):
    connection = shop.connect(autocommit=True)
    with pytest.raises(ConfigurationError, match=r"connection\.transaction"):
        orders.process_event("o-1", "note", connection=connection)
    assert orders.get_entity("o-1", connection=connection) is None
    with connection.transaction():
        orders.process_event("o-1", "note", connection=connection)
        assert orders.get_entity("o-1") is None
    assert orders.get_entity("o-1").version == 1


def test_a_nested_transaction_of_the_drivers_is_undone_alone(shop, orders, buy):
    connection = shop.connect()
    with connection.transaction():
        buy(connection, "o-1")
        with connection.transaction(force_rollback=True):
            orders.process_event("o-1", "note", connection=connection)
    connection.commit()
    assert (shop.orders(), orders.get_entity("o-1")) == (["o-1"], None)


def test_a_failed_transaction_is_refused(shop, orders):
    connection = shop.connect()
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    with pytest.raises(ConfigurationError, match="roll it back"):
        orders.process_event("o-1", "note", connection=connection)


def test_a_connection_in_pipeline_mode_is_refused(shop, orders):
    connection = shop.connect()
    with connection.pipeline(), pytest.raises(ConfigurationError, match="pipeline"):
        orders.process_event("o-1", "note", connection=connection)


def test_a_closed_connection_is_unavailable(shop, orders):
    connection = shop.connect()
    connection.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        orders.process_event("o-1", "note", connection=connection)


def test_a_store_that_is_not_connected_says_so(machine, shop):
    orders = Orchestrator(machine, PostgresStateStore(shop.url))
    with pytest.raises(StoreUnavailableError, match=r"store\.connect"):
        orders.process_event("o-1", "note", connection=shop.connect())


def test_the_transaction_is_begun_as_the_connection_says(shop, orders):
    connection = shop.connect()
    orders.process_event("o-1", "note", connection=connection)
    connection.rollback()
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.deferrable = True
    orders.process_event("o-1", "note", connection=connection)
    assert connection.execute("SHOW transaction_isolation").fetchone() == ("repeatable read",)
    connection.rollback()
    connection.isolation_level = None
    connection.read_only = True
    with pytest.raises(ConfigurationError, match="only reads"):
        orders.process_event("o-1", "note", connection=connection)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_callers_rows_are_the_callers(shop, orders):
    connection = shop.connect(row_factory=dict_row)
    orders.process_event("o-1", "place", {"name": "Ümit"}, event_id="e", connection=connection)
    again = orders.process_event(
        "o-1", "place", {"name": "Ümit"}, event_id="e", connection=connection
    )
    assert again.replayed
    assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


# SQLAlchemy ---------------------------------------------------------------------------------------


def test_a_connection_of_an_engine_is_taken(shop, orders, engine):
    with engine.begin() as connection:
        orders.process_event("o-1", "place", connection=connection)
    with engine.connect() as connection:
        orders.process_event("o-1", "note", connection=connection)
    assert orders.get_entity("o-1").version == 1
    by_itself = engine.execution_options(isolation_level="AUTOCOMMIT")
    with by_itself.connect() as connection, pytest.raises(ConfigurationError, match="by itself"):
        orders.process_event("o-1", "note", connection=connection)


def test_async_sessions_and_connections_are_taken(shop, orders):
    engine = create_async_engine(shop.url.replace("postgresql:", "postgresql+psycopg:"))

    async def main() -> None:
        async with AsyncSession(engine) as session:
            await session.execute(text("INSERT INTO orders VALUES ('o-1', 1)"))
            await orders.async_process_event("o-1", "place", connection=session)
            assert await orders.async_get_entity("o-1") is None
            await session.commit()
            await orders.async_process_event("o-1", "note", connection=session)
            await session.rollback()
        async with engine.connect() as connection:
            await orders.async_process_event("o-2", "place", connection=connection)
            await connection.commit()
        await engine.dispose()

    asyncio.run(main())
    assert shop.orders() == ["o-1"]
    assert [orders.get_entity(each).version for each in ("o-1", "o-2")] == [1, 1]


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


# Conflicts ----------------------------------------------------------------------------------------


def test_an_event_waits_for_the_transaction_before_it_and_decides_again(shop, orders):
    first, second = shop.connect(), shop.connect()
    orders.process_event("o-1", "note")
    orders.process_event("o-1", "note", connection=first)
    late = Aside(lambda: orders.process_event("o-1", "note", connection=second))
    until_somebody_waits_for_a_lock(shop)
    first.commit()
    assert late.result().version == 3
    second.commit()
    assert orders.get_entity("o-1").context == {"notes": 3}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_two_transactions_start_one_entity(shop, orders, end):
    first, second = shop.connect(), shop.connect()
    orders.process_event("o-1", "note", connection=first)
    late = Aside(lambda: orders.process_event("o-1", "note", connection=second))
    until_somebody_waits_for_a_lock(shop)
    getattr(first, end)()
    assert late.result().version == (2 if end == "commit" else 1)


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("trigger", ["note", "pay"], ids=["applied", "rejected"])
def test_one_event_id_in_two_transactions(shop, orders, end, trigger):
    first, second = shop.connect(), shop.connect()
    orders.process_event("o-1", "note")
    orders.process_event("o-1", trigger, event_id="e-1", connection=first)
    late = Aside(lambda: orders.process_event("o-1", trigger, event_id="e-1", connection=second))
    until_somebody_waits_for_a_lock(shop)
    getattr(first, end)()
    assert late.result().replayed is (end == "commit")
    second.commit()
    assert orders.process_event("o-1", trigger, event_id="e-1").replayed


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_a_snapshot_that_is_too_old_has_to_be_run_again(shop, orders, buy, level):
    orders.process_event("o-1", "note")
    connection = shop.connect()
    connection.isolation_level = psycopg.IsolationLevel[level]
    buy(connection, "o-1")
    orders.process_event("o-1", "note")
    orders.process_event("o-2", "note", event_id="e-2")
    orders.process_event("o-3", "pay", event_id="e-3")
    for event in (("o-1", "note"), ("o-2", "note")):
        with pytest.raises(StaleVersionError, match="roll it back and run it again"):
            orders.process_event(*event, connection=connection)
    with pytest.raises(StaleVersionError, match="run it again"):
        orders.process_event("o-3", "pay", event_id="e-3", connection=connection)
    with pytest.raises(StaleVersionError, match="run it again"):
        orders.process_events([("o-4", "note"), ("o-1", "note")], connection=connection)
    connection.rollback()
    buy(connection, "o-1")
    assert orders.process_event("o-1", "note", connection=connection).version == 3
    connection.commit()


def test_a_deadlock_is_told_to_one_and_the_other_goes_on(shop, orders):
    orders.process_events([("o-1", "note"), ("o-2", "note")])
    told: list[StaleVersionError] = []
    both_hold_one = threading.Barrier(2)

    def cross(one: str, other: str) -> None:
        with psycopg.connect(shop.url) as connection:
            orders.process_event(one, "note", connection=connection)
            both_hold_one.wait(10)
            while True:  # who runs it again may take a lock before who waits for it wakes up
                try:
                    orders.process_event(other, "note", connection=connection)
                    return
                except StaleVersionError as error:
                    told.append(error)
                    connection.rollback()
                orders.process_event(one, "note", connection=connection)

    for each in [Aside(lambda: cross("o-1", "o-2")), Aside(lambda: cross("o-2", "o-1"))]:
        each.result()
    assert {error.context["sqlstate"] for error in told} == {"40P01"}
    assert [orders.get_entity(each).version for each in ("o-1", "o-2")] == [3, 3]


def test_a_lock_is_waited_for_and_not_for_ever(shop, machine, buy):
    store = PostgresStateStore(shop.url, timeout=0.3).connect()
    orders = Orchestrator(machine, store)
    orders.process_event("o-1", "note")
    holder, connection = shop.connect(), shop.connect()
    orders.process_event("o-1", "note", connection=holder)
    buy(connection, "o-1")
    with pytest.raises(StoreUnavailableError, match="give connection= to every call"):
        orders.process_event("o-1", "note", connection=connection)
    connection.execute("SET LOCAL lock_timeout = '20ms'")
    with pytest.raises(StoreUnavailableError, match="give connection= to every call"):
        orders.process_event("o-1", "note", connection=connection)
    orders.process_event("o-2", "note", connection=connection)
    connection.commit()
    holder.rollback()
    assert shop.orders() == ["o-1"]
    assert [orders.get_entity(each).version for each in ("o-1", "o-2")] == [1, 1]
    store.disconnect()


def test_transactions_of_many_threads_lose_nothing(shop, orders):
    def work(name: int) -> None:
        with psycopg.connect(shop.url) as connection:
            for number in range(15):
                orders.process_event("o-1", "note", connection=connection)
                connection.execute("INSERT INTO orders VALUES (%s, 1)", (f"{name}-{number}",))
                connection.commit()
                orders.process_event("o-1", "note")

    for thread in [Aside(lambda name=name: work(name)) for name in range(4)]:
        thread.result()
    assert len(shop.orders()) == 60
    assert orders.get_entity("o-1").context == {"notes": 120}
    assert orders.get_entity("o-1").version == 120


# Ends ---------------------------------------------------------------------------------------------


def test_a_connection_that_the_server_ends_leaves_nothing(shop, orders, buy):
    connection = shop.connect()
    buy(connection, "o-1")
    orders.process_event("o-1", "note", connection=connection)
    with psycopg.connect(shop.url) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    for _ in range(2):
        with pytest.raises(StoreUnavailableError) as caught:
            orders.process_event("o-1", "note", connection=connection)
        assert caught.value.context["written"] is False
    assert (shop.orders(), orders.get_entity("o-1")) == ([], None)


VICTIM = """
import sys
import psycopg
from pystator import Orchestrator, PostgresStateStore, StateMachine

url = sys.argv[1]
machine = StateMachine.from_dict({
    "meta": {"machine_name": "order", "version": "1.0"},
    "states": [{"name": "new", "type": "initial"}, {"name": "placed"}],
    "transitions": [{"trigger": "place", "source": "new", "dest": "placed"}],
})
orders = Orchestrator(machine, PostgresStateStore(url).connect())
connection = psycopg.connect(url)
for number in range(50):
    orders.process_event(f"v-{number}", "place", connection=connection)
    connection.execute("INSERT INTO orders VALUES (%s, 1)", (f"v-{number}",))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_process_killed_before_its_commit_has_written_nothing(shop, orders):
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, shop.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert victim.stdout.readline() == "written\n"
    finally:
        victim.kill()
        victim.communicate()
    assert orders.process_event("v-1", "place").version == 1
    assert shop.orders() == []
    assert [each.entity_id for each in shop.store.list_entities()] == ["v-1"]
    with Settled(shop.url) as reader:
        told = [str(row.kind) for row in reader.feed(None).items]
    assert [kind for kind in told if kind != "action"] == ["event"]


# asyncio ------------------------------------------------------------------------------------------


def test_async_calls_commit_with_the_caller(shop, orders, done):
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(shop.url) as connection:
            await connection.execute("INSERT INTO orders VALUES ('o-1', 1)")
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
            await connection.commit()
            assert await orders.async_get_entity("o-1") == seen
            assert done == []
            await orders.async_run_actions([placed, *many])
            await orders.async_run_actions(placed)
            assert done == ["mail", "receipt", "mail"]
            await orders.async_process_event("o-1", "note", connection=connection)
            await connection.rollback()

    asyncio.run(main())
    assert shop.orders() == ["o-1"]
    assert orders.get_entity("o-1").version == 3


def test_tasks_may_share_a_connection(shop, orders):
    """The driver lets them have it in turn; so do events."""

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(shop.url) as connection:
            calls = [
                orders.async_process_event(f"o-{n % 3}", "note", connection=connection)
                for n in range(12)
            ]
            selects = [connection.execute("SELECT 1") for _ in range(5)]
            await asyncio.gather(*calls, *selects)

    asyncio.run(main())
    assert [orders.get_entity(f"o-{n}").context["notes"] for n in range(3)] == [4, 4, 4]


def test_a_cancelled_call_leaves_the_connection_in_good_order(shop, orders):
    holder = shop.connect()
    orders.process_event("o-1", "note")
    orders.process_event("o-1", "note", connection=holder)

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(shop.url) as connection:
            await connection.execute("INSERT INTO orders VALUES ('o-1', 1)")
            waits = asyncio.create_task(
                orders.async_process_event("o-1", "note", connection=connection)
            )
            await asyncio.to_thread(until_somebody_waits_for_a_lock, shop)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            holder.commit()
            await orders.async_process_event("o-1", "note", connection=connection)

    asyncio.run(main())
    assert shop.orders() == ["o-1"]
    assert orders.get_entity("o-1").version == 3

"""Trouble that is seldom met: it takes two things that go wrong at once, or an odd error."""

import asyncio
import os
import socket
import threading
import time

import psycopg
import pytest

from pystator import PostgresStateStore
from pystator.errors import StoreUnavailableError
from pystator.stores.postgres import waiting, wire, within, writing
from pystator.stores.postgres.rows import rows_of
from pystator.stores.postgres.wire import Statement
from pystator.testing.building import change, lookup
from servers.sessions import Background, locked, turn, until


class TestForks:
    def test_a_child_finds_out_that_it_lost_a_connection_of_its_own(self, postgres_url):
        with PostgresStateStore(postgres_url, pool_size=1, timeout=3) as store:
            turn(store)
            link = store.parts[0]
            child = os.fork()
            if child == 0:  # pragma: no cover - another process
                try:
                    turn(store)
                    link._take()  # and nobody keeps it
                    turn(store)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            _, status = os.waitpid(child, 0)
            assert status == 0
            assert turn(store) == 4


class Quotients:
    """A stream that divides by 0 now and then."""

    reads = True
    quotient = Statement("quotient", "SELECT 1 / $1", (20,))

    def __init__(self, *divisors):
        self._divisors = divisors
        self.failed = []

    def requests(self):
        return ((self.quotient, [number.to_bytes(8)]) for number in self._divisors)

    def take(self, number, result):
        self.failed.append(isinstance(result, psycopg.Error))


def test_errors_of_values_leave_no_prepared_statements_behind(postgres_url):
    count = Statement("count", "SELECT count(*)::int8 FROM pg_prepared_statements", ())
    with PostgresStateStore(postgres_url, pool_size=1) as store:
        link = store.parts[0]
        for _ in range(3):
            stream = Quotients(0, 1, 0, 2)
            link.run_all(stream)
            assert stream.failed == [True, False, True, False]
        assert rows_of(link.run(count, (), reads=True)) == [(2,)]


def test_a_stream_is_not_sent_again_when_a_part_was_written(postgres_url, admin, monkeypatch):
    """Without pipelines, too, where one statement ends before the next is sent."""
    monkeypatch.setattr(wire, "_PIPELINES", False)
    monkeypatch.setattr(writing, "CHUNK", 4)
    plan_again = wire.Wire._plan_again

    def cut_off_first(self):
        if rows():
            admin.execute("SELECT pg_terminate_backend(%s, 1000)", (self.pgconn.backend_pid,))
        return (yield from plan_again(self))

    def rows():
        return admin.execute("SELECT count(*) FROM entity_states").fetchone()[0]

    monkeypatch.setattr(wire.Wire, "_plan_again", cut_off_first)
    with PostgresStateStore(postgres_url, pool_size=1) as store:
        with pytest.raises(StoreUnavailableError) as caught:
            store.commit([change(f"e{n:02}") for n in range(40)])
        assert "written" not in caught.value.context
        assert rows() % 4 == 0
        assert 0 < rows() < 40


class TestClosing:
    def test_a_call_under_way_opens_no_pool_after_it(self, postgres_url):
        with PostgresStateStore(postgres_url) as store:
            link = store.parts[0]
            link._lock.acquire()
            call = Background(lambda: turn(store))
            time.sleep(0.05)
            link.is_open = False
            link._lock.release()
            assert isinstance(call.result(), StoreUnavailableError)
            assert link._pool is None

    def test_a_connection_that_was_just_handed_over_is_closed(self, postgres_url):
        async def run():
            store = PostgresStateStore(postgres_url, pool_size=1).connect()
            pool = store.parts[0]._loop_pool()
            connection = await pool.take()
            waiter = asyncio.create_task(pool.take())
            await asyncio.sleep(0.01)
            pool.give_back(connection)
            store.disconnect()
            with pytest.raises(StoreUnavailableError, match="not connected"):
                await waiter
            assert connection.closed

        asyncio.run(run())


def test_tasks_wait_for_a_connection_as_long_as_they_were_told(postgres_url):
    async def told(store):
        calls = [store.aload([lookup()]) for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    with (
        PostgresStateStore(postgres_url, pool_size=1, timeout=0.3) as store,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        port = silent.getsockname()[1]
        store.parts[0].conninfo = f"host=127.0.0.1 port={port} connect_timeout=20 dbname=d"
        for error in asyncio.run(told(store)):
            assert isinstance(error, StoreUnavailableError)
            assert "did not answer to a new connection within 0.3 s" in str(error)
            assert error.context["written"] is False


class TestCancelling:
    """In a transaction of the caller's, a request to cancel must not hit what comes next."""

    @pytest.fixture
    def slow(self, monkeypatch):
        """``slow(seconds)``: requests go on for so long after the server has heard them."""
        requests = []

        def be(seconds):
            def request(pgconn):
                heard = waiting.request_cancel(pgconn)
                thread = threading.Thread(target=linger, args=(heard,), daemon=True)
                thread.start()
                requests.append(thread)
                return thread

            def linger(heard):
                heard.join()
                time.sleep(seconds)

            monkeypatch.setattr(within, "request_cancel", request)
            return requests

        return be

    def test_it_is_over_when_the_caller_goes_on(self, postgres_url, slow):
        requests = slow(0.3)
        with PostgresStateStore(postgres_url, timeout=0.2) as store:
            turn(store)
            with locked(postgres_url, "e"), psycopg.connect(postgres_url) as connection:
                with pytest.raises(StoreUnavailableError, match="in time"):
                    store.within(connection).commit([change(after=1)])
                assert not requests[0].is_alive()
                assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_tasks_go_on_meanwhile(self, postgres_url, slow):
        requests = slow(0.6)

        async def run(store):
            async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
                call = asyncio.create_task(store.within(connection).acommit([change(after=1)]))
                await asyncio.to_thread(until, lambda: requests)
                assert requests[0].is_alive()
                with pytest.raises(StoreUnavailableError, match="in time"):
                    await call
                assert not requests[0].is_alive()
                await connection.execute("SELECT 1")

        with PostgresStateStore(postgres_url, timeout=0.2) as store:
            turn(store)
            with locked(postgres_url, "e"):
                asyncio.run(run(store))

    def test_one_that_does_not_end_is_the_last_of_its_connection(
        self, postgres_url, slow, monkeypatch
    ):
        slow(2)
        monkeypatch.setattr(within, "_GRACE", 0.4)
        with PostgresStateStore(postgres_url, timeout=0.2) as store:
            turn(store)
            with locked(postgres_url, "e"):
                connection = psycopg.connect(postgres_url)
                with pytest.raises(StoreUnavailableError, match="in time") as caught:
                    store.within(connection).commit([change(after=1)])
                assert caught.value.context["written"] is False
                assert connection.closed

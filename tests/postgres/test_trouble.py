"""What goes wrong between a store and its server: told, survived, and never guessed."""

import asyncio
import os
import signal
import threading
import time

import psycopg
import pytest

from pystator import Orchestrator, PostgresStateStore, StateMachine
from pystator.errors import SchemaError, StoreUnavailableError
from pystator.records import EntryKind, OutcomeKind
from pystator.stores.postgres.wire import Statement
from pystator.testing.building import change, lookup, note
from servers.sessions import Background, cut_off, locked, turn, until, waiting

MACHINE = {
    "meta": {"machine_name": "m", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut"},
        {"trigger": "turn", "source": "shut", "dest": "open"},
    ],
}


class TestLostConnections:
    def test_a_dropped_idle_connection_fails_no_event(self, store, admin):
        orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
        orchestrator.process_event("e", "turn").raise_for_error()
        for _ in range(3):
            assert cut_off(admin)
            orchestrator.process_event("e", "turn").raise_for_error()
        assert store.get_state_versioned("e")[1] == len(store.history("e").items)

    def test_a_dropped_idle_connection_fails_no_async_event(self, store, admin):
        async def run():
            orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
            for _ in range(3):
                (await orchestrator.async_process_event("e", "turn")).raise_for_error()
                await asyncio.to_thread(cut_off, admin)
            (await orchestrator.async_process_event("e", "turn")).raise_for_error()

        asyncio.run(run())
        assert store.get_state_versioned("e")[1] == len(store.history("e").items)

    def test_a_commit_that_is_cut_off_is_unknown_to_the_store(self, store, postgres_url, admin):
        turn(store)
        with locked(postgres_url, "e"):
            call = Background(lambda: store.commit([change(after=1)]))
            until(lambda: waiting(admin))
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
                " datname = current_database() AND wait_event_type = 'Lock'"
            )
            error = call.result()
        assert isinstance(error, StoreUnavailableError)
        assert "written" not in error.context
        assert store.get_state_versioned("e") == ("open", 1)

    def test_an_event_that_is_cut_off_is_found_out(self, store, postgres_url, admin):
        orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), store)
        orchestrator.process_event("e", "turn")
        before = store.get_state_versioned("e")[1]
        with locked(postgres_url, "e"):
            call = Background(lambda: orchestrator.process_event("e", "turn"))
            until(lambda: waiting(admin))
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
                " datname = current_database() AND wait_event_type = 'Lock'"
            )
            until(lambda: waiting(admin))  # sent again
        assert call.result().success
        assert store.get_state_versioned("e")[1] == before + 1

    def test_a_load_that_is_cut_off_is_asked_again(self, store, postgres_url, admin):
        turn(store)
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE entity_states IN ACCESS EXCLUSIVE MODE")
            call = Background(lambda: store.load([lookup()]))
            until(lambda: waiting(admin))
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
                " datname = current_database() AND wait_event_type = 'Lock'"
            )
            until(lambda: waiting(admin))
        assert call.result()[0].entity.version == 1

    def test_prepared_statements_that_vanish_are_prepared_again(self, store):
        forget = Statement("forget", "DEALLOCATE ALL", ())
        for _ in range(3):
            turn(store)
            store.parts[0].run(forget, ())
        assert store.get_context("e") == {"n": 3}

    def test_a_statement_of_this_name_that_is_there_is_used(self, store):
        link = store.parts[0]
        turn(store)
        connection = link._take()
        connection.wire.prepared.clear()
        link._give_back(connection)
        assert turn(store) == 2

    def test_a_changed_table_is_asked_anew(self, store, admin):
        turn(store)
        column = "ALTER TABLE entity_states ALTER COLUMN history TYPE varchar"
        admin.execute(column)
        assert turn(store) == 2


class TestDeadlines:
    def test_a_late_commit_is_cancelled_and_certainly_not_written(self, postgres_url, admin):
        with PostgresStateStore(postgres_url, timeout=0.3) as store:
            turn(store)
            with locked(postgres_url, "e"):
                with pytest.raises(StoreUnavailableError, match="in time") as caught:
                    store.commit([change(after=1)])
                assert caught.value.context["written"] is False
                until(lambda: not waiting(admin))
            assert turn(store) == 2

    def test_a_late_async_commit_likewise(self, postgres_url, admin):
        async def run(store):
            with locked(postgres_url, "e"):
                with pytest.raises(StoreUnavailableError, match="in time") as caught:
                    await store.acommit([change(after=1)])
                assert caught.value.context["written"] is False
            return await store.aload([lookup()])

        with PostgresStateStore(postgres_url, timeout=0.3) as store:
            turn(store)
            assert asyncio.run(run(store))[0].entity.version == 1

    def test_a_cancelled_call_leaves_no_statement_behind(self, store, postgres_url, admin):
        turn(store)

        async def run():
            with locked(postgres_url, "e"):
                task = asyncio.create_task(store.acommit([change(after=1)]))
                await asyncio.to_thread(until, lambda: waiting(admin))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(until, lambda: not waiting(admin))
            answers = await asyncio.gather(*[store.aload([lookup()]) for _ in range(8)])
            assert {answer[0].entity.version for answer in answers} == {1}

        asyncio.run(run())
        assert turn(store) == 2

    def test_an_interrupted_call_leaves_no_statement_behind(self, store, postgres_url, admin):
        turn(store)

        def interrupt():
            until(lambda: waiting(admin))
            os.kill(os.getpid(), signal.SIGINT)

        with locked(postgres_url, "e"):
            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                store.commit([change(after=1)])
            thread.join()
            until(lambda: not waiting(admin))
        assert turn(store) == 2

    def test_who_waits_for_a_connection_is_told_of_the_pool(self, postgres_url, admin):
        with PostgresStateStore(postgres_url, pool_size=1, timeout=0.6) as store:
            turn(store)
            link = store.parts[0]
            connection = link._take()
            with pytest.raises(StoreUnavailableError, match="pool_size") as caught:
                store.load([lookup()])
            assert caught.value.context["written"] is False
            link._give_back(connection)
            assert turn(store) == 2

            async def run():
                pool = link._loop_pool()
                taken = await pool.take()
                with pytest.raises(StoreUnavailableError, match="pool_size"):
                    await store.aload([lookup()])
                pool.give_back(taken)
                return await store.aload([lookup()])

            assert asyncio.run(run())[0].entity.version == 2

    def test_connections_that_an_interrupt_lost_are_made_again(self, postgres_url):
        with PostgresStateStore(postgres_url, pool_size=2) as store:
            for _ in range(3):
                store.parts[0]._take()  # and nobody keeps it
            assert turn(store) == 1

    def test_more_callers_than_connections_wait_their_turn(self, postgres_url):
        async def run(store):
            commits = [store.acommit([change(f"e{n}")]) for n in range(50)]
            return [outcome.kind for [outcome] in await asyncio.gather(*commits)]

        with PostgresStateStore(postgres_url, pool_size=2) as store:
            assert asyncio.run(run(store)) == [OutcomeKind.APPLIED] * 50
            calls = [Background(lambda n=n: store.load([lookup(f"e{n}")])) for n in range(20)]
            assert all(call.result()[0].entity.version == 1 for call in calls)


class TestLoops:
    def test_a_loop_may_end_while_connections_are_being_made(self, store):
        async def run():
            calls = [asyncio.ensure_future(store.aload([lookup()])) for _ in range(8)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)

        for _ in range(5):
            asyncio.run(run())
        assert turn(store) == 1

    def test_loops_come_and_go(self, store, admin):
        for round_ in range(5):
            asyncio.run(store.acommit([change(after=round_)]))
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        until(lambda: admin.execute(query).fetchone()[0] <= 4)  # ours, a thread's, the last loop's

    def test_the_store_may_be_closed_in_the_loop_that_uses_it(self, postgres_url):
        async def run():
            store = PostgresStateStore(postgres_url)
            for _ in range(3):
                store.connect()
                calls = [asyncio.ensure_future(store.aload([lookup()])) for _ in range(20)]
                await asyncio.sleep(0)
                store.disconnect()
                answers = await asyncio.gather(*calls, return_exceptions=True)
                assert all(
                    isinstance(answer, StoreUnavailableError) or answer[0].entity is None
                    for answer in answers
                )
            async with store:
                assert (await store.aload([lookup()]))[0].entity is None

        asyncio.run(run())


class TestTheServer:
    def test_a_restart_between_events_is_not_noticed(self, own_postgres):
        server = own_postgres("fsync=off")
        with PostgresStateStore(server.url, timeout=20) as store:
            turn(store)
            server.restart()
            assert turn(store) == 2
            asyncio.run(store.aset_state("e", "open"))
            server.stop()
            again = threading.Timer(0.5, server.start)
            again.start()
            assert turn(store) == 4
            again.join()

    def test_a_server_that_is_down_is_told_in_time(self, own_postgres):
        server = own_postgres("fsync=off")
        with PostgresStateStore(server.url, timeout=0.6) as store:
            turn(store)
            store.append_later([note()])
            store.flush()
            server.stop()
            began = time.monotonic()
            for call in (
                lambda: store.load([lookup()]),
                lambda: store.commit([change(after=1)]),
                lambda: asyncio.run(store.aload([lookup()])),
                lambda: asyncio.run(store.acommit([change(after=1)])),
            ):
                with pytest.raises(StoreUnavailableError, match="server") as caught:
                    call()
                assert caught.value.context["written"] is False
            with pytest.raises(StoreUnavailableError, match="server"):
                PostgresStateStore(server.url).connect()
            assert time.monotonic() - began < 15
            store.append_later([note()])
            with pytest.raises(StoreUnavailableError):
                store.flush()
            server.start()
            store.flush()
            assert [row.version for row in store.history("e").items] == [1, 1, 1]

    def test_nothing_answers_at_connect(self):
        store = PostgresStateStore("postgresql://u:secret@127.0.0.1:1/nowhere")
        with pytest.raises(StoreUnavailableError, match="no server answers") as caught:
            store.connect()
        assert "secret" not in str(caught.value.to_dict())
        with pytest.raises(StoreUnavailableError, match="not connected"):
            store.get_state("e", machine_name="m")

    def test_no_tables_are_told(self, empty_postgres_url):
        store = PostgresStateStore(empty_postgres_url)
        with pytest.raises(SchemaError, match="db init"):
            store.connect(auto_initialize=False)
        store.connect(auto_initialize=False, validate_schema=False)
        with pytest.raises(SchemaError, match="db init"):
            store.commit([change()])
        store.disconnect()

    def test_rows_that_wait_for_a_store_are_written_when_it_is_back(self, store, admin):
        turn(store)
        store.disconnect()
        store.append_later([note(kind=EntryKind.ACTION)])
        until(lambda: not any(each.name == "pystator-later" for each in threading.enumerate()))
        store.connect()
        until(lambda: len(store.history("e").items) == 2)


class TestRefusals:
    def test_a_standby_is_told(self, altered):
        with PostgresStateStore(altered("default_transaction_read_only = on")) as store:
            assert store.load([lookup()])[0].entity is None
            with pytest.raises(StoreUnavailableError, match="standby") as caught:
                store.commit([change()])
            assert caught.value.context["written"] is False

    @pytest.mark.parametrize("level", ["serializable", "repeatable read"])
    def test_a_stricter_isolation_only_costs_time(self, altered, level):
        url = altered(f"default_transaction_isolation = '{level}'")
        with PostgresStateStore(url) as store:
            turn(store)

            def count():
                for _ in range(10):
                    while True:
                        version = store.load([lookup()])[0].entity.version
                        [outcome] = store.commit([change(after=version)])
                        if outcome.kind is OutcomeKind.APPLIED:
                            break

            calls = [Background(count) for _ in range(3)]
            assert [call.result() for call in calls] == [None] * 3
            assert store.get_state_versioned("e") == ("open", 31)

    def test_a_deadlock_is_tried_again(self, altered):
        url = altered("deadlock_timeout = '700ms'")
        with PostgresStateStore(url) as store, psycopg.connect(url) as other:
            store.commit([change("a"), change("b")])
            admin = psycopg.connect(url, autocommit=True)
            # A session looks once for a deadlock, after so long a wait: here, the store's does.
            other.execute("SET deadlock_timeout = '20s'")
            other.execute("SELECT FROM entity_states WHERE entity_id = 'b' FOR UPDATE")
            call = Background(lambda: store.commit([change("a", after=1), change("b", after=1)]))
            until(lambda: waiting(admin))
            other.execute("SELECT FROM entity_states WHERE entity_id = 'a' FOR UPDATE")
            other.rollback()
            admin.close()
            assert [outcome.kind for outcome in call.result()] == [OutcomeKind.APPLIED] * 2

    @pytest.mark.parametrize(
        ("code", "says"), [("53100", "disk is full"), ("57014", "cancelled"), ("XX000", "bad luck")]
    )
    def test_an_error_of_the_server_is_certain(self, altered, code, says):
        with PostgresStateStore(altered()) as store:
            _fail_for(store.parts[0].conninfo, "e", code)
            for commits in ([change("e")], [change("d"), change("e")]):
                with pytest.raises(StoreUnavailableError, match=says) as caught:
                    store.commit(commits)
                assert caught.value.context["written"] is False
            assert store.load([lookup("d")])[0].entity is None

    @pytest.mark.parametrize("code", ["08006", "08P01", "58030", "40003"])
    def test_an_error_that_may_be_of_the_way_to_the_server_is_not_certain(self, altered, code):
        with PostgresStateStore(altered()) as store:
            _fail_for(store.parts[0].conninfo, "e", code)
            for commits in ([change("e")], [change("d"), change("e")]):
                with pytest.raises(StoreUnavailableError) as caught:
                    store.commit(commits)
                assert "written" not in caught.value.context

    def test_a_value_that_is_to_blame_does_not_take_its_neighbours_along(self, altered):
        with PostgresStateStore(altered()) as store:
            _fail_for(store.parts[0].conninfo, "e3", "23514")
            outcomes = store.commit([change(f"e{n}") for n in range(8)])
            kinds = [outcome.kind for outcome in outcomes]
            assert kinds == [*["applied"] * 3, "refused", *["applied"] * 4]
            assert "bad luck" in str(outcomes[3].error)
            assert store.count_by_state() == {"open": 7}


def _fail_for(conninfo, entity_id, code):
    """A database that has something against an entity."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF new.entity_id = '{entity_id}' THEN"
            f" RAISE EXCEPTION 'bad luck' USING ERRCODE = '{code}'; END IF; RETURN new; END $$"
        )
        connection.execute(
            "CREATE TRIGGER fail BEFORE INSERT ON transition_history"
            " FOR EACH ROW EXECUTE FUNCTION fail()"
        )


class TestForks:
    def test_parent_and_child_have_connections_of_their_own(self, store):
        turn(store)
        store.append_later([note()])
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            try:
                turn(store)
                answer = asyncio.run(store.aload([lookup()]))[0].entity.version
                store.append_later([note(version=2)])
                store.flush()
                os.write(write, b"%d" % answer)
                os._exit(0)
            except BaseException as error:
                os.write(write, repr(error).encode()[:200])
                os._exit(1)
        os.close(write)
        _, status = os.waitpid(child, 0)
        assert (os.read(read, 300), status) == (b"2", 0)
        os.close(read)
        assert turn(store) == 3
        store.flush()
        assert [row.version for row in store.history("e").items] == [1, 1, 2, 2, 3]

"""Large batches: several statements on their way at once, each a transaction of its own."""

import asyncio

import psycopg
import pytest

from pystator import PostgresStateStore
from pystator.errors import InvalidValueError, StoreUnavailableError
from pystator.records import OutcomeKind
from pystator.stores.postgres import ops, writing
from pystator.stores.postgres.wire import Statement
from pystator.testing.building import change, lookup, note
from servers.sessions import Background, cut_off, locked, until, waiting

NAMES = [f"e{number:02}" for number in range(40)]


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 8)
    monkeypatch.setattr(ops, "CHUNK", 8)


@pytest.fixture(params=["blocking", "async"])
def call(request, store):
    """``call("commit", commits)`` over either face."""

    def blocking(name, *arguments):
        return getattr(store, name)(*arguments)

    def on_a_loop(name, *arguments):
        async def run():
            return await getattr(store, f"a{name}")(*arguments)

        return asyncio.run(run())

    return blocking if request.param == "blocking" else on_a_loop


def kinds(outcomes):
    return [str(outcome.kind) for outcome in outcomes]


def test_each_commit_has_its_own_outcome(call, store):
    store.commit([change("e03"), change("e11", event_id="i"), change("e20")])
    commits = [change(name) for name in NAMES]
    commits[5] = change("e05", context={"a": {1}})
    commits[6] = change("\x00")
    commits[20] = change("e20", after=1, context={"n": 2})
    commits[21] = change("e21", after=4)
    commits[30] = change("e30", steps=3, event_id="j")
    commits += [change("e11", after=1, event_id="i"), note("e31", version=0, event_id="n")]
    commits += [note("e31", version=0, event_id="n"), change("e32", machine="other")]
    expected = ["applied"] * 44
    expected[3] = expected[11] = expected[21] = "stale"
    expected[5] = expected[6] = "refused"
    expected[40] = expected[42] = "duplicate"
    outcomes = call("commit", commits[::-1])[::-1]
    got = kinds(outcomes)
    assert sorted([got.pop(41), got.pop(41)]) == ["applied", "duplicate"]
    del expected[41:43]
    assert got == expected
    assert isinstance(outcomes[5].error, InvalidValueError)
    loaded = call("load", [lookup(name, "i", "j", "j-3", "n") for name in NAMES])
    versions = [each.entity.version if each.entity else 0 for each in loaded]
    assert versions == [{5: 0, 6: 0, 20: 2, 21: 0, 30: 3}.get(n, 1) for n in range(40)]
    assert [set(loaded[place].known) for place in (11, 30, 31, 32)] == [
        {"i"}, {"j", "j-3"}, {"n"}, set(),
    ]  # fmt: skip


def test_loads_answer_in_order_with_gaps(call, store):
    store.commit([change(name, context={"name": name}) for name in NAMES[::3]])
    wanted = ["nobody", *NAMES[::-1], "\x00", "\ud800", *NAMES]
    loaded = call("load", [lookup(name) for name in wanted])
    found = [each.entity and each.entity.context["name"] for each in loaded]
    assert found == [name if name in NAMES[::3] else None for name in wanted]
    assert call("load", [lookup("\x00")] * 30)[7].entity is None


def test_a_statement_that_vanishes_in_between_is_prepared_again(store):
    forget = Statement("forget", "DEALLOCATE ALL", ())
    for round_ in range(3):
        assert set(kinds(store.commit([change(name, after=round_) for name in NAMES]))) == {
            "applied"
        }
        assert len(store.load([lookup(name) for name in NAMES])) == 40
        store.parts[0].run(forget, ())
    assert store.load([lookup("e39")])[0].entity.version == 3


def test_one_statement_that_waits_holds_up_only_those_behind_it(store, postgres_url, admin):
    store.commit([change(name) for name in NAMES])
    with locked(postgres_url, "e20"):
        call = Background(lambda: store.commit([change(name, after=1) for name in NAMES]))
        until(lambda: waiting(admin))
        until(lambda: store.load([lookup("e15")])[0].entity.version == 2)
        assert store.load([lookup("e16")])[0].entity.version == 1
    assert set(kinds(call.result())) == {"applied"}


def test_a_stream_that_is_cut_off_is_unknown_and_never_torn(store, postgres_url, admin):
    store.commit([change(name) for name in NAMES])
    with locked(postgres_url, "e20"):
        call = Background(lambda: store.commit([change(name, after=1) for name in NAMES]))
        until(lambda: waiting(admin))
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
            " datname = current_database() AND wait_event_type = 'Lock'"
        )
        error = call.result()
    assert isinstance(error, StoreUnavailableError)
    assert "written" not in error.context
    loaded = store.load([lookup(name) for name in NAMES])
    assert [each.entity.version for each in loaded] == [2] * 16 + [1] * 24


def test_a_load_that_is_cut_off_is_asked_again(store, postgres_url, admin):
    store.commit([change(name) for name in NAMES])
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE entity_states IN ACCESS EXCLUSIVE MODE")
        call = Background(lambda: store.load([lookup(name) for name in NAMES]))
        until(lambda: waiting(admin))
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
            " datname = current_database() AND wait_event_type = 'Lock'"
        )
        until(lambda: waiting(admin))
    assert {each.entity.version for each in call.result()} == {1}


def test_a_cancelled_stream_ends_what_waits(store, postgres_url, admin):
    """What was sent behind it takes its course, as whole statements."""
    store.commit([change(name) for name in NAMES])

    async def run():
        with locked(postgres_url, "e20"):
            task = asyncio.create_task(store.acommit([change(name, after=1) for name in NAMES]))
            await asyncio.to_thread(until, lambda: waiting(admin))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(until, lambda: not waiting(admin))
        return await store.aload([lookup(name) for name in NAMES])

    versions = [each.entity.version for each in asyncio.run(run())]
    assert versions[:24] == [2] * 16 + [1] * 8
    assert all(len(set(versions[start : start + 8])) == 1 for start in (24, 32))


def test_a_late_stream_is_unknown(postgres_url, admin):
    with PostgresStateStore(postgres_url, timeout=0.3) as store:
        store.commit([change(name) for name in NAMES])
        with locked(postgres_url, "e20"):
            with pytest.raises(StoreUnavailableError, match="in time") as caught:
                store.commit([change(name, after=1) for name in NAMES])
            assert "written" not in caught.value.context
            until(lambda: not waiting(admin))
        assert store.load([lookup("e15")])[0].entity.version == 2


def test_nothing_is_prepared_when_nothing_may_be(postgres_url):
    with PostgresStateStore(postgres_url, prepare=False) as store:
        outcomes = store.commit([change(name) for name in NAMES])
        assert set(kinds(outcomes)) == {"applied"}
        assert store.commit([change(name) for name in NAMES])[0].kind is OutcomeKind.STALE
        assert store.commit([change("e00", after=1)])[0].kind is OutcomeKind.APPLIED
        loaded = store.load([lookup(name) for name in NAMES])
        assert [each.entity.version for each in loaded] == [2] + [1] * 39
        names = Statement("names", "SELECT name FROM pg_prepared_statements", ())
        assert store.parts[0].run(names, (), reads=True).ntuples == 0


def test_megabytes_go_through(call):
    large = {"text": "ä" * 250_000}
    commits = [change(name, context=large, payload=large) for name in NAMES]
    assert set(kinds(call("commit", commits))) == {"applied"}
    assert call("load", [lookup(name) for name in NAMES])[39].entity.context == large


def test_an_unstorable_value_among_many_is_refused_alone(call):
    commits = [change(name) for name in NAMES]
    commits[9] = change("e09", now=2**80)
    commits[10] = change("e10", request_hash="\ud800", event_id="i")
    commits[19] = change("e19", commit_id="a\x1fb")  # odd, but a text
    commits[29] = change("e29", request_hash="\x00", event_id="i")
    got = kinds(call("commit", commits))
    assert [place for place, kind in enumerate(got) if kind == "refused"] == [9, 10, 29]
    assert got.count("applied") == 37


def test_a_plan_for_a_small_table_does_not_outlive_it(altered):
    """Nobody tells the planner that the table has grown: statistics come a minute later."""
    url = altered()
    with psycopg.connect(url, autocommit=True) as admin:
        with PostgresStateStore(url) as store:
            store.commit([change(name) for name in NAMES])
            admin.execute("VACUUM ANALYZE entity_states")
            for version in range(1, 8):
                store.load([lookup(name) for name in NAMES])
                store.commit([change(name, after=version) for name in NAMES])
            for batch in range(12):
                names = [f"n{batch}-{number}" for number in range(200)]
                store.load([lookup(name) for name in names])
                store.commit([change(name) for name in names])
                store.commit([change(name, after=1) for name in names])
        cut_off(admin)  # a session tells what it has read when it ends
        query = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'entity_states'"
        assert 0 < admin.execute(query).fetchone()[0] < 400_000  # else, more than 4,000,000

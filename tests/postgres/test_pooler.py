"""Events behind a pooler: each transaction meets another server process, and nothing is noticed."""

import asyncio
import threading
import warnings

import psycopg
import pytest

from pystator import Orchestrator, PostgresStateStore, StateMachine
from servers.pooler import Pooler, pgbouncer
from servers.sessions import Settled

COUNTER = StateMachine.from_dict(
    {
        "meta": {"machine_name": "counter"},
        "states": [{"name": "on", "type": "initial"}],
        "transitions": [
            {
                "trigger": "add",
                "source": "on",
                "dest": "on",
                "internal": True,
                "actions": [{"increment": "n"}],
            }
        ],
    }
)


@pytest.fixture(params=["ours", "pgbouncer"])
def pooled_url(request, trusting_postgres_url):
    """A database behind our own small pooler, and behind the real one where there is one."""
    if request.param == "ours":
        with Pooler(trusting_postgres_url) as pooler:
            yield pooler.url
            assert pooler.transactions > 10
        return
    with pgbouncer(trusting_postgres_url) as url:
        yield url or with_prepare(trusting_postgres_url)


def with_prepare(url: str) -> str:
    """The URL that says of itself that there is a pooler."""
    return f"{url}{'&' if '?' in url else '?'}prepare=false"


def without_prepare(url: str) -> str:
    """What libpq understands of it."""
    return url.removesuffix("prepare=false").rstrip("?&")


def use(store: PostgresStateStore, entity: str) -> None:
    """Threads and tasks, single events and batches: 100 increments."""
    orchestrator = Orchestrator(machine=COUNTER, state_store=store)

    def some(name: str) -> None:
        for n in range(10):
            assert orchestrator.process_event(entity, "add", event_id=f"{name}-{n}").success

    threads = [threading.Thread(target=some, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def many() -> None:
        calls = [
            orchestrator.async_process_event(entity, "add", event_id=f"a-{n}") for n in range(40)
        ]
        assert all(result.success for result in await asyncio.gather(*calls))
        await orchestrator.close()

    asyncio.run(many())
    items = [(entity, "add") for _ in range(20)]
    assert all(result.success for result in orchestrator.process_events(items))


def test_nothing_is_lost_and_the_pooler_is_told_of_once(pooled_url) -> None:
    """The store finds out by itself; the one warning says how to make it unnecessary."""
    is_told = "prepare=false" not in pooled_url
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with PostgresStateStore(pooled_url, pool_size=4) as store:
            use(store, "e-1")
            assert store.get_context("e-1") == {"n": 100}
            assert len(store.history("e-1", limit=1_000).items) == 100
            assert store.count_by_state() == {"on": 1}
    assert len(caught) == is_told
    assert not is_told or "?prepare=false" in str(caught[0].message)


def test_an_event_inside_a_transaction_of_the_caller_s(pooled_url) -> None:
    """The transaction has one server process from its begin to its end: the pooler sees to that."""
    with (
        Settled(pooled_url, prepare=False) as store,
        psycopg.connect(without_prepare(pooled_url), prepare_threshold=None) as caller,
    ):
        orchestrator = Orchestrator(machine=COUNTER, state_store=store)
        for keeps in (True, False, True):
            assert orchestrator.process_event("e-1", "add", connection=caller).success
            assert orchestrator.process_event("e-2", "add", event_id="x", connection=caller).success
            (caller.commit if keeps else caller.rollback)()
        assert store.get_context("e-1") == {"n": 2}
        assert store.get_context("e-2") == {"n": 1}
        assert [row.version for row in store.feed(None).items] == [1, 1, 2]


def test_who_says_so_is_not_warned(pooled_url) -> None:
    with PostgresStateStore(pooled_url, prepare=False) as store:
        use(store, "e-1")
        assert store.get_context("e-1") == {"n": 100}
    with PostgresStateStore(with_prepare(without_prepare(pooled_url))) as store:
        assert store.get_context("e-1") == {"n": 100}

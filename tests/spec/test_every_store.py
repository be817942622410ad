"""The specification on all five stores: each is made by its own snippet, and then does what the page says of all.

Addresses of the page (``localhost:6379``, ``localhost:27017``) are those of servers that the tests start.
"""

import asyncio
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis

from pystator import (
    AsyncStateStore,
    ConfigurationError,
    MongoDBStateStore,
    Orchestrator,
    PostgresStateStore,
    RedisStateStore,
    ReplicatedStateStore,
    StateStore,
    VersionedStateStore,
)
from spec.snippets import close, cut, run, shell

ROOT = Path(__file__).parents[2]

STORES = {
    "InMemory": ("from pystator import InMemoryStateStore, Orchestrator", ")"),
    "SQLite": ("from pystator import SQLiteStateStore, Orchestrator", "store.connect()  # auto_initialize=True by default"),
    "PostgreSQL": ("from pystator import PostgresStateStore, Orchestrator", "store.connect(auto_initialize=True)"),
    "MongoDB": ("from pystator import MongoDBStateStore", "store.connect()"),
    "Redis": ("from pystator import RedisStateStore", "store.connect()"),
}  # fmt: skip
"""A store's name in the page's last table -> first and last line of its snippet."""

ADDRESSES = {"localhost:6379": "manual_redis", "localhost:27017": "manual_mongodb"}

Namespace = dict[str, Any]


@pytest.fixture
def there(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """A text of the page with the servers it names, as far as it names any."""

    def served(text: str) -> str:
        if "postgresql://user:pass@localhost/pystator" in text:
            request.getfixturevalue("manual_postgres")
        for address, fixture in ADDRESSES.items():
            if address in text:
                text = text.replace(address, request.getfixturevalue(fixture))
        return text

    return served


@pytest.fixture(params=STORES)
def kept(
    request: pytest.FixtureRequest,
    specification: str,
    namespace: Namespace,
    there: Callable[[str], str],
) -> Iterator[Namespace]:
    """The page's snippet of a store, run: ``store`` is connected."""
    snippet = there(cut(specification, *STORES[request.param]))
    run(snippet, namespace)
    namespace["made by"] = re.search(r"^store = (.*?\))$", snippet, re.MULTILINE)[1]
    namespace["name"] = request.param
    yield namespace
    close(namespace)  # before its server goes


@pytest.fixture
def orchestrator(kept: Namespace) -> Orchestrator:
    return Orchestrator(
        machine=kept["machine"],
        state_store=kept["store"],
        guards=kept["guards"],
        actions=kept["actions"],
    )


# What the page says of all stores -----------------------------------------------------------------


def test_a_store_satisfies_the_protocols(kept: Namespace) -> None:
    for protocol in (StateStore, AsyncStateStore, VersionedStateStore):
        assert isinstance(kept["store"], protocol)


def test_the_methods_of_the_page_work_blocking_and_async(kept: Namespace) -> None:
    store = kept["store"]
    assert (store.get_state("order-123"), store.get_context("order-123")) == (None, {})
    store.set_state("order-123", "open", metadata={"context": {"fill_qty": 100}})
    store.set_state("order-123", "filled", metadata=None)
    assert (store.get_state("order-123"), store.get_context("order-123")) == (
        "filled",
        {"fill_qty": 100},
    )

    async def twins() -> None:
        assert await store.aget_state("order-123") == "filled"
        await store.aset_state("order-124", "open", metadata={"context": {"price": 50.25}})
        assert await store.aget_context("order-124") == {"price": 50.25}
        await store.adisconnect()

    asyncio.run(twins())
    store.connect()
    assert kept["name"] == "InMemory" or store.get_state("order-124") == "open"


def test_context_is_persisted_alongside_state(
    kept: Namespace, orchestrator: Orchestrator, specification: str
) -> None:
    """The page's own lines about it."""
    kept["orchestrator"] = orchestrator
    first, last = "# Context will be saved with each state change", 'ctx = store.get_context("order-123")'  # fmt: skip
    run(cut(specification, first, last), kept)
    assert kept["ctx"] == {"fill_qty": 100, "price": 50.25}
    assert f"# {json.dumps(kept['ctx'])}" in specification
    assert kept["store"].get_state("order-123") == "filled"


def test_machines_partition_a_database(kept: Namespace, specification: str) -> None:
    """The page's own lines with this store in them; a store in memory is its own database."""
    first = "# Order FSM store — both share the same DB, machine_name differentiates"
    make = kept["made by"] if kept["name"] != "InMemory" else "store"
    text = cut(specification, first, "session_store.connect()")
    run(text.replace('SQLiteStateStore("sqlite:///pystator.db")', make), kept)
    order_store, session_store = kept["order_store"], kept["session_store"]
    order_store.set_state("e-1", "open", metadata={"machine_name": "order", "context": {"n": 1}})
    session_store.set_state("e-1", "active", metadata={"machine_name": "session"})
    assert session_store.get_state("e-1", machine_name="order") == "open"
    assert order_store.get_state("e-1", machine_name="session") == "active"
    assert session_store.get_context("e-1", machine_name="order") == {"n": 1}
    assert order_store.get_context("e-1", machine_name="session") == {}
    assert order_store.machines("e-1") == ["order", "session"]
    assert session_store.count_by_state(machine_name="order") == {"open": 1}


def test_history_includes_what_the_page_lists(
    kept: Namespace, orchestrator: Orchestrator, specification: str
) -> None:
    listed = "History includes: - Source and target states - Trigger name - Success/failure - Error messages - Actions executed - Timestamp and duration"  # fmt: skip
    assert listed in specification
    assert orchestrator.process_event("order-123", "fill", context={"fill_qty": 100}).success
    assert not orchestrator.process_event("order-123", "fill", context={"fill_qty": 1}).success
    orchestrator.close()
    rows = kept["store"].history("order-123").items
    fill, refused = [row for row in rows if row.kind in {"event", "rejected"}]
    assert (fill.source_state, fill.target_state, fill.trigger) == ("open", "filled", "fill")
    assert (fill.success, refused.success, fill.error_message) == (True, False, None)
    assert "'fill' is not allowed" in refused.error_message
    assert [action["name"] for action in fill.actions] == ["report"]
    outcomes = [row for row in rows if row.kind == "action"]
    assert [(row.ref, row.success) for row in outcomes] == [(fill.version, True)]
    assert fill.recorded_at >= fill.now > 0
    assert fill.duration_us >= 0


def test_state_is_kept_between_processes(kept: Namespace, orchestrator: Orchestrator) -> None:
    """Crash recovery, stateless servers and several workers: another store sees it all at once."""
    if kept["name"] == "InMemory":
        assert not kept["store"].durable  # "State is lost when the process exits."
        return
    assert orchestrator.process_event("order-123", "fill", context={"fill_qty": 100}).success
    other = eval(kept["made by"], kept)
    with other:
        worker = Orchestrator(machine=kept["machine"], state_store=other, guards=kept["guards"])
        assert worker.get_entity("order-123").state == "filled"
        again = worker.process_event("order-123", "fill", context={"fill_qty": 1})
        assert again.reason == "terminal_state"
    assert len([row for row in kept["store"].history("order-123").items if not row.success]) == 1


def test_the_options_of_connect_are_those_of_the_page(kept: Namespace) -> None:
    store = kept["store"]
    store.set_state("order-123", "open")
    store.disconnect()
    assert store.connect(validate_schema=True, auto_initialize=False) is store
    assert kept["name"] == "InMemory" or store.get_state("order-123") == "open"


# Redis --------------------------------------------------------------------------------------------


def test_the_keys_in_redis_are_those_of_the_page(
    specification: str, manual_redis: str, namespace: Namespace, there: Callable[[str], str]
) -> None:
    """Hashes with three fields that anybody may read, named by prefix and id."""
    structure = cut(
        specification, "pystator:entity:{entity_id}", '  - machine_name: "order_management"'
    )
    prefix, fields = structure.split("\n", 1)
    assert re.findall(r"- (\w+):", fields) == ["state", "context", "machine_name"]
    run(there(cut(specification, *STORES["Redis"])), namespace)
    store: RedisStateStore = namespace["store"]
    entity = {"context": {"fill_qty": 100, "note": "50 € {x}"}, "machine_name": "order_management"}
    with redis.Redis.from_url(f"redis://{manual_redis}/0", decode_responses=True) as client:
        for entity_id in ("order-123", "order 124", "ä/b?c", "😀"):
            store.set_state(entity_id, "open", metadata=entity)
            found = client.hgetall(prefix.format(entity_id=entity_id))
            assert found["state"] == "open"
            assert json.loads(found["context"]) == entity["context"]
            assert found["machine_name"] == "order_management"
        machine = Orchestrator(
            namespace["machine"], store, namespace["guards"], namespace["actions"]
        )
        assert machine.process_event("order-123", "fill", context={"price": 50.25}).success
        found = client.hgetall("pystator:entity:order-123")
        assert (found["state"], json.loads(found["context"])["price"]) == ("filled", 50.25)


def test_the_options_of_redis_run(
    specification: str, manual_redis: str, namespace: Namespace, there: Callable[[str], str]
) -> None:
    """The page's own lines, and another prefix, which shares nothing with it."""
    line = '    key_prefix="pystator",  # Key prefix for entity keys'
    lines = specification.splitlines()
    start = lines.index(line) - 2
    snippet = there("\n".join(lines[start : lines.index("store.connect()", start) + 1]))
    run("from pystator import RedisStateStore", namespace)
    run(snippet, namespace)
    namespace["ours"] = namespace["store"]
    run(snippet.replace('"pystator"', '"shop"'), namespace)
    namespace["store"].set_state("order-123", "open")
    assert namespace["ours"].get_state("order-123") is None
    with redis.Redis.from_url(f"redis://{manual_redis}/0", decode_responses=True) as client:
        assert client.hget("shop:entity:order-123", "state") == "open"
        assert not client.keys("pystator:entity:*")


def test_the_connection_string_of_redis_is_optional_where_it_is_configured(
    specification: str,
    namespace: Namespace,
    manual_redis: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the environment, or by a file; and nobody writes to a server that no one named."""
    assert "# connection_string optional if configured via env/config" in specification
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r'RedisStateStore\("redis://.*PYSTATOR_REDIS_URL'):
        RedisStateStore()
    url = f"redis://{manual_redis}/0"
    (tmp_path / "pystator.cfg").write_text(f"[database]\nPYSTATOR_REDIS_URL = {url}\n")
    with RedisStateStore() as store:
        store.set_state("order-123", "open")
    (tmp_path / "pystator.cfg").write_text(
        "[database]\nPYSTATOR_REDIS_URL = redis://nowhere.invalid\n"
    )
    monkeypatch.setenv("PYSTATOR_REDIS_URL", url)
    with RedisStateStore() as store:
        assert store.get_state("order-123") == "open"


# MongoDB ------------------------------------------------------------------------------------------


def test_the_database_of_mongodb_is_the_one_that_is_named(
    specification: str, manual_mongodb: str, namespace: Namespace, there: Callable[[str], str]
) -> None:
    run(there(cut(specification, *STORES["MongoDB"])), namespace)
    namespace["store"].set_state("order-123", "open", metadata={"machine_name": "order"})
    with MongoDBStateStore(f"mongodb://{manual_mongodb}", database_name="other") as other:
        assert other.get_state("order-123") is None
    with pymongo.MongoClient(f"mongodb://{manual_mongodb}") as client:
        [found] = client["pystator"]["entity_states"].find({"entity_id": "order-123"})
        assert (found["state"], found["machine_name"]) == ("open", "order")
        client.drop_database("other")


def test_the_connection_string_of_mongodb_may_be_configured(
    namespace: Namespace, manual_mongodb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r'MongoDBStateStore\("mongodb://'):
        MongoDBStateStore()
    monkeypatch.setenv("PYSTATOR_MONGODB_URL", f"mongodb://{manual_mongodb}")
    with MongoDBStateStore(database_name="pystator") as store:
        assert store.get_state("order-123") is None


def test_the_extra_that_the_page_names_brings_pymongo(specification: str) -> None:
    assert "Install with pip install pystator[api] (includes pymongo)." in specification
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert any(each.startswith("pymongo") for each in extras["api"])
    assert any(each.startswith("pymongo") for each in extras["mongodb"])
    assert any(each.startswith("redis[hiredis]") for each in extras["redis"])


# The command line ---------------------------------------------------------------------------------


def test_truncate_clears_the_tables_in_the_order_of_the_page(
    specification: str, namespace: Namespace
) -> None:
    order = "worker_events, transition_history, entity_states, and machines"
    assert f"clears all PyStator tables in dependency order: {order}" in specification
    assert "Use with care (prompts for confirmation unless --force)." in specification
    said = shell("pystator db init && pystator db truncate --force")
    told = re.findall(r"^(\w+) +[\d,]+ deleted$", said, re.MULTILINE)
    assert told[:4] == re.findall(r"[a-z]+_?[a-z]+", order.replace("and ", ""))


# Performance --------------------------------------------------------------------------------------


def test_every_row_of_the_performance_table_is_backed_by_figures(specification: str) -> None:
    """What a read and a write cost on each of its stores stands on a page of ours."""
    first, last = (
        "Store Read Write Consistency Use Case",
        "Redis O(1) O(1) Eventual High-throughput",
    )
    names = [row.split()[0] for row in cut(specification, first, last).splitlines()[1:]]
    assert names == list(STORES)
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    section = page.split("## The stores side by side\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    figures = {row[0].partition(",")[0]: row[1:] for row in rows[2:]}
    assert list(figures) == names
    for cells in figures.values():
        assert all(re.fullmatch(r"[\d.,]+ (us|ms)", cell) for cell in cells)


# High throughput ----------------------------------------------------------------------------------


def test_the_advice_for_high_throughput_can_be_followed(
    specification: str, manual_redis: str, manual_postgres: str, namespace: Namespace
) -> None:
    """Redis answers, PostgreSQL keeps; and stores of databases have pools."""
    advice = "1. Use RedisStateStore for hot paths 2. Async-replicate to PostgreSQL for durability 3. Use connection pooling for database stores"  # fmt: skip
    assert advice in specification
    url = "postgresql://user:pass@localhost/pystator"
    hot = RedisStateStore(f"redis://{manual_redis}/0", pool_size=4)
    with ReplicatedStateStore(hot=hot, durable=PostgresStateStore(url, pool_size=4)) as store:
        orders = Orchestrator(
            namespace["machine"], store, namespace["guards"], namespace["actions"]
        )
        assert orders.process_event("order-123", "fill", context={"fill_qty": 100}).success
        orders.close()
        store.replicate(once=True)
        assert store.lag().entries == 0
    with PostgresStateStore(url) as durable:
        assert durable.get_state("order-123") == "filled"
        assert [row.trigger for row in durable.history("order-123").items][:1] == ["fill"]

"""Stores by URL: what this release has, and a clear word about what it does not have."""

import sys

import pytest

import pystator
from pystator.errors import ConfigurationError
from pystator.stores.memory import InMemoryStateStore
from pystator.stores.registry import create_state_store


@pytest.mark.parametrize("url", ["memory://", "memory:", "MEMORY://"])
def test_memory_is_a_store(url):
    store = create_state_store(url, machine_name="orders")
    assert isinstance(store, InMemoryStateStore)
    assert store.machine_name == "orders"


def test_sqlite_is_a_store(tmp_path):
    with create_state_store(f"sqlite:///{tmp_path}/a.db") as store:
        store.set_state("order-1", "open")
        assert store.get_state("order-1") == "open"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("reddis://:secret@host", "Did you mean redis://"),
        ("valkey://:secret@host", "Did you mean redis://"),
        ("mongo://u:secret@host", "Did you mean mongodb://"),
        ("mongodb+server://u:secret@host", "Did you mean mongodb"),
        ("postgress://u:secret@host", "Did you mean postgres"),
        ("mysql://u:secret@host", "'mysql'"),
        ("u:secret@host", "'u'"),
        ("sqlit:///a.db", "Did you mean sqlite"),
        ("a.db", "memory://, sqlite:///path/to/file.db, postgresql://"),
        ("", "memory://"),
        ("memory://somewhere", "names no place"),
    ],
)
def test_what_there_is_not_is_said_without_the_password(url, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        create_state_store(url)
    assert "secret" not in str(caught.value.to_dict())


def test_asking_for_memory_loads_no_database(monkeypatch):
    monkeypatch.delitem(sys.modules, "pystator.stores.sqlite", raising=False)
    create_state_store("memory://")
    assert "pystator.stores.sqlite" not in sys.modules


@pytest.mark.parametrize(
    ("url", "options", "kind"),
    [
        (
            "redis://me:secret@host:6380/1",
            {"key_prefix": "shop", "timeout": 2.0},
            "RedisStateStore",
        ),
        ("rediss://:secret@host", {"pool_size": 3}, "RedisStateStore"),
        ("unix:///run/redis.sock?db=1&password=secret", {}, "RedisStateStore"),
        ("mongodb://me:secret@host/shop", {"database_name": "other"}, "MongoDBStateStore"),
        ("mongodb+srv://me:secret@host.example/", {"pool_size": 3}, "MongoDBStateStore"),
        ("postgres://me:secret@host/shop", {"prepare": False}, "PostgresStateStore"),
        ("postgresql+psycopg://me:secret@host/shop", {"timeout": 2.0}, "PostgresStateStore"),
    ],
)
def test_every_scheme_names_its_store_and_takes_its_options(url, options, kind):
    """Nothing is connected, and nobody who prints the store sees a password."""
    store = create_state_store(url, machine_name="orders", **options)
    assert type(store).__name__ == kind
    assert store.machine_name == "orders"
    assert "secret" not in repr(store)
    for name in {"key_prefix", "database_name"} & options.keys():
        assert getattr(store, name) == options[name]
    with pytest.raises(ConfigurationError, match=f"{kind} has no option synchronous="):
        create_state_store(url, synchronous="FULL")


def test_an_option_of_another_store_is_missed_with_those_there_are():
    with pytest.raises(
        ConfigurationError,
        match="InMemoryStateStore has no option key_prefix=; it has machine_name",
    ):
        create_state_store("memory://", key_prefix="x")
    with pytest.raises(ConfigurationError, match="did you mean synchronous="):
        create_state_store("sqlite://", synchronus="FULL")


def test_what_is_no_string_is_told_what_a_url_is(tmp_path):
    with pytest.raises(ConfigurationError, match="is a string, memory://"):
        create_state_store(tmp_path)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("SQLiteStateStore", "sqlite:///orders.db"),
        ("PostgresStateStore", "postgresql://user:pass@localhost/pystator"),
        ("MongoDBStateStore", "mongodb://localhost:27017"),
        ("RedisStateStore", "redis://localhost:6379/0"),
    ],
)
def test_a_url_may_be_called_a_connection_string(kind: str, url: str) -> None:
    make = getattr(pystator, kind)
    assert make(connection_string=url).url == make(url).url
    with pytest.raises(ConfigurationError, match="give one of them"):
        make(url, connection_string=url)

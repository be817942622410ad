"""Stores by URL: what this release has, and a clear word about what it does not have."""

import sys

import pytest

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
        ("redis://:secret@host", "'redis'"),
        ("mongodb+srv://u:secret@host", "'mongodb'"),
        ("sqlit:///a.db", "Did you mean sqlite"),
        ("a.db", "memory://, sqlite:///path/to/file.db and postgresql://"),
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

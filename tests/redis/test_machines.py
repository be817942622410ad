"""Definitions of machines in Redis: one hash, each field set once."""

import asyncio

import pytest

from pystator.errors import ConfigurationError
from pystator.stores.redis import RedisStateStore
from pystator.testing.definitions import machine


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def store(request):
    with RedisStateStore(request.getfixturevalue(request.param)) as connected:
        yield connected


def test_versions_are_fields_of_one_hash(redis_url, admin) -> None:
    with RedisStateStore(redis_url) as store:
        store.save_machine(machine("order", "1.0"))
        store.save_machine(machine("order", "1.1", created_at=2_000))
        assert sorted(admin.hkeys(f"{store.key_prefix}:machines")) == [
            "order\x001.0",
            "order\x001.1",
        ]
        assert admin.hlen(f"{store.key_prefix}:machines") == 2


def test_the_second_definition_of_a_version_is_refused_and_the_first_one_stays(store) -> None:
    first = machine(definition='{"a": 1}')
    assert store.save_machine(first)
    with pytest.raises(ConfigurationError, match="never changes"):
        store.save_machine(machine(definition='{"a": 2}', fingerprint="another"))
    with pytest.raises(ConfigurationError, match="never changes"):
        asyncio.run(store.asave_machine(machine(definition='{"a": 2}', fingerprint="another")))
    assert asyncio.run(store.astored_machine("order")) == store.stored_machine("order") == first


def test_every_page_of_many_machines(store) -> None:
    names = [(f"m{n % 7}", f"{n}") for n in range(40)]
    for name, version in names:
        assert store.save_machine(machine(name, version))
    found = []
    after = None
    while True:
        page = asyncio.run(store.astored_machines(after=after, limit=9))
        found += [(each.name, each.version) for each in page.items]
        after = page.next
        if after is None:
            break
    assert found == sorted(names)


def test_stores_of_other_prefixes_have_other_machines(redis_url) -> None:
    with (
        RedisStateStore(redis_url, key_prefix="a") as one,
        RedisStateStore(redis_url, key_prefix="b") as two,
    ):
        one.save_machine(machine())
        assert two.stored_machine("order") is None
        assert two.stored_machines().items == []

"""What is archived and deleted in Redis is so in the durable store, too, and never the other way round."""

from dataclasses import replace

import pytest
import redis

from pystator.errors import ConfigurationError, ReplicationError, StoreUnavailableError
from pystator.records import UNARCHIVE, EntryKind, StoredMachine
from pystator.testing.building import applied, change, note
from replication.shapes import all_keys, contents
from stores.archiving import check_indexes, write_at_once

AT = 1_764_289_465_000_000
MACHINE = StoredMachine("m", "1.0", "f", None, "{}", 1)


def archiving(after, *, at=AT):
    """A commit that archives, or takes back, and changes nothing else."""
    kind = EntryKind.UNARCHIVED if at == UNARCHIVE else EntryKind.ARCHIVED
    return replace(change(after=after, state=None, kind=kind), archived_at=at)


def same(store):
    keys = all_keys(store.hot_store)
    assert contents(store.durable_store, keys) == contents(store.hot_store, keys)


def test_an_entity_is_archived_and_taken_back_in_both(on_both) -> None:
    durable = on_both.durable_store
    applied(on_both, change(timers={"t": (5, 1)}, trace="00-ab-cd-01"))
    applied(on_both, archiving(1))
    on_both.replicate(once=True)
    same(on_both)
    assert (durable.entities().items, durable.due(9, 9)) == ([], [])
    assert [each.archived_at for each in durable.entities(archived=True).items] == [AT]
    applied(on_both, change(after=2, state="shut"))  # it does not know
    applied(on_both, note(version=3))
    on_both.replicate(once=True)
    same(on_both)
    assert durable.count_by_state(archived=True) == {"shut": 1}
    applied(on_both, archiving(3, at=UNARCHIVE))
    on_both.replicate(once=True)
    same(on_both)
    assert durable.due(9, 9) == [("e", "m")]


def test_archived_and_taken_back_before_anybody_replicates(on_both) -> None:
    applied(on_both, change())
    applied(on_both, archiving(1))
    applied(on_both, archiving(2, at=UNARCHIVE))
    on_both.replicate(once=True)
    same(on_both)
    assert on_both.durable_store.count_by_state() == {"open": 1}


def test_indexes_of_both_say_what_entities_say_whoever_wrote_at_once(store) -> None:
    write_at_once(store, 40)
    store.replicate(once=True)
    same(store)
    check_indexes(store)
    check_indexes(store.durable_store)


def test_a_machine_goes_from_both_though_the_durable_store_is_behind(on_both) -> None:
    on_both.save_machine(MACHINE)
    applied(on_both, change())
    on_both.replicate(once=True)
    with pytest.raises(ConfigurationError):
        on_both.delete_machine("m")
    applied(on_both, archiving(1))
    assert on_both.delete_machine("m") == 1
    for store in (on_both.hot_store, on_both.durable_store):
        assert store.stored_machine("m") is None
    same(on_both)


def test_who_serves_decides_and_what_is_refused_is_in_both(store) -> None:
    store.save_machine(MACHINE)
    applied(store, change())  # which the durable store has not heard of
    with pytest.raises(ConfigurationError) as caught:
        store.delete_machine("m")
    assert caught.value.context["live"] == 1
    assert [each.stored_machine("m") for each in (store.hot_store, store.durable_store)] == [
        MACHINE,
        MACHINE,
    ]


def test_a_death_in_between_leaves_a_copy_that_goes_with_the_next_try(store, monkeypatch) -> None:
    store.save_machine(MACHINE)

    def die(*_):
        raise StoreUnavailableError("gone", context={"written": False})

    with monkeypatch.context() as patched:
        patched.setattr(store.durable_store, "delete_machine", die)
        with pytest.raises(StoreUnavailableError, match="call this again") as caught:
            store.delete_machine("m")
    assert "written" not in caught.value.context
    assert store.hot_store.stored_machine("m") is None
    assert store.durable_store.stored_machine("m") == MACHINE
    assert store.delete_machine("m") == 1
    assert store.durable_store.stored_machine("m") is None


def test_archived_entities_come_back_with_a_rebuild(store) -> None:
    applied(store, change(timers={"t": (5, 1)}))
    applied(store, archiving(1))
    store.replicate(once=True)
    before = contents(store.hot_store, [("e", "m")])
    assert store.rebuild(discard=True).finished
    store.connect()
    assert contents(store.hot_store, [("e", "m")]) == before
    assert (store.entities().items, store.due(9, 9)) == ([], [])
    applied(store, archiving(2, at=UNARCHIVE))
    assert store.due(9, 9) == [("e", "m")]


def test_a_hot_store_without_an_archived_entity_of_the_durable_one_is_not_adopted(
    store, redis_url
) -> None:
    applied(store, change())
    applied(store, archiving(1))
    store.replicate(once=True)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with pytest.raises(ReplicationError, match="lacks 'e'"):
        store.adopt()

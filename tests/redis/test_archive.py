"""Archived entities in Redis: in indexes of their own, whoever writes to them, and rows with a trace."""

from dataclasses import replace

import pytest

from pystator.errors import ConfigurationError
from pystator.records import UNARCHIVE, EntryKind, OutcomeKind, StoredMachine
from pystator.testing.building import applied, change, lookup, note
from stores.archiving import check_indexes, write_at_once

AT = 1_764_289_465_000_000


def archiving(after, *, at=AT, **fields):
    """A commit that archives, or takes back, and changes nothing else."""
    kind = EntryKind.UNARCHIVED if at == UNARCHIVE else EntryKind.ARCHIVED
    fields = {"state": None, "kind": kind} | fields
    return replace(change(after=after, **fields), archived_at=at)


def indexes(admin):
    """Every index that has something in it, without the prefix."""
    found = {}
    for key in admin.scan_iter("*"):
        name = key.partition(":")[2]
        if name.startswith(("entities", "archived", "state", "due")):
            found[name] = (
                admin.smembers(key) if admin.type(key) == "set" else set(admin.zrange(key, 0, -1))
            )
    return found


LIVE = {"entities": {"e\0m"}, "states": {"m\0open"}, "state:m:open": {"e"}, "due:m": {"e"}}
APART = {"archived": {"e\0m"}, "archived-states": {"m\0open"}, "archived:m:open": {"e"}}


@pytest.fixture
def archived(store):
    """The store, with an archived entity whose timer would be due."""
    applied(store, change(timers={"t": (5, 1)}))
    applied(store, archiving(1))
    return store


class TestIndexes:
    """What nobody is to meet is not in the indexes that are asked."""

    def test_archiving_moves_an_entity_from_one_group_to_the_other_and_back(self, store, admin):
        applied(store, change(timers={"t": (5, 1)}))
        assert indexes(admin) == LIVE
        applied(store, archiving(1))
        assert indexes(admin) == APART
        applied(store, archiving(2, at=UNARCHIVE))
        assert indexes(admin) == LIVE

    def test_a_commit_that_does_not_know_leaves_the_entity_archived(self, archived, admin):
        applied(archived, change(after=2, state="shut", timers={"t": (6, 3)}))
        entity = archived.load([lookup()])[0].entity
        assert (entity.version, entity.state, entity.archived_at) == (3, "shut", AT)
        assert indexes(admin) == {
            "archived": {"e\0m"},
            "archived-states": {"m\0shut"},
            "archived:m:shut": {"e"},
        }

    def test_a_stale_commit_of_an_archived_entity_writes_nothing(self, archived, admin):
        [outcome] = archived.commit([change(after=1, state="shut")])
        assert outcome.kind is OutcomeKind.STALE
        assert indexes(admin) == APART

    def test_commits_of_one_call_see_what_archiving_left_of_an_index(self, store, admin):
        applied(store, change("a"), change("b", state="shut"))
        applied(store, replace(change("a", after=1), archived_at=AT), change("b", after=1))
        assert admin.smembers("pystator:states") == {"m\0open"}
        assert set(admin.zrange("pystator:state:m:open", 0, -1)) == {"b"}

    def test_taking_back_finds_the_timers_that_were_set_meanwhile(self, archived):
        applied(archived, change(after=2, timers={"t": (9, 3)}))
        assert archived.due(100, 10) == []
        applied(archived, archiving(3, at=UNARCHIVE))
        assert archived.due(8, 10) == []
        assert archived.due(9, 10) == [("e", "m")]

    def test_an_index_of_another_type_is_refused_while_nothing_is_written(self, store, admin):
        applied(store, change())
        admin.set("pystator:archived", "not ours")
        [outcome] = store.commit([archiving(1)])
        assert outcome.kind is OutcomeKind.REFUSED
        assert "pystator:archived" in str(outcome.error)
        assert store.load([lookup()])[0].entity.version == 1
        assert len(store.history("e").items) == 1

    def test_a_row_that_changes_nothing_leaves_it_archived(self, archived):
        applied(archived, note(version=2, event_id="i"))
        [loaded] = archived.load([lookup("e", "i")])
        assert (loaded.entity.version, loaded.entity.archived_at) == (2, AT)
        assert loaded.known["i"].kind is EntryKind.REJECTED

    def test_the_second_machine_of_an_id_is_archived_by_itself(self, store):
        applied(store, change(), change(machine="n"))
        applied(store, archiving(1, machine="n"))
        assert [each.machine_name for each in store.entities().items] == ["m"]
        assert [each.machine_name for each in store.entities(archived=True).items] == ["n"]
        assert store.machines("e") == ["m", "n"]


def test_indexes_say_what_entities_say_whoever_wrote_at_once(store) -> None:
    write_at_once(store, 60)
    check_indexes(store)


class TestTraces:
    def test_rows_with_and_without_a_trace_stand_side_by_side(self, store):
        mixed = change(steps=2)
        first, second = mixed.entries
        applied(store, replace(mixed, entries=(replace(first, trace="00-ab-cd-01"), second)))
        assert [row.trace for row in store.history("e").items] == ["00-ab-cd-01", None]

    def test_a_row_says_last_when_it_was_recorded_whether_it_has_a_trace_or_not(self, store):
        applied(store, change(trace="00-ab-cd-01"))
        [row] = store.history("e").items
        assert store.prune_keys(None, 10) == [(("e", "m"), row.recorded_at)]


class TestFeed:
    def test_a_filter_passes_over_more_entries_than_one_script_looks_at(self, store):
        applied(store, *[change(f"e{number}") for number in range(1_500)])
        applied(store, change("x", machine="n"))
        page = store.feed(None, 10, machine_names=["n"])
        assert [row.entity_id for row in page.items] == ["x"]
        assert page.next == store.feed_end() == page.cursors[0]


class TestDeletedMachines:
    def test_a_version_is_looked_for_in_more_entities_than_one_script_looks_at(
        self, store, monkeypatch
    ):
        monkeypatch.setattr("pystator.stores.redis.machines.LOOKED", 3)
        for version in ("1.0", "2.0"):
            store.save_machine(StoredMachine("m", version, version, None, "{}", int(version[0])))
        applied(store, *[change(f"e{number}") for number in range(8)], change(machine="n"))
        with pytest.raises(ConfigurationError) as caught:
            store.delete_machine("m", "1.0")
        assert caught.value.context["live"] == 8
        for number in range(8):
            applied(store, replace(change(f"e{number}", after=1), machine_version="2.0"))
        assert store.delete_machine("m", "1.0") == 1
        assert [each.version for each in store.stored_machines().items] == ["2.0"]

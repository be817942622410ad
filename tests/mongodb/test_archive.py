"""Archived entities in MongoDB: no index that is asked for others has them, whoever writes to them."""

from dataclasses import replace

import pytest

from pystator.errors import ConfigurationError
from pystator.records import UNARCHIVE, EntryKind, OutcomeKind, StoredMachine
from pystator.testing.building import applied, change, lookup, note
from stores.archiving import check_indexes, write_at_once

AT = 1_764_289_465_000_000
FIELDS = ("state", "leaves", "next_due", "archived_state", "archived_leaves", "archived_due")


def archiving(after, *, at=AT, **fields):
    """A commit that archives, or takes back, and changes nothing else."""
    kind = EntryKind.UNARCHIVED if at == UNARCHIVE else EntryKind.ARCHIVED
    return replace(change(after=after, **({"state": None, "kind": kind} | fields)), archived_at=at)


def kept(database):
    """What the document of the only entity has of the fields that queries ask for."""
    document = database.entity_states.find_one()
    return {name: document[name] for name in FIELDS if name in document}


@pytest.fixture
def archived(store):
    """The store, with an archived entity whose timer would be due."""
    applied(store, change(timers={"t": (5, 1)}))
    applied(store, archiving(1))
    return store


LIVE = {"state": "open", "leaves": ["open"], "next_due": 5}
APART = {"archived_state": "open", "archived_leaves": ["open"], "archived_due": 5}


class TestFields:
    def test_archiving_renames_what_queries_ask_for_and_taking_back_undoes_it(
        self, archived, database
    ):
        assert kept(database) == APART
        applied(archived, archiving(2, at=UNARCHIVE))
        assert kept(database) == LIVE
        assert "archived_at" not in database.entity_states.find_one()

    def test_a_commit_that_does_not_know_leaves_the_entity_archived(self, archived, database):
        applied(archived, change(after=2, state="a+b", timers={}))
        entity = archived.load([lookup()])[0].entity
        assert (entity.version, entity.state, entity.archived_at) == (3, "a+b", AT)
        assert kept(database) == {"archived_state": "a+b", "archived_leaves": ["a", "b", "a+b"]}

    def test_one_that_knows_may_change_state_and_timers_as_well(self, archived, database):
        applied(archived, archiving(2, state="shut", timers={"t": (7, 3)}))
        assert kept(database) == {
            "archived_state": "shut",
            "archived_leaves": ["shut"],
            "archived_due": 7,
        }
        applied(archived, archiving(3, at=UNARCHIVE, state="open", timers={}))
        assert kept(database) == {"state": "open", "leaves": ["open"]}

    def test_a_stale_commit_of_an_archived_entity_writes_nothing(self, archived, database):
        [outcome] = archived.commit([change(after=1, state="shut")])
        assert outcome.kind is OutcomeKind.STALE
        assert kept(database) == APART

    def test_neighbours_of_an_archived_entity_are_written_once(self, archived):
        applied(archived, change("f"), change(after=2, state="shut"), change("g"))
        assert [each.version for each in archived.entities().items] == [1, 1]
        assert len(archived.history("f").items) == 1

    def test_an_entity_may_be_made_where_there_were_only_rows_and_be_archived_at_once(self, store):
        applied(store, note(version=0))
        applied(store, replace(change(), archived_at=AT))
        assert store.entities().items == []
        assert [each.archived_at for each in store.entities(archived=True).items] == [AT]


def test_indexes_say_what_entities_say_whoever_wrote_at_once(store) -> None:
    write_at_once(store, 20)
    check_indexes(store)


class TestFeed:
    def test_a_filter_finds_what_still_waits_in_the_tail_of_an_entity(self, store):
        applied(store, *[change(f"e{number}") for number in range(60)], change("x", machine="n"))
        page = store.feed(None, 10, machine_names=["n"])
        assert [row.entity_id for row in page.items] == ["x"]
        assert page.next == store.feed_end()

    def test_the_end_is_behind_what_waits(self, store):
        applied(store, change())
        end = store.feed_end()
        assert store.feed(end).items == []
        applied(store, change("f"))
        assert [row.entity_id for row in store.feed(end).items] == ["f"]


class TestDeletedMachines:
    def test_an_entity_that_comes_while_versions_are_deleted_brings_them_back(
        self, store, monkeypatch
    ):
        from pystator.stores.mongodb import machines

        store.save_machine(StoredMachine("m", "1.0", "f", None, "{}", 1))
        alive = machines._alive
        counts = []

        def counted(name, version):
            number = yield from alive(name, version)
            if not counts:
                applied(store, change())
            counts.append(number)
            return number

        monkeypatch.setattr(machines, "_alive", counted)
        with pytest.raises(ConfigurationError) as caught:
            store.delete_machine("m")
        assert caught.value.context["live"] == 1
        assert counts == [0, 1]
        assert store.stored_machine("m", "1.0").fingerprint == "f"

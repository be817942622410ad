"""One document, one write: what is in it, what guards it, and who wins."""

import threading
from collections import Counter

import bson
import pytest

from pystator import Orchestrator, StateMachine
from pystator.errors import InvalidValueError
from pystator.orchestrator.replay import replay
from pystator.records import OutcomeKind
from pystator.stores.mongodb import MongoDBStateStore
from pystator.stores.mongodb.documents import HISTORY, STATES, id_of
from pystator.stores.mongodb.encode import ROOM
from pystator.testing.building import applied, change, lookup, note

APPLIED, STALE, DUPLICATE = OutcomeKind.APPLIED, OutcomeKind.STALE, OutcomeKind.DUPLICATE

TALLY = {
    "meta": {"machine_name": "m"},
    "states": [{"name": "even", "type": "initial"}, {"name": "odd"}],
    "transitions": [
        {"trigger": "add", "source": "even", "dest": "odd", "actions": [{"increment": "n"}]},
        {"trigger": "add", "source": "odd", "dest": "even", "actions": [{"increment": "n"}]},
    ],
}


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


class TestOneDocument:
    def test_state_and_row_come_with_one_write_of_one_document(self, line, over, database):
        store = over()
        applied(store, change(event_id="a"))
        assert [name for name in line.commands if name in {"insert", "update"}][-1:] == ["insert"]
        line.commands.clear()
        applied(store, change(after=1, steps=2, event_id="b", context={"n": 1}))
        store.load([lookup("e", "new")])
        assert line.commands == ["update", "find"]
        assert database[HISTORY].count_documents({}) == 0
        document = database[STATES].find_one({"_id": "e\0m"})
        assert (document["version"], document["state"], document["context"]) == (
            3,
            "open",
            '{"n":1}',
        )
        assert [row["version"] for row in document["tail"]] == [1, 2, 3]
        assert (document["ids"], document["seq"]) == (["a", "b", "b-2"], 3)

    def test_what_is_stored_is_plain(self, store, database):
        """Nothing of the user's becomes a name; texts, numbers and booleans are all there is."""
        applied(
            store,
            change(
                context={"a.b": {"$set": 1}, "$x": [None, 2.5]},
                payload={"p": {"$inc": 1}},
                history={"p": ["x"]},
                timers={"t": (70, 1)},
                actions=({"name": "a"},),
                event_id="$i",
            ),
        )
        document = database[STATES].find_one({})
        row = document.pop("tail")[0]
        lists = {document.pop(name) and name for name in ("leaves", "ids")}
        assert lists == {"leaves", "ids"}
        values = [*document.values(), *row.values()]
        assert {type(value) for value in values} <= {str, int, bool, bson.Int64}
        assert store.get_context("e") == {"a.b": {"$set": 1}, "$x": [None, 2.5]}

    def test_an_entity_is_made_where_only_rows_were(self, store, database):
        applied(store, note("e", version=0, event_id="a"))
        assert store.load([lookup("e", "a")])[0].entity is None
        assert kinds(store.commit([change(event_id="a")])) == [DUPLICATE]
        applied(store, change(event_id="b", now=7))
        assert kinds(store.commit([change(event_id="c")])) == [STALE]
        [loaded] = store.load([lookup("e", "a", "b")])
        assert (loaded.entity.version, loaded.entity.created_at) == (1, 7)
        assert loaded.known.keys() == {"a", "b"}
        assert database[STATES].count_documents({}) == 1

    def test_a_tail_has_an_end(self, store, database):
        """The commit that finds no room makes it; nothing is lost, and nothing is out of order."""
        applied(store, change(event_id="i-1"))
        longest = 0
        for version in range(1, 80, 2):
            applied(store, change(after=version, event_id=f"c{version}"), note(version=version))
            applied(store, change(after=version + 1))
            [found] = database[STATES].aggregate([{"$project": {"n": {"$size": "$tail"}}}])
            longest = max(longest, found["n"])
        assert longest == ROOM
        rows = store.history("e", limit=1_000).items
        assert [row.id for row in rows if row.kind == "event"] == sorted(
            row.id for row in rows if row.kind == "event"
        )
        assert len({row.id for row in rows}) == len(rows) == 121
        assert len(store.feed(None, 1_000).items) == 121

    def test_event_ids_are_known_for_ever(self, store, mongodb_url, database):
        """Also those that the document has forgotten, whether they are looked for first or not."""
        name = id_of("e", "m")
        applied(store, change(steps=450, event_id="i"))
        store.feed(None)
        applied(store, note(event_id="late", version=450))
        document = database[STATES].find_one({"_id": name})
        assert document["forgotten"] > 0
        assert "i" not in document["ids"]
        with MongoDBStateStore(mongodb_url) as other:
            assert kinds(other.commit([change(after=450, event_id="i")])) == [DUPLICATE]
            assert kinds(other.commit([note(version=450, event_id="i-7")])) == [DUPLICATE]
            assert kinds(other.commit([change(after=450, event_id="new")])) == [APPLIED]
            [loaded] = other.load([lookup("e", "i", "i-300", "i-449", "late", "new", "none")])
            assert loaded.known.keys() == {"i", "i-300", "i-449", "late", "new"}
            assert kinds(other.commit([change(after=451, event_id="newer")])) == [APPLIED]

    def test_times_are_plain_numbers(self, store):
        now = 1_700_000_000_000_000
        applied(store, change(now=now, occurred_at=now))
        entity, [row] = store.load_one("e", "m"), store.history("e").items
        times = [entity.created_at, entity.updated_at, entity.state_since]
        times += [row.now, row.occurred_at, row.recorded_at]
        assert {type(time) for time in times} == {int}
        assert times[:5] == [now] * 5

    def test_what_no_document_has_room_for_is_refused(self, mongodb_url):
        with MongoDBStateStore(mongodb_url, context_limit=20_000_000) as store:
            large = {"text": "x" * 7_000_000}
            applied(store, change(context=large))
            [outcome, neighbour] = store.commit(
                [change(after=1, context=large, payload=large), change("f")]
            )
            assert (outcome.kind, neighbour.kind) == (OutcomeKind.REFUSED, APPLIED)
            assert isinstance(outcome.error, InvalidValueError)
            assert outcome.error.context["reason"] == "too_large"
            assert "12,000,000" in str(outcome.error)
            assert store.get_state_versioned("e") == ("open", 1)
            assert len(store.history("e").items) == 1

    def test_rows_make_room_for_one_another(self, mongodb_url):
        """Each fits, all of them do not: the tail is relayed on the way."""
        payload = {"text": "x" * 5_000_000}
        with MongoDBStateStore(mongodb_url, context_limit=6_000_000) as store:
            applied(store, change())
            for version in range(1, 5):
                applied(store, change(after=version, payload=payload))
            applied(store, note(version=5, payload=payload))
            rows = store.history("e").items
        assert [row.version for row in rows] == [1, 2, 3, 4, 5, 5]
        assert {len(row.payload["text"]) for row in rows[1:]} == {5_000_000}

    def test_numbers_that_are_too_large_are_refused_and_neighbours_survive(self, store):
        batch = [change("e1"), change("e2", now=2**63), change("e3"), note("e4", version=2**70)]
        outcomes = store.commit(batch)
        assert kinds(outcomes) == [APPLIED, OutcomeKind.REFUSED] * 2
        assert [each.entity_id for each in store.entities().items] == ["e1", "e3"]


class TestRaces:
    def together(self, count, work):
        start = threading.Barrier(count)
        failures = []

        def run(number):
            start.wait()
            try:
                work(number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_one_of_eight_makes_an_entity(self, store):
        met = Counter()
        for round_ in range(5):
            self.together(
                8, lambda _, name=f"e{round_}": met.update(kinds(store.commit([change(name)])))
            )
        assert met == {APPLIED: 5, STALE: 35}

    def test_one_of_eight_takes_an_event_id(self, store):
        met = Counter()
        applied(store, change("e"))
        for round_ in range(5):
            for name in ("e", f"nobody{round_}"):
                self.together(
                    8,
                    lambda _, name=name, event_id=f"i{round_}": met.update(
                        kinds(store.commit([note(name, version=1, event_id=event_id)]))
                    ),
                )
        assert met == {APPLIED: 10, DUPLICATE: 70}

    @pytest.mark.parametrize("ids", [False, True])
    def test_eight_threads_count_one_entity_up(self, store, ids):
        orchestrator = Orchestrator(StateMachine.from_dict(TALLY), store)

        def work(number):
            for turn in range(10):
                event_id = f"{number}-{turn}" if ids else None
                orchestrator.process_event("e", "add", event_id=event_id).raise_for_error()

        self.together(8, work)
        rows = store.history("e", limit=1_000).items
        assert [row.version for row in rows] == list(range(1, 81))
        assert replay(rows) == ("even", {"n": 80}) == (store.get_state("e"), store.get_context("e"))

    def test_commits_and_relays_of_one_entity(self, store):
        """Rows come once each, in the order of the commits, wherever they are at the moment."""
        applied(store, change())

        def work(number):
            for _ in range(40):
                if number < 3:
                    applied(store, note(actor=str(number)))
                else:
                    store.feed(None, 10)

        self.together(5, work)
        rows = store.history("e", limit=1_000).items
        assert [row.id for row in rows] == list(range(1, 122))
        assert Counter(row.actor for row in rows[1:]) == {"0": 40, "1": 40, "2": 40}
        found = store.feed(None, 1_000).items
        assert [row.id for row in found] == list(range(1, 122))

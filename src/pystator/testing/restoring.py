"""What a store takes from another one: entities and rows as they are, whole or not at all.

For stores that have ``restore``; the others skip it. What is put in was written by the model, the
store in memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from pystator.errors import InvalidValueError
from pystator.records import EntryKind, HistoryEntry, Lookup, Outcome, OutcomeKind, Parcel
from pystator.stores.memory import InMemoryStateStore
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["RestoreContract", "parcel_of"]

APPLIED, STALE = OutcomeKind.APPLIED, OutcomeKind.STALE
REFUSED = OutcomeKind.REFUSED


def parcel_of(
    source: Any,
    entity_id: str = "e",
    machine: str = "m",
    *,
    base: int = 0,
    after: HistoryEntry | None = None,
    rows: Sequence[HistoryEntry] | None = None,
) -> Parcel:
    """An entity of another store with its rows, or with those that are given.

    ``after`` is the newest row that the store it goes to has.
    """
    [loaded] = source.load([Lookup(entity_id, machine)])
    found: Sequence[HistoryEntry] = (
        source.history(entity_id, machine_name=machine, limit=10_000).items
        if rows is None
        else rows
    )
    place = None if after is None else (after.version, after.commit_id)
    return Parcel(entity_id, machine, loaded.entity, tuple(found), base, place)


def full(entity_id: str = "e", **fields: Any) -> Any:
    """A commit that says something in every field."""
    given: dict[str, Any] = {
        "state": "left+right",
        "context": {"n": 1, "deep": {"$t": [None, 1.5]}, "": "é\x00"},
        "history": {"box": ["left", "up"]},
        "timers": {"slow": (2_000_000, 1), "fast": (1_000_000, 1)},
        "payload": {"p": [1, {"q": "\U0001f600"}]},
        "patch": ({"n": 1}, ("gone",)),
        "actions": ({"name": "mail", "params": {"to": "a@b"}},),
        "event_id": "i1",
        "request_hash": "r" * 32,
        "actor": "ada",
        "occurred_at": -5,
        "duration_us": 77,
        "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "now": 1_500,
    }
    return change(entity_id, **(given | fields))


def source_of(*commits: Any, clock: int = 10_000) -> InMemoryStateStore:
    """The model with these commits in it, recorded at a time of its own."""
    source = InMemoryStateStore(clock=lambda: clock)
    for commit in commits:
        [outcome] = source.commit([commit])
        assert outcome.kind is APPLIED, outcome
    return source


def told(rows: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Rows without their ids, which are the store's own."""
    return [replace(row, id=0) for row in rows]


def kinds(outcomes: Sequence[Outcome]) -> list[OutcomeKind]:
    """What became of each."""
    return [outcome.kind for outcome in outcomes]


class RestoreContract(StoreTests):
    """``restore``."""

    @pytest.fixture(autouse=True)
    def _restores(self, request: pytest.FixtureRequest) -> None:
        """Of a class with more topics, the other ones are none of its business."""
        if not request.function.__qualname__.startswith("RestoreContract."):
            return
        if not hasattr(request.getfixturevalue("store"), "restore"):
            pytest.skip("this store has no restore")

    def _same(self, drive: Driver, source: Any, *keys: tuple[str, str]) -> None:
        """The store has what the source has of these keys."""
        for entity_id, machine in keys or (("e", "m"),):
            [mine], [theirs] = (each.load([Lookup(entity_id, machine)]) for each in (drive, source))
            assert mine.entity == theirs.entity
            found = [
                each.history(entity_id, machine_name=machine, limit=10_000).items
                for each in (drive, source)
            ]
            assert told(found[0]) == told(found[1])

    # Everything is kept ---------------------------------------------------------------------------

    def test_every_field_is_kept_as_it_is(self, drive: Driver) -> None:
        source = source_of(
            full(),
            note(version=1, event_id="i2", error_code="guard_rejected", error_message="n\no\x00"),
            change(after=1, state="open", context={}, now=1_700, timers={}, history={}),
            full(after=2, event_id="i3", now=1_900, kind=EntryKind.TIMER, trigger=None),
            note(version=3, kind=EntryKind.ACTION, ref=3, actions=({"name": "mail", "ok": True},)),
        )
        assert kinds(drive.restore([parcel_of(source)])) == [APPLIED]
        self._same(drive, source)
        [entity] = drive.entities().items
        assert (entity.created_at, entity.updated_at, entity.state_since) == (1_500, 1_900, 1_900)
        assert {row.recorded_at for row in drive.history("e").items} == {10_000}

    def test_what_was_written_by_no_machine_or_without_context_is_kept(self, drive: Driver) -> None:
        source = source_of(change("plain", machine="", context={}, trigger=None))
        assert kinds(drive.restore([parcel_of(source, "plain", "")])) == [APPLIED]
        self._same(drive, source, ("plain", ""))
        assert drive.get_state("plain") == "open"

    def test_several_entities_and_machines_are_one_call(self, drive: Driver) -> None:
        keys = [("e", "m"), ("e", "n"), ("é %{}", "m"), ("f", ""), ("e", "")]
        source = source_of(*[full(name, machine=machine) for name, machine in keys])
        parcels = [parcel_of(source, *key) for key in keys]
        assert kinds(drive.restore(parcels)) == [APPLIED] * len(keys)
        self._same(drive, source, *keys)
        assert drive.machines("e") == ["", "m", "n"]
        assert [each.key for each in drive.entities().items] == sorted(keys)

    def test_nothing_is_a_call_too(self, drive: Driver) -> None:
        assert drive.restore([]) == []
        assert kinds(drive.restore([Parcel("e", "m", None, (), 0, None)])) == [APPLIED]
        assert drive.entities().items == drive.history("e").items == drive.feed().items == []

    def test_rows_of_nobody_are_kept(self, drive: Driver) -> None:
        source = source_of(note("nobody", version=0, event_id="i"), note("nobody", version=0))
        assert kinds(drive.restore([parcel_of(source, "nobody")])) == [APPLIED]
        self._same(drive, source, ("nobody", "m"))
        assert drive.entities().items == []
        assert drive.load([lookup("nobody", "i")])[0].known["i"].event_id == "i"

    def test_an_entity_comes_without_rows(self, drive: Driver) -> None:
        source = source_of(full(), full(after=1, event_id="i2"))
        parcel = parcel_of(source, rows=())
        assert kinds(drive.restore([parcel])) == [APPLIED]
        assert drive.load([lookup()])[0].entity == parcel.entity
        assert drive.history("e", machine_name="m").items == []
        assert drive.load([lookup("e", "i1", "i2")])[0].known == {}

    def test_what_was_stored_with_another_limit_is_kept_as_well(self, drive: Driver) -> None:
        large = {"n": "x" * (drive.store.context_limit + 1)}
        source = InMemoryStateStore(context_limit=drive.store.context_limit * 2)
        source.commit([change(context=large, payload=large, patch=(large, ()))])
        source.prune_history(timedelta(0))
        source.commit([change(after=1, payload=large)])
        [snapshot, _] = source.history("e", machine_name="m").items
        assert snapshot.kind is EntryKind.SNAPSHOT
        assert kinds(drive.restore([parcel_of(source)])) == [APPLIED]
        self._same(drive, source)

    # It is part of everything that can be asked ---------------------------------------------------

    def test_event_ids_are_known_afterwards(self, drive: Driver) -> None:
        source = source_of(full(), note(version=1, event_id="i2"))
        drive.restore([parcel_of(source)])
        known = drive.load([lookup("e", "i1", "i2", "i3")])[0].known
        assert sorted(known) == ["i1", "i2"]
        assert (known["i1"].request_hash, known["i1"].recorded_at) == ("r" * 32, 10_000)
        for commit in (change(after=1, event_id="i1"), note(version=1, event_id="i2")):
            assert kinds(drive.commit([commit])) == [OutcomeKind.DUPLICATE]
        applied(drive, change(after=1, event_id="i3"))

    def test_commits_go_on_where_it_ends(self, drive: Driver) -> None:
        source = source_of(full(), full(after=1, event_id="i2"))
        drive.restore([parcel_of(source)])
        assert kinds(drive.commit([change(after=1)])) == [STALE]
        commit = change(after=2, state="closed", context={"n": 2}, now=2_000)
        applied(drive, commit)
        source.commit([commit])
        [mine], [model] = (each.load([lookup()]) for each in (drive, source))
        assert mine.entity == model.entity
        assert [row.version for row in drive.history("e").items] == [1, 2, 3]

    def test_queries_and_timers_see_it(self, drive: Driver) -> None:
        source = source_of(full("e"), change("f", state="open"), change("g", state="left"))
        drive.restore([parcel_of(source, name) for name in ("e", "f", "g")])
        assert drive.count_by_state() == {"left+right": 1, "left": 1, "open": 1}
        assert [each.entity_id for each in drive.entities(state="left").items] == ["e", "g"]
        longer = {"state": "left", "in_state_longer_than": timedelta(hours=1)}
        assert [each.entity_id for each in drive.entities(**longer).items] == ["e", "g"]
        assert drive.due(999_999, 9) == []
        assert drive.due(1_000_000, 9) == [("e", "m")]
        applied(drive, change("e", after=1, timers={}, state="open"))
        assert drive.due(9_000_000, 9) == []
        assert drive.count_by_state() == {"left": 1, "open": 2}

    def test_an_entity_that_becomes_another_one_leaves_its_old_places(self, drive: Driver) -> None:
        source = source_of(full())
        drive.restore([parcel_of(source)])
        first = drive.history("e").items[0]
        source.commit([change(after=1, state="open", timers={"late": (5_000_000, 2)}, history={})])
        rows = source.history("e").items[1:]
        assert kinds(drive.restore([parcel_of(source, base=1, after=first, rows=rows)])) == [
            APPLIED
        ]
        self._same(drive, source)
        assert drive.count_by_state() == {"open": 1}
        assert drive.entities(state="left").items == []
        assert drive.due(2_000_000, 9) == []
        assert drive.due(5_000_000, 9) == [("e", "m")]

    def test_the_feed_tells_of_it(self, drive: Driver) -> None:
        applied(drive, change("before"))
        page = drive.feed()
        source = source_of(full(), full(after=1, event_id="i2"), note(version=2))
        drive.restore([parcel_of(source)])
        rest = drive.feed(page.next)
        assert told(rest.items) == told(source.history("e").items)
        assert drive.feed(rest.next).items == []
        assert len(drive.feed().items) == 4

    def test_pruning_goes_over_it(self, drive: Driver) -> None:
        if not hasattr(drive.store, "prune_history"):
            pytest.skip("this store has no prune_history")
        commits = [
            change(after=n, context={"n": n}, patch=({"n": n}, ()), state=f"s{n}") for n in range(4)
        ]
        source = source_of(*commits)
        drive.restore([parcel_of(source)])
        assert drive.prune_history(timedelta(days=1)).rows == 4
        [snapshot] = drive.history("e").items
        assert (snapshot.kind, snapshot.version, snapshot.target_state) == ("snapshot", 4, "s3")

    # In parts -------------------------------------------------------------------------------------

    def test_rows_come_first_and_the_entity_last(self, drive: Driver) -> None:
        """As a copy puts in a long history; who looks meanwhile sees no entity."""
        source = source_of(*[change(after=n, event_id=f"i{n}") for n in range(6)])
        whole = parcel_of(source)
        rows = whole.rows
        first = replace(whole, entity=None, rows=rows[:2])
        assert kinds(drive.restore([first])) == [APPLIED]
        assert (drive.load([lookup()])[0].entity, drive.entities().items) == (None, [])
        after = (rows[1].version, rows[1].commit_id)
        second = replace(whole, entity=None, rows=rows[2:4], after=after)
        assert kinds(drive.restore([second])) == [APPLIED]
        after = (rows[3].version, rows[3].commit_id)
        assert kinds(drive.restore([replace(whole, rows=rows[4:], after=after)])) == [APPLIED]
        self._same(drive, source)

    def test_an_entity_that_is_there_goes_on(self, drive: Driver) -> None:
        source = source_of(full(), full(after=1, event_id="i2"))
        drive.restore([parcel_of(source)])
        last = source.history("e").items[-1]
        for number in (2, 3, 4):
            source.commit([full(after=number, event_id=f"i{number + 1}", now=2_000 + number)])
        rows = source.history("e").items[2:]
        assert kinds(drive.restore([parcel_of(source, base=2, after=last, rows=rows)])) == [APPLIED]
        self._same(drive, source)

    def test_rows_of_an_entity_that_stays_as_it_is(self, drive: Driver) -> None:
        source = source_of(full())
        drive.restore([parcel_of(source)])
        last = source.history("e").items[-1]
        source.commit([note(version=1, event_id="r")])
        rows = source.history("e").items[1:]
        parcel = replace(parcel_of(source, base=1, after=last, rows=rows), entity=None)
        assert kinds(drive.restore([parcel])) == [APPLIED]
        self._same(drive, source)
        assert drive.load([lookup("e", "r")])[0].known["r"].version == 1

    def test_a_late_row_is_put_into_its_place(self, drive: Driver) -> None:
        """Outcomes of actions are written when later events are there already."""
        source = source_of(full(), full(after=1, event_id="i2"))
        drive.restore([parcel_of(source)])
        last = source.history("e").items[-1]
        source.commit([note(version=1, kind=EntryKind.ACTION, ref=1)])
        [late] = [row for row in source.history("e").items if row.kind is EntryKind.ACTION]
        parcel = replace(parcel_of(source, base=2, after=last, rows=[late]), entity=None)
        assert kinds(drive.restore([parcel])) == [APPLIED]
        self._same(drive, source)
        assert [row.version for row in drive.history("e").items] == [1, 1, 2]

    # What does not fit ----------------------------------------------------------------------------

    def test_what_is_there_already_is_not_put_in_twice(self, drive: Driver) -> None:
        source = source_of(full(), full(after=1, event_id="i2"))
        for parcel in (parcel_of(source), parcel_of(source, rows=())):
            drive.restore([parcel])
            assert kinds(drive.restore([parcel])) == [STALE]
        self._same(drive, source)

    def test_another_entity_is_never_overwritten(self, drive: Driver) -> None:
        applied(drive, change(context={"mine": 1}))
        before = (drive.load([lookup()]), drive.history("e").items)
        source = source_of(full(), full(after=1, event_id="i2"))
        last = drive.history("e").items[-1]
        theirs = source.history("e").items[0]
        for parcel in (
            parcel_of(source),
            parcel_of(source, after=last),
            parcel_of(source, base=1),
            parcel_of(source, base=1, after=theirs),
            parcel_of(source, base=2, after=last),
            replace(parcel_of(source, base=0, after=last), entity=None),
            replace(parcel_of(source, base=1, after=theirs), entity=None),
        ):
            assert kinds(drive.restore([parcel])) == [STALE]
        assert (drive.load([lookup()]), drive.history("e").items) == before

    def test_the_newest_row_is_that_of_the_last_version_and_id(self, drive: Driver) -> None:
        source = source_of(full(), note(version=1), note(version=1))
        drive.restore([parcel_of(source)])
        rows = source.history("e").items
        source.commit([full(after=1, event_id="i2")])
        new = source.history("e").items[3:]
        parcel = parcel_of(source, base=1, after=rows[1], rows=new)
        assert kinds(drive.restore([parcel])) == [STALE]
        parcel = parcel_of(source, base=1, after=rows[2], rows=new)
        assert kinds(drive.restore([parcel])) == [APPLIED]
        self._same(drive, source)

    def test_a_known_event_id_does_not_come_twice(self, drive: Driver) -> None:
        applied(drive, note(version=0, event_id="i1"))
        [there] = drive.history("e", machine_name="m").items
        source = source_of(full())
        parcel = parcel_of(source, after=there)
        assert kinds(drive.restore([parcel])) == [STALE]
        assert drive.load([lookup()])[0].entity is None
        assert drive.history("e", machine_name="m").items == [there]

    def test_each_parcel_of_a_call_stands_for_itself(self, drive: Driver) -> None:
        applied(drive, change("b"), note("d", version=0, event_id="i1"))
        [there] = drive.history("d", machine_name="m").items
        source = source_of(*[full(name) for name in "abcde"])
        parcels = [parcel_of(source, name) for name in "abcde"]
        assert parcels[2].entity is not None
        parcels[2] = replace(parcels[2], entity=replace(parcels[2].entity, context={"n": {1}}))
        parcels[3] = replace(parcels[3], after=(there.version, there.commit_id))
        assert kinds(drive.restore(parcels)) == [APPLIED, STALE, REFUSED, STALE, APPLIED]
        self._same(drive, source, ("a", "m"), ("e", "m"))
        assert drive.load([lookup("c")])[0].entity is None
        assert drive.history("c", machine_name="m").items == []
        assert [each.entity_id for each in drive.entities().items] == ["a", "b", "e"]

    def test_a_parcel_that_cannot_be_stored_is_refused(self, drive: Driver) -> None:
        source = source_of(full(), note(version=1))
        whole = parcel_of(source)
        entity, rows = whole.entity, whole.rows
        assert entity is not None
        for bad in (
            replace(whole, entity_id=""),
            replace(whole, entity_id="other"),
            replace(whole, machine_name="other"),
            replace(whole, base=-1),
            replace(whole, entity=replace(entity, version=0)),
            replace(whole, entity=replace(entity, state="")),
            replace(whole, entity=replace(entity, context={"n": (1,)})),
            replace(whole, entity=replace(entity, commit_id="\x00")),
            replace(whole, entity=replace(entity, updated_at=2**63)),
            replace(whole, rows=(rows[0], replace(rows[1], version=-1))),
            replace(whole, rows=(rows[0], replace(rows[1], entity_id="other"))),
            replace(whole, rows=(rows[0], replace(rows[1], payload={"n": float("nan")}))),
            replace(whole, rows=(rows[0], replace(rows[1], event_id="x" * 256))),
            replace(whole, rows=(rows[0], replace(rows[1], event_id="i1"))),
            replace(whole, rows=(rows[0], replace(rows[1], trigger="\n"))),
            replace(whole, rows=(rows[0], replace(rows[1], error_message="\ud800"))),
            replace(whole, rows=(rows[0], replace(rows[1], duration_us=2**70))),
        ):
            [outcome] = drive.restore([bad])
            assert outcome.kind is REFUSED, bad
            assert isinstance(outcome.error, InvalidValueError)
        assert drive.entities().items == drive.feed().items == []
        assert kinds(drive.restore([whole])) == [APPLIED]

    def test_nothing_of_a_parcel_is_kept_by_reference(self, drive: Driver) -> None:
        source = source_of(full(context={"list": [1]}, payload={"p": [1]}))
        whole = parcel_of(source)
        drive.restore([whole])
        assert whole.entity is not None
        assert whole.rows[0].payload is not None
        whole.entity.context["list"].append(2)
        whole.entity.timers.clear()
        whole.rows[0].payload["p"].append(2)
        self._same(drive, source)

    # Many -----------------------------------------------------------------------------------------

    many_parcels: ClassVar[int] = 600
    """Parcels of the largest call."""

    def test_many_parcels_are_one_call(self, drive: Driver) -> None:
        names = [f"e{n:04}" for n in range(self.many_parcels)]
        source = source_of(*[change(name, context={"n": name}) for name in names])
        parcels = [parcel_of(source, name) for name in reversed(names)]
        assert kinds(drive.restore(parcels)) == [APPLIED] * len(names)
        loaded = drive.load([lookup(name) for name in names])
        assert [each.entity.context["n"] for each in loaded] == names
        assert len(drive.feed(None, 1_000).items) == len(names)

    def test_a_long_history_is_one_parcel(self, drive: Driver) -> None:
        source = source_of(*[change(after=n * 30, steps=30) for n in range(50)])
        assert kinds(drive.restore([parcel_of(source)])) == [APPLIED]
        self._same(drive, source)

    def test_of_restores_at_once_one_is_applied(self, store: Any, face: str) -> None:
        """Also where there is no entity: rows are not put in twice."""
        source = source_of(full(), note("nobody", version=0), full("f"))
        whole = [parcel_of(source), parcel_of(source, "nobody")]
        rows_only = replace(parcel_of(source, "f"), entity=None)
        with Driver(store, face) as drive:
            answers = drive.together([("restore", ([*whole, rows_only],))] * 6)
            for found in zip(*map(kinds, answers), strict=True):
                assert sorted(found) == [APPLIED] + [STALE] * 5
            self._same(drive, source, ("e", "m"), ("nobody", "m"))
            assert len(drive.history("f", machine_name="m").items) == 1

    def test_restores_and_commits_at_once_lose_nothing(self, store: Any, face: str) -> None:
        source = source_of(full())
        parcel = parcel_of(source)
        with Driver(store, face) as drive:
            calls: list[tuple[str, tuple[Any, ...]]] = [("restore", ([parcel],))] * 3
            calls += [("commit", ([change(state="mine")],))] * 3
            answers = drive.together(calls)
            won = [answer for answer in answers if answer[0].kind is APPLIED]
            assert len(won) == 1, answers
            [row] = drive.history("e").items
            entity = drive.load([lookup()])[0].entity
            assert (entity.version, entity.commit_id) == (1, row.commit_id)

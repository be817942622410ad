"""Pruning of history: what goes, what stays, and that what is there can always be replayed.

For stores that have ``prune_history``; the others skip it.
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from pystator.definition.retention import Retention
from pystator.errors import ConfigurationError, InvalidValueError
from pystator.orchestrator.replay import replay
from pystator.records import EntryKind, HistoryEntry, Pruned
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["RetentionContract", "moment"]

NOTHING = timedelta(0)
AGES = timedelta(days=30)


def moment() -> datetime:
    """Now: after everything that was recorded, and before everything that will be."""
    start = time.time_ns() // 1_000
    while time.time_ns() // 1_000 < start + 2:
        pass
    now = datetime.now(UTC)
    while datetime.now(UTC) == now:
        pass
    return now


def step(number: int, entity_id: str = "e", **fields: Any) -> Any:
    """The change that makes the entity's version ``number``; its context counts them."""
    context = {"n": number}
    return change(
        entity_id, after=number - 1, state=f"s{number}", context=context, patch=(context, ()),
        **fields,
    )  # fmt: skip


def outcome(version: int, entity_id: str = "e") -> Any:
    """What became of the actions of a version."""
    return note(entity_id, version=version, kind=EntryKind.ACTION, ref=version)


def stop(so_far: Pruned) -> bool:
    """End the prune after this batch."""
    del so_far
    return False


class RetentionContract(StoreTests):
    """``prune_history``."""

    @pytest.fixture(autouse=True)
    def _prunes(self, request: pytest.FixtureRequest) -> None:
        """Of a class with more topics, the other ones are none of its business."""
        if not request.function.__qualname__.startswith("RetentionContract."):
            return
        if not hasattr(request.getfixturevalue("store"), "prune_history"):
            pytest.skip("this store has no prune_history")

    def _rows(self, drive: Driver, entity_id: str = "e") -> list[HistoryEntry]:
        found: list[HistoryEntry] = drive.history(entity_id, machine_name="m", limit=10_000).items
        return found

    def _shape(self, drive: Driver, entity_id: str = "e") -> list[tuple[int, str]]:
        return [(row.version, str(row.kind)) for row in self._rows(drive, entity_id)]

    def _check(self, drive: Driver, *entity_ids: str) -> None:
        """What is left leads to what is stored."""
        for entity_id in entity_ids or ("e",):
            [loaded] = drive.load([lookup(entity_id)])
            state, context = replay(self._rows(drive, entity_id))
            assert (state, context) == (loaded.entity.state, loaded.entity.context), entity_id

    def test_a_snapshot_stands_for_the_rows_that_go(self, drive: Driver) -> None:
        applied(drive, *[step(1, name) for name in ("e", "f")])
        for number in (2, 3):
            applied(drive, step(number))
        then = moment()
        applied(drive, step(4))
        before = drive.load([lookup()])[0].entity
        report = drive.prune_history(NOTHING, now=then)
        assert report == Pruned(rows=4, entities=2, snapshots=2, kept=0, next=None)
        snapshot, last = self._rows(drive)
        assert (snapshot.kind, snapshot.version) == (EntryKind.SNAPSHOT, 3)
        assert (snapshot.target_state, snapshot.patch) == ("s3", ({"n": 3}, ()))
        assert (snapshot.machine_version, snapshot.fingerprint) == ("1.0", "f" * 16)
        assert (last.kind, last.version) == (EntryKind.EVENT, 4)
        assert drive.load([lookup()])[0].entity == before
        self._check(drive, "e", "f")
        assert replay(self._rows(drive)[:1]) == ("s3", {"n": 3})

    def test_what_is_young_stays(self, drive: Driver) -> None:
        then = moment()
        applied(drive, step(1), note("nobody", version=0))
        applied(drive, note(version=1), outcome(1))
        before = self._rows(drive)
        assert drive.prune_history(NOTHING, now=then) == Pruned()
        assert drive.prune_history(timedelta(days=1)) == Pruned()
        assert self._rows(drive) == before

    def test_a_second_prune_finds_nothing_and_a_later_one_moves_the_snapshot(
        self, drive: Driver
    ) -> None:
        for number in (1, 2):
            applied(drive, step(number))
        first = moment()
        for number in (3, 4):
            applied(drive, step(number))
        assert drive.prune_history(NOTHING, now=first).rows == 2
        before = self._rows(drive)
        assert drive.prune_history(NOTHING, now=first) == Pruned()
        assert self._rows(drive) == before
        second = moment()
        applied(drive, step(5))
        report = drive.prune_history(NOTHING, now=second)
        assert report == Pruned(rows=2, entities=1, snapshots=1)
        assert self._shape(drive) == [(4, "snapshot"), (5, "event")]
        self._check(drive)
        drive.prune_history(NOTHING)
        assert self._shape(drive) == [(5, "snapshot")]
        self._check(drive)
        applied(drive, step(6))
        self._check(drive)

    def test_events_with_an_id_stay_as_long_as_ids_are_known(self, drive: Driver) -> None:
        applied(drive, step(1, event_id="a", request_hash="h"))
        applied(drive, step(2), note(event_id="b", version=2, error_code="guard_rejected"))
        applied(drive, step(3, event_id="c"))
        then = moment()
        report = drive.prune_history(NOTHING, now=then, dedup_window=AGES)
        assert report == Pruned(rows=1, entities=1, snapshots=1, kept=3)
        assert self._shape(drive) == [
            (1, "event"), (2, "rejected"), (2, "snapshot"), (3, "event"),
        ]  # fmt: skip
        known = drive.load([lookup("e", "a", "b", "c")])[0].known
        assert (known["a"].version, known["a"].target_state, known["a"].request_hash) == (
            1, "s1", "h",
        )  # fmt: skip
        assert known["b"].error_code == "guard_rejected"
        assert drive.commit([step(4, event_id="a")])[0].kind == "duplicate"
        self._check(drive)
        assert drive.prune_history(NOTHING, now=then, dedup_window=AGES) == Pruned(kept=3)
        report = drive.prune_history(NOTHING, now=then, dedup_window=NOTHING)
        assert report == Pruned(rows=3, entities=1, snapshots=1)
        assert self._shape(drive) == [(3, "snapshot")]
        assert drive.load([lookup("e", "a", "b", "c")])[0].known == {}
        self._check(drive)
        applied(drive, step(4, event_id="a"))

    def test_rows_before_a_snapshot_are_not_replayed(self, drive: Driver) -> None:
        """What such a row has set may have been removed since, by a row that is gone."""
        applied(drive, change(context={"a": 1}, patch=({"a": 1}, ()), event_id="i"))
        for number in (2, 3, 4):
            patch = ({"n": number}, ("a",) if number == 2 else ())
            applied(drive, change(after=number - 1, context={"n": number}, patch=patch))
            then = moment()
            drive.prune_history(NOTHING, now=then)
            self._check(drive)
        applied(drive, change(after=4, context={"n": 4, "x": 1}, patch=({"x": 1}, ())))
        then = moment()
        applied(drive, change(after=5, context={"x": 1}, patch=({}, ("n",))))
        drive.prune_history(NOTHING, now=then)
        kept, snapshot, _ = self._rows(drive)
        assert (kept.event_id, kept.version, snapshot.version) == ("i", 1, 5)
        assert snapshot.patch == ({"n": 4, "x": 1}, ())
        self._check(drive)

    def test_ids_are_forgotten_without_another_snapshot(self, drive: Driver) -> None:
        applied(drive, step(1, event_id="a"))
        early = moment()
        applied(drive, step(2))
        late = moment()
        applied(drive, step(3))
        drive.prune_history(NOTHING, now=late)
        before = self._rows(drive)[1:]
        days = (late - early) + timedelta(days=1)
        assert drive.prune_history(NOTHING, now=late, dedup_window=days).kept == 1
        report = drive.prune_history(NOTHING, now=late, dedup_window=NOTHING)
        assert report == Pruned(rows=1, entities=1)
        assert self._rows(drive) == before
        self._check(drive)

    def test_young_rejections_do_not_hide_the_snapshot(self, drive: Driver) -> None:
        """They stand before it, and an older row that goes later asks for no second one."""
        applied(drive, step(1, event_id="a"))
        applied(drive, step(2), step(1, "f"))
        then = moment()
        applied(drive, note(version=2), note(version=2), step(2, "f"))
        assert drive.prune_history(NOTHING, now=then) == Pruned(2, 2, 2, 1)
        report = drive.prune_history(NOTHING, now=then, dedup_window=NOTHING)
        assert report == Pruned(rows=1, entities=1)
        assert self._shape(drive) == [(2, "rejected"), (2, "rejected"), (2, "snapshot")]
        self._check(drive, "e", "f")

    def test_outcomes_of_actions_go_with_the_row_that_planned_them(self, drive: Driver) -> None:
        applied(drive, step(1, event_id="a"))
        applied(drive, outcome(1))
        applied(drive, step(2))
        then = moment()
        applied(drive, outcome(2))
        report = drive.prune_history(NOTHING, now=then)
        assert report == Pruned(rows=2, entities=1, snapshots=1, kept=1)
        assert self._shape(drive) == [(1, "event"), (1, "action"), (2, "snapshot")]
        drive.store.append_later([outcome(2)])
        drive.flush()
        assert drive.prune_history(NOTHING, now=then).rows == 0
        assert drive.prune_history(NOTHING, dedup_window=NOTHING).rows == 3
        assert self._shape(drive) == [(2, "snapshot")]
        self._check(drive)

    def test_rejections_go_and_those_of_nobody_too(self, drive: Driver) -> None:
        applied(drive, note("nobody", version=0), note("knows", version=0, event_id="a"))
        applied(drive, step(1), note(version=1))
        then = moment()
        applied(drive, note(version=1), note("nobody", version=0))
        report = drive.prune_history(NOTHING, now=then)
        assert report == Pruned(rows=3, entities=2, snapshots=1, kept=1)
        assert self._shape(drive) == [(1, "rejected"), (1, "snapshot")]
        assert self._shape(drive, "nobody") == [(0, "rejected")]
        assert drive.load([lookup("knows", "a")])[0].known.keys() == {"a"}
        drive.prune_history(NOTHING, dedup_window=NOTHING)
        assert self._shape(drive, "nobody") == self._shape(drive, "knows") == []
        assert drive.history("nobody").items == []
        assert [entity.entity_id for entity in drive.list_entities()] == ["e"]
        applied(drive, change("nobody"))
        self._check(drive, "e", "nobody")

    def test_what_compound_states_remember_stands_in_the_newest_snapshot(
        self, drive: Driver
    ) -> None:
        applied(drive, step(1, history={"box": ["left"]}, timers={"t": (70, 1)}))
        drive.prune_history(NOTHING)
        [row] = self._rows(drive)
        assert row.payload == {"history": {"box": ["left"]}}
        assert drive.load([lookup()])[0].entity.timers == {"t": (70, 1)}

    def test_contexts_of_any_value_survive(self, drive: Driver) -> None:
        first: dict[str, Any] = {
            "$t": ["decimal", "1"],
            "nested": {"list": [1, None, {"$t": 1}]},
            "flag": True,
        }
        second: dict[str, Any] = {"flag": 1, "nested": {"list": []}}
        applied(drive, change(context=first, patch=(first, ())))
        applied(drive, change(after=1, context=second, patch=(second, ("$t",))))
        then = moment()
        applied(drive, change(after=2, context={**second, "x": 1.0}, patch=({"x": 1.0}, ())))
        drive.prune_history(NOTHING, now=then)
        state, context = replay(self._rows(drive)[:1])
        assert (state, ascii(sorted(context.items()))) == ("open", ascii(sorted(second.items())))
        self._check(drive)

    def test_machines_have_rules_of_their_own(self, drive: Driver) -> None:
        for machine in ("m", "n", "o"):
            applied(drive, change(machine=machine, event_id="i"), change("f", machine=machine))
        assert drive.prune_history(NOTHING, machine_name="n").rows == 1
        left = {
            machine: [len(drive.history(name, machine_name=machine).items) for name in ("e", "f")]
            for machine in ("m", "n", "o")
        }
        assert left == {"m": [1, 1], "n": [1, 1], "o": [1, 1]}
        report = drive.prune_history(
            retention={"m": Retention(NOTHING, NOTHING), "o": Retention(AGES)}
        )
        assert report == Pruned(rows=2, entities=2, snapshots=2)
        assert [row.kind for row in self._rows(drive)] == [EntryKind.SNAPSHOT]
        [row] = drive.history("f", machine_name="o").items
        assert row.kind is EntryKind.EVENT

    @pytest.mark.parametrize("batch", [1, 3, 1_000])
    def test_batches_add_up(self, drive: Driver, batch: int) -> None:
        for name in ("a", "b", "c"):
            applied(drive, change(name, steps=5, event_id="i" if name == "b" else None))
            applied(drive, note(name, version=5), outcome(5, name), change(name, after=5))
        told: list[Pruned] = []
        report = drive.prune_history(NOTHING, batch=batch, progress=told.append)
        assert (report.rows, report.entities, report.kept) == (18, 3, 5)
        assert report.snapshots == 3
        rows = [each.rows for each in told]
        assert rows == sorted(rows)
        assert rows[-1] == 18
        assert all(later - earlier <= batch for earlier, later in pairwise(rows))
        self._check(drive, "a", "b", "c")
        assert [self._shape(drive, name) for name in ("a", "c")] == [[(6, "snapshot")]] * 2

    def test_large_contexts_are_written_in_several_batches(self, drive: Driver) -> None:
        context = {"text": "x" * 900_000}
        names = [f"e{number}" for number in range(6)]
        for name in names:
            applied(drive, change(name, context=context, patch=(context, ())))
        told: list[Pruned] = []
        assert drive.prune_history(NOTHING, progress=told.append).rows == 6
        assert [each.rows for each in told] == [4, 6]
        self._check(drive, *names)

    @pytest.mark.parametrize("batch", [1, 4])
    def test_a_prune_that_stops_goes_on_where_it_was(self, drive: Driver, batch: int) -> None:
        names = [f"e{number}" for number in range(4)]
        applied(drive, *[change(name, steps=3) for name in names])
        report = drive.prune_history(NOTHING, batch=batch, progress=stop)
        assert 0 < report.rows <= batch
        rows = report.rows
        for _ in range(100):
            if report.next is None:
                break
            self._check(drive, *names)
            report = drive.prune_history(NOTHING, batch=batch, progress=stop, after=report.next)
            rows += report.rows
        assert rows == drive.prune_history(NOTHING).rows + rows == 12
        self._check(drive, *names)

    def test_a_dry_run_only_counts(self, drive: Driver) -> None:
        applied(drive, change(steps=4, event_id="i"), change("f", steps=2))
        applied(drive, note("nobody", version=0))
        before = [self._rows(drive, name) for name in ("e", "f", "nobody")]
        said = drive.prune_history(NOTHING, dry_run=True)
        assert [self._rows(drive, name) for name in ("e", "f", "nobody")] == before
        assert drive.prune_history(NOTHING) == said == Pruned(3, 2, 1, 4)

    def test_the_feed_goes_on_behind_a_prune(self, drive: Driver) -> None:
        applied(drive, change("a", steps=2), change("b"))
        old = drive.feed(None)
        applied(drive, change("b", after=1))
        drive.prune_history(NOTHING)
        fresh = drive.feed(old.next).items
        assert sorted((row.entity_id, row.version, str(row.kind)) for row in fresh) == [
            ("a", 2, "snapshot"),
            ("b", 2, "snapshot"),
        ]
        assert drive.feed(None).items == fresh
        page = drive.feed(None, 1)
        applied(drive, change("c"))
        rest = drive.feed(page.next).items
        assert [row.entity_id for row in [*page.items, *rest]] == ["a", "b", "c"]

    pruned_rows: ClassVar[int] = 3_000
    """Rows of the longest history that is pruned here, a multiple of 60."""

    def test_many_rows_of_one_entity(self, drive: Driver) -> None:
        count, half, part = self.pruned_rows, self.pruned_rows // 2, self.pruned_rows // 6
        for turn in range(6):
            event_id = f"i{turn}" if turn % 2 else None
            applied(drive, change(after=turn * part, steps=part, event_id=event_id))
        report = drive.prune_history(NOTHING, batch=part * 4 // 5)
        assert (report.rows, report.kept, report.snapshots) == (half, half, 1)
        self._check(drive)
        report = drive.prune_history(NOTHING, dedup_window=NOTHING, batch=part * 7 // 5)
        assert (report.rows, report.kept) == (half, 0)
        assert self._shape(drive) == [(count, "snapshot")]
        self._check(drive)

    def test_nobody_waits_and_nothing_is_torn(self, drive: Driver) -> None:
        """Two prunes go on while four callers write: every entity stays what its rows say."""
        names = [f"e{number}" for number in range(4)]
        applied(drive, *[step(1, name) for name in names])
        left = list(names)

        def work(own: Driver) -> None:
            try:
                name = left.pop()
            except IndexError:
                for _ in range(12):
                    own.prune_history(NOTHING, batch=3, dedup_window=NOTHING)
                return
            for number in range(2, 32):
                applied(own, step(number, name, event_id=f"i{number}" if number % 3 else None))
                own.commit([note(name, version=number)])

        drive.many(work, 6)
        self._check(drive, *names)
        drive.prune_history(NOTHING, dedup_window=NOTHING)
        assert [self._shape(drive, name) for name in names] == [[(31, "snapshot")]] * 4
        self._check(drive, *names)

    def test_what_makes_no_sense_is_refused(self, drive: Driver) -> None:
        for options in (
            {},
            {"older_than": AGES, "retention": {"m": Retention(AGES)}},
            {"older_than": -AGES},
            {"older_than": AGES, "dedup_window": -AGES},
            {"older_than": AGES, "batch": 0},
            {"older_than": 90},
            {"retention": {"m": Retention.of({})}},
            {"older_than": AGES, "dedup_window": None},
            {"retention": {"m": Retention(AGES)}, "machine_name": "m"},
        ):
            with pytest.raises(ConfigurationError):
                drive.prune_history(**options)
        for cursor in ("nonsense", ""):
            with pytest.raises(InvalidValueError, match="cursor"):
                drive.prune_history(AGES, after=cursor)

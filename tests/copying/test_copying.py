"""One store into another, as a library."""

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from copying.filled import contents, fill, machines_of, put, rows_of
from pystator.errors import ConfigurationError, InvalidValueError, StoreUnavailableError
from pystator.records import (
    UNARCHIVE,
    EntryKind,
    Lookup,
    Outcome,
    OutcomeKind,
    Parcel,
    StoredMachine,
)
from pystator.stores.copying import copy_store
from pystator.stores.memory import InMemoryStateStore
from pystator.testing.building import change, note

pytestmark = pytest.mark.filterwarnings("ignore:.*writes nothing to a disk")

PAIRS = [
    ("memory", "sqlite"),
    ("sqlite", "postgres"),
    ("postgres", "redis"),
    ("redis", "mongodb"),
    ("mongodb", "sqlite"),
    ("postgres", "memory"),
    ("sqlite", "replicated"),
]


@pytest.fixture
def source(store_of):
    """A store in memory with something in it."""
    store = store_of("memory")
    fill(store)
    return store


@pytest.fixture
def target(store_of):
    """An empty SQLite store."""
    return store_of("sqlite")


@pytest.mark.parametrize("kind", ["memory-2", "sqlite", "postgres", "redis", "mongodb"])
def test_what_was_archived_or_taken_back_since_is_so_in_the_target(store_of, kind) -> None:
    source, target = store_of("memory"), store_of(kind)
    put(source, change(timers={"t": (5, 1)}))
    for version, asked in ((1, 77), (2, UNARCHIVE)):
        copy_store(source, target)
        put(source, replace(change(after=version, state="shut"), archived_at=asked))
        assert copy_store(source, target).verified
        assert contents(target, [("e", "m")]) == contents(source, [("e", "m")])
        is_back = asked == UNARCHIVE
        assert target.count_by_state() == ({"shut": 1} if is_back else {})
        assert target.count_by_state(archived=True) == ({} if is_back else {"shut": 1})
        assert target.due(9, 9) == ([("e", "m")] if is_back else [])


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_everything_is_there_afterwards_as_it_was(store_of, first, second) -> None:
    source, target = store_of(first), store_of(second)
    keys = fill(source)
    report = copy_store(source, target)
    assert contents(target, keys) == contents(source, keys)
    assert machines_of(target) == machines_of(source)
    assert (report.entities, report.rows, report.machines) == (4, 10, 2)
    assert (report.new_entities, report.new_rows, report.new_machines) == (4, 10, 2)
    assert (report.verified, report.passes, report.conflicts) == (True, 2, ())
    assert target.due(5_000, 9) == [("a", "m")]
    for archived in (False, True):
        assert target.count_by_state(archived=archived) == source.count_by_state(archived=archived)
    assert sorted(target.load([Lookup("a", "m", ("i1", "i2", "x"))])[0].known) == ["i1", "i2"]
    assert len(target.feed().items) == 10
    again = copy_store(source, target)
    assert (again.verified, again.passes, again.new_rows + again.new_entities) == (True, 1, 0)
    assert again.digest == report.digest


def test_equal_data_have_one_digest_in_whatever_store(store_of) -> None:
    stores = [store_of(kind) for kind in ("memory", "sqlite", "memory2")]
    fill(stores[0])
    digests = {copy_store(*pair).digest for pair in pairwise(stores)}
    assert len(digests) == 1
    put(stores[0], note("nobody", version=0))
    assert copy_store(stores[0], stores[1]).digest not in digests


def test_a_dry_run_writes_nothing_and_says_what_would_be(source, target) -> None:
    report = copy_store(source, target, dry_run=True)
    assert (report.new_entities, report.new_rows, report.new_machines) == (4, 10, 2)
    assert not report.verified
    assert target.entities().items == target.feed().items == machines_of(target) == []


def test_one_machine_alone(source, target) -> None:
    source.save_machine(StoredMachine("m", "1", "f", None, "{}", 1))
    report = copy_store(source, target, machine_name="m")
    assert report.verified
    assert [each.key for each in target.entities().items] == [("a", "m"), ("b", "m")]
    assert {row.machine_name for row in target.feed().items} == {"m"}
    assert [each.name for each in machines_of(target)] == ["m"]


def test_entities_without_history_and_the_history_later(source, target) -> None:
    report = copy_store(source, target, history=False)
    assert (report.verified, report.new_entities, report.rows) == (True, 4, 0)
    assert target.feed().items == []
    assert [each.context for each in target.entities().items] == [
        each.context for each in source.entities().items
    ]
    put(source, change("b", after=3), change("new"))
    assert copy_store(source, target, history=False).new_entities == 2
    report = copy_store(source, target)
    assert (report.verified, report.new_entities, report.new_rows) == (True, 0, 12)
    keys = [("a", "m"), ("b", "m"), ("new", "m")]
    assert contents(target, keys) == contents(source, keys)
    assert copy_store(source, target, history=False).verified


def test_a_second_run_catches_up_with_a_source_that_grew(source, target) -> None:
    copy_store(source, target)
    put(
        source,
        change("a", after=2, event_id="i3"),
        change("new", context={"n": 1}),
        note("nobody", version=0),
        change("nobody", state="open"),
        note("b", version=2, kind=EntryKind.ACTION, ref=2),  # late: version 3 is there already
    )
    source.save_machine(StoredMachine("order", "2.0", "f2", None, "{}", 9))
    report = copy_store(source, target)
    assert (report.new_entities, report.new_rows, report.new_machines) == (3, 5, 1)
    assert report.verified
    keys = [("a", "m"), ("b", "m"), ("new", "m"), ("nobody", "m")]
    assert contents(target, keys) == contents(source, keys)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_source_that_is_written_to_meanwhile(store_of, kind) -> None:
    """Whatever is there between two reads is copied whole or left for the next pass."""
    source, target = store_of(kind), store_of("memory")
    for number in range(120):
        put(source, change(f"e{number:03}", context={"n": 0}, patch=({"n": 0}, ())))
    stop = threading.Event()

    def write() -> None:
        version = 1
        while not stop.is_set():
            put(
                source, *[change(f"e{n:03}", after=version, context={"n": n}) for n in (0, 60, 119)]
            )
            version += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        report = copy_store(source, target, batch=10)
    finally:
        stop.set()
        thread.join()
    assert report.conflicts == ()
    report = copy_store(source, target)
    assert report.verified
    keys = [(f"e{number:03}", "m") for number in range(120)]
    assert contents(target, keys) == contents(source, keys)


@pytest.mark.parametrize("batch", [1, 7, 1_000])
@pytest.mark.parametrize("after", [1, 2, 5])
def test_stopped_after_a_batch_another_run_goes_on(source, target, batch, after) -> None:
    put(source, *[change("long", after=n, event_id=f"i{n}") for n in range(40)])
    calls = 0

    def progress(so_far) -> bool:
        nonlocal calls
        calls += 1
        return calls < after

    report = copy_store(source, target, batch=batch, progress=progress)
    assert (report.stopped, report.verified) == (True, False)
    for entity in target.entities().items:
        assert rows_of(target, entity.key) == rows_of(source, entity.key), "entities come last"
    report = copy_store(source, target, batch=batch)
    assert (report.verified, report.stopped) == (True, False)
    keys = [("a", "m"), ("a", "n"), ("b", "m"), ("long", "m"), ("nobody", "m"), ("é %{}", "")]
    assert contents(target, keys) == contents(source, keys)


def test_a_long_history_goes_in_parts_that_end_with_commits(store_of, target) -> None:
    source = store_of("memory")
    put(source, *[change(after=n * 10, steps=10, event_id=f"i{n}") for n in range(500)])
    sizes = []
    report = copy_store(
        source, target, batch=64, progress=lambda so_far: sizes.append(so_far.new_rows)
    )
    assert (report.verified, report.new_rows) == (True, 5_000)
    assert contents(target, [("e", "m")]) == contents(source, [("e", "m")])
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 60


def test_pruned_histories_keep_their_snapshots(source, target) -> None:
    source.prune_history(timedelta(0))
    put(source, change("a", after=2, context={"n": 3}, patch=({"n": 3}, ())))
    report = copy_store(source, target)
    assert report.verified
    keys = [("a", "m"), ("a", "n"), ("b", "m"), ("é %{}", "")]
    assert contents(target, keys) == contents(source, keys)
    assert "snapshot" in {row.kind for row in rows_of(target, ("a", "m"))}


def test_what_is_pruned_in_the_source_between_two_runs_stays_in_the_target(source, target) -> None:
    copy_store(source, target)
    put(source, change("b", after=3), note("b", version=4))
    source.prune_history(timedelta(0), dedup_window=timedelta(0))
    put(source, change("b", after=4, context={"n": 9}, patch=({"n": 9}, ())))
    report = copy_store(source, target)
    assert (report.verified, report.conflicts, report.others) == (True, (), 9)
    assert target.load([Lookup("b", "m")]) == source.load([Lookup("b", "m")])
    assert [row.version for row in rows_of(target, ("b", "m"))] == [1, 2, 3, 4, 5]
    assert copy_store(source, target).new_rows == 0


def test_what_was_pruned_in_the_target_is_not_put_back(source, target) -> None:
    copy_store(source, target)
    target.prune_history(timedelta(0), dedup_window=timedelta(0))
    before = rows_of(target, ("b", "m"))
    put(source, change("b", after=3))
    report = copy_store(source, target)
    assert (report.verified, report.new_entities) == (True, 1)
    assert rows_of(target, ("b", "m")) == [*before, rows_of(source, ("b", "m"))[-1]]


def test_lost_answers_double_nothing(source) -> None:
    """The store wrote, or did not, and the connection broke: nobody knows, and another run looks."""

    class Flaky(InMemoryStateStore):
        calls = 0

        def restore(self, parcels):
            self.calls += 1
            if self.calls % 3 == 1:
                super().restore(parcels)
            if self.calls % 3:
                raise StoreUnavailableError("the server is away")
            return super().restore(parcels)

    target = Flaky()
    for _ in range(40):
        with suppress(StoreUnavailableError):
            if copy_store(source, target, batch=2).verified:
                break
    assert copy_store(source, target).verified
    assert len(target.feed().items) == 10
    keys = [("a", "m"), ("a", "n"), ("b", "m"), ("nobody", "m"), ("é %{}", "")]
    assert contents(target, keys) == contents(source, keys)


def test_two_runs_at_once_double_nothing(source, store_of) -> None:
    target = store_of("postgres")
    put(source, *[change(f"e{n:03}", steps=3) for n in range(200)])
    threads = [
        threading.Thread(target=copy_store, args=(source, target), kwargs={"batch": 50})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = copy_store(source, target)
    assert report.verified
    keys = [each.key for each in source.entities(limit=1_000).items]
    assert contents(target, keys) == contents(source, keys)


def test_a_few_entities_into_a_large_store_read_little_of_it(store_of, monkeypatch) -> None:
    source, target = store_of("memory"), store_of("sqlite")
    target.commit([change(f"x{n:04}") for n in range(5_000)])
    put(source, change("a"), change("x4000", machine="other"), change("z"), note("zz", version=0))
    pages = []
    read = target.prune_keys
    monkeypatch.setattr(
        target, "prune_keys", lambda after, limit: pages.append(after) or read(after, limit)
    )
    assert copy_store(source, target).verified
    assert len(pages) <= 8
    assert [each.key for each in source.entities().items] == [
        key
        for key in (("a", "m"), ("x4000", "other"), ("z", "m"))
        if target.load([Lookup(*key)])[0].entity
    ]


# Conflicts ----------------------------------------------------------------------------------------


def conflicts(source, target, **options) -> dict[tuple[str, str], str]:
    """What is not copied, and why."""
    report = copy_store(source, target, **options)
    assert not report.verified
    return {(each.entity_id, each.machine_name): each.why for each in report.conflicts}


@pytest.mark.parametrize("history", [True, False])
def test_another_entity_of_the_target_is_reported_and_left_alone(source, target, history) -> None:
    put(
        target,
        change("a", context={"mine": 1}, now=2_000),
        change("b", steps=5, now=2_000),
        change("nobody", state="open"),
        change("only there"),
    )
    before = contents(target, [("a", "m"), ("b", "m"), ("nobody", "m")])
    found = conflicts(source, target, history=history)
    assert "the target has another entity, version 1 in 'open'" in found["a", "m"]
    assert "the target is ahead: version 5" in found["b", "m"]
    if history:
        assert "and the source has none" in found["nobody", "m"]
    assert len(found) == 2 + history
    assert contents(target, [("a", "m"), ("b", "m"), ("nobody", "m")]) == before
    assert target.get_context("a", machine_name="n") == {"other": True}


def test_an_entity_that_went_on_in_the_target_is_reported(source, target) -> None:
    copy_store(source, target)
    put(target, change("a", after=2, context={"mine": 1}))
    put(source, change("b", after=3))
    found = conflicts(source, target)
    assert list(found) == [("a", "m")]
    assert "the target is ahead: version 3" in found["a", "m"]
    put(source, *[change("a", after=n) for n in (2, 3)])
    found = conflicts(source, target)
    assert "the target has another entity, version 3" in found["a", "m"]
    assert target.get_context("a", machine_name="m") == {"mine": 1}
    assert rows_of(target, ("b", "m")) == rows_of(source, ("b", "m"))


def test_another_history_below_the_same_key_is_reported(source, target) -> None:
    other = InMemoryStateStore()
    put(other, change("b", now=5, steps=3))
    rows = tuple(other.history("b").items)
    target.restore([Parcel("b", "m", None, rows, 0, None)])
    found = conflicts(source, target)
    assert found == {("b", "m"): "the target has another history, from version 1 on"}
    assert len(rows_of(target, ("b", "m"))) == 3
    assert target.load([Lookup("b", "m")])[0].entity is None


def test_an_event_id_that_the_target_knows_is_reported(source, target) -> None:
    put(target, note("b", version=0, event_id="j-2"))
    found = conflicts(source, target)
    assert "knows an event id" in found["b", "m"]
    assert len(rows_of(target, ("b", "m"))) == 1


def test_an_id_that_was_forgotten_and_used_again_waits_for_the_target_to_forget(
    source, target
) -> None:
    copy_store(source, target)
    source.prune_history(timedelta(0), dedup_window=timedelta(0))
    put(source, change("b", after=3, event_id="j"))
    found = conflicts(source, target)
    assert "until it is pruned as well" in found["b", "m"]
    target.prune_history(timedelta(0), dedup_window=timedelta(0))
    assert copy_store(source, target).verified
    assert target.load([Lookup("b", "m", ("j",))])[0].known["j"].version == 4


def test_rejections_of_the_target_are_no_conflict(source, target) -> None:
    put(target, note("a", version=0), note("b", version=0, event_id="other"))
    report = copy_store(source, target)
    assert (report.verified, report.others) == (True, 2)
    assert len(rows_of(target, ("b", "m"))) == 4


def test_another_machine_of_the_same_version_is_reported(source, target) -> None:
    target.save_machine(StoredMachine("order", "1.1", "else", None, "{}", 1))
    found = conflicts(source, target)
    assert list(found) == [("", "order")]
    assert "order@1.1 is stored already, and is another machine" in found["", "order"]
    assert "is another machine" in conflicts(source, target, dry_run=True)["", "order"]


def test_what_the_target_cannot_store_is_reported(source) -> None:
    class Small(InMemoryStateStore):
        def restore(self, parcels):
            refused = Outcome(OutcomeKind.REFUSED, InvalidValueError("it has no room"))
            return [
                refused if parcel.entity_id == "b" else super(Small, self).restore([parcel])[0]
                for parcel in parcels
            ]

    target = Small()
    for batch in (1, 1_000):
        found = conflicts(source, target, batch=batch)
        assert found == {("b", "m"): "the target cannot store it: it has no room"}
    assert target.load([Lookup("b", "m")])[0].entity is None
    assert len(target.entities().items) == 2


# Mistakes -----------------------------------------------------------------------------------------


def test_a_store_is_not_copied_into_itself(source) -> None:
    with pytest.raises(ConfigurationError, match="into itself"):
        copy_store(source, source)


def test_a_store_that_cannot_is_named(source, target) -> None:
    class Small:
        def get_state(self, entity_id):
            return None

    with pytest.raises(
        ConfigurationError, match="Small cannot be copied: it has no method entities"
    ):
        copy_store(Small(), target)
    with pytest.raises(
        ConfigurationError, match="Small cannot take a copy: it has no method restore"
    ):
        copy_store(source, Small())
    with pytest.raises(ConfigurationError, match="at least one row"):
        copy_store(source, target, batch=0)

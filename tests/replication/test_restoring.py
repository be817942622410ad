"""Parcels put into SQLite and PostgreSQL: whole, where they fit, with every field; and marks changed with them."""

import threading

import pytest

from pystator import InMemoryStateStore, PostgresStateStore, SQLiteStateStore
from pystator.errors import InvalidValueError, StaleVersionError
from pystator.records import Lookup, OutcomeKind
from pystator.stores.parcels import raw
from pystator.testing.building import change
from replication.shapes import KEYS, contents, key_rows, parcel, rich

APPLIED, STALE, REFUSED = OutcomeKind.APPLIED, OutcomeKind.STALE, OutcomeKind.REFUSED


@pytest.fixture
def source():
    store = InMemoryStateStore()
    rich(store)
    return store


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    if request.param == "sqlite":
        store = SQLiteStateStore(f"sqlite:///{tmp_path}/x.db")
    else:
        store = PostgresStateStore(request.getfixturevalue("postgres_url"))
    with store:
        yield store


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def test_everything_but_the_id_is_kept(source, target) -> None:
    assert kinds(target.restore([parcel(source, key) for key in KEYS])) == [APPLIED] * 4
    assert contents(target, KEYS) == contents(source, KEYS)
    assert target.due(4_500, 10) == source.due(4_500, 10)


def test_a_second_time_is_stale_and_writes_nothing(source, target) -> None:
    parcels = [parcel(source, key) for key in KEYS]
    target.restore(parcels)
    assert kinds(target.restore(parcels)) == [STALE] * 4
    assert contents(target, KEYS) == contents(source, KEYS)


def test_each_parcel_stands_for_itself(source, target) -> None:
    target.commit([change("b")])
    bad = parcel(source, KEYS[0])
    bad.entity_id = "\x00"
    assert kinds(target.restore([parcel(source, KEYS[2]), bad, parcel(source, KEYS[1])])) == [
        STALE,
        REFUSED,
        APPLIED,
    ]
    assert len(key_rows(target, ("b", "m"))) == 1


def test_rows_first_and_the_entity_with_the_last(source, target) -> None:
    """A reader never meets an entity whose history is not there yet."""
    rows = key_rows(source, ("a", "other"))
    first = parcel(source, ("a", "other"), rows=rows[:2])
    first.entity = None
    assert kinds(target.restore([first])) == [APPLIED]
    assert target.load([Lookup("a", "other")])[0].entity is None
    assert kinds(target.restore([parcel(source, ("a", "other"), rows=rows[2:])])) == [STALE]
    after = (rows[1].version, rows[1].commit_id)
    assert kinds(target.restore([parcel(source, ("a", "other"), rows=rows[2:], after=after)])) == [
        APPLIED
    ]
    assert contents(target, [("a", "other")]) == contents(source, [("a", "other")])


def test_a_change_of_what_is_there(source, target) -> None:
    target.restore([parcel(source, ("b", "m"))])
    [first] = key_rows(source, ("b", "m"))
    source.commit([change("b", after=1, state="shut", context={"z": None}, timers={"t": (9, 2)})])
    rows = key_rows(source, ("b", "m"))[1:]
    seen = (1, first.commit_id)
    assert kinds(target.restore([parcel(source, ("b", "m"), base=2, after=seen, rows=rows)])) == [
        STALE
    ]
    assert kinds(target.restore([parcel(source, ("b", "m"), base=1, after=seen, rows=rows)])) == [
        APPLIED
    ]
    assert contents(target, [("b", "m")]) == contents(source, [("b", "m")])


async def _all(target, parcels):
    return await target.arestore(parcels)


def test_the_async_face(source, target) -> None:
    import asyncio

    assert kinds(asyncio.run(_all(target, [parcel(source, key) for key in KEYS]))) == [APPLIED] * 4
    assert contents(target, KEYS) == contents(source, KEYS)


def test_two_that_restore_the_same_at_once_write_it_once(source, target) -> None:
    for number in range(20):
        source.commit([change(f"e{number}", steps=5)])
    parcels = [parcel(source, (f"e{number}", "m")) for number in range(20)]
    for each in parcels:
        each.entity = None
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(kinds(target.restore(parcels))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(each) for each in zip(*answers, strict=True)] == [
        [APPLIED, STALE, STALE, STALE]
    ] * 20
    assert all(len(key_rows(target, (f"e{number}", "m"))) == 5 for number in range(20))


def test_many_at_once(source, target) -> None:
    """More than one statement takes."""
    for number in range(700):
        source.commit([change(f"e{number:03}", steps=2, context={"n": number})])
    keys = [(f"e{number:03}", "m") for number in range(700)]
    assert set(kinds(target.restore([parcel(source, key) for key in keys]))) == {APPLIED}
    assert contents(target, keys) == contents(source, keys)


# Marks ----------------------------------------------------------------------------------------------------------------


def test_a_mark_changes_with_what_is_restored_or_not_at_all(source, target) -> None:
    parcels = [raw(parcel(source, key)) for key in KEYS]
    assert target.marks("at") == {}
    assert not target.restore_marked(parcels, "at.x", "0", "1"), "there is no such mark"
    assert target.restore_marked((), "at.x", None, "0")
    assert not target.restore_marked((), "at.x", None, "0")
    assert not target.restore_marked(parcels, "at.x", "1", "2")
    assert target.marks("at") == {"at.x": "0"}
    assert contents(target, KEYS) == contents(InMemoryStateStore(), KEYS)
    assert target.restore_marked(parcels, "at.x", "0", "1")
    assert target.marks("at") == {"at.x": "1"}
    assert contents(target, KEYS) == contents(source, KEYS)


def test_one_that_does_not_fit_undoes_all_and_is_named(source, target) -> None:
    target.commit([change("b")])
    with pytest.raises(StaleVersionError, match="'b' of machine 'm'") as caught:
        target.restore_marked([raw(parcel(source, key)) for key in KEYS], "at", None, "1")
    assert caught.value.context["keys"] == [["b", "m"]]
    late = [raw(parcel(source, ("never", "m"))), raw(parcel(source, ("b", "m"), base=2))]
    with pytest.raises(StaleVersionError, match="'b'"):
        target.restore_marked(late, "at", None, "1")
    assert target.marks("at") == {}
    assert key_rows(target, ("a", "m")) == key_rows(target, ("never", "m")) == []


def test_a_known_event_id_undoes_all(source, target) -> None:
    target.commit([change("a", machine="other", event_id="run-2")])
    with pytest.raises(StaleVersionError):
        target.restore_marked([raw(parcel(source, ("a", "other"), base=1))], "at", None, "1")
    assert target.marks("at") == {}


def test_what_cannot_be_stored_is_refused(source, target) -> None:
    bad = raw(parcel(source, ("b", "m")))
    bad.rows = [(*bad.rows[0][:9], True, "\ud800", *bad.rows[0][11:])]
    with pytest.raises(InvalidValueError):
        target.restore_marked([bad, raw(parcel(source, ("never", "m")))], "at", None, "1")
    assert target.marks("at") == {}
    assert key_rows(target, ("never", "m")) == []


def test_of_two_that_change_the_same_mark_one_does(source, target) -> None:
    target.restore_marked((), "at", None, "0")
    for number in range(10):
        source.commit([change(f"e{number}")])
        each = [raw(parcel(source, (f"e{number}", "m")))]
        answers = []
        threads = [
            threading.Thread(
                target=lambda each=each, number=number, answers=answers: answers.append(
                    target.restore_marked(each, "at", f"{number}", f"{number + 1}")
                )
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # One that looked after the first had written finds a stranger's entity; it says so, and nothing is written twice.
        assert answers.count(True) == 1
        assert len(key_rows(target, (f"e{number}", "m"))) == 1

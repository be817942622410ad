"""Commits: each is written whole or not at all, whatever its neighbours do."""

import pytest

from pystator.errors import InvalidValueError, StoreUnavailableError
from pystator.records import EntryKind, Lookup
from pystator.stores.sqlite import SQLiteStateStore


def kinds(outcomes) -> list[str]:
    return [str(outcome.kind) for outcome in outcomes]


def rows(store, entity_id: str) -> list[tuple[int, str]]:
    return [(row.version, str(row.kind)) for row in store.history(entity_id).items]


def test_a_stale_commit_leaves_nothing_and_its_neighbours_survive(store, commit) -> None:
    """One loser of a race must not cost a batch."""
    store.commit([commit("a", 0), commit("b", 0)])
    store.commit([commit("b", 1)])
    outcomes = store.commit([commit("a", 1), commit("b", 1, state="lost"), commit("c", 0)])
    assert kinds(outcomes) == ["applied", "stale", "applied"]
    assert store.get_state_versioned("b", machine_name="order") == ("open", 2)
    assert [version for version, _ in rows(store, "b")] == [1, 2]
    assert [version for version, _ in rows(store, "a")] == [1, 2]


def test_a_known_event_leaves_nothing_and_its_neighbours_survive(store, commit) -> None:
    store.commit([commit("a", 0, event_id="e-1"), commit("b", 0)])
    outcomes = store.commit(
        [commit("b", 1), commit("a", 1, event_id="e-1", state="twice"), commit("c", 0)]
    )
    assert kinds(outcomes) == ["applied", "duplicate", "applied"]
    assert store.get_state_versioned("a", machine_name="order") == ("open", 1)
    assert kinds(store.commit([commit("a", 1, event_id="e-1")])) == ["duplicate"]
    assert len(rows(store, "a")) == 1


def test_a_stale_retry_of_a_known_event_is_a_duplicate(store, commit) -> None:
    """The caller reads the row of the first time, and need not try again."""
    store.commit([commit("a", 0, event_id="e-1")])
    assert kinds(store.commit([commit("a", 0, event_id="e-1")])) == ["duplicate"]
    assert kinds(store.commit([commit("a", 0, event_id="e-1"), commit("b", 0)])) == [
        "duplicate",
        "applied",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": {"bad": {1, 2}}},
        {"occurred_at": 2**70},
        {"error_message": "\ud800"},
        {"request_hash": object()},
        {"state": ""},
    ],
    ids=["set in the context", "number too large", "surrogate", "strange object", "no state"],
)
def test_what_cannot_be_stored_is_refused_alone(store, commit, wrong) -> None:
    """One poisonous event must not stop a stream."""
    if "request_hash" in wrong:
        wrong = {**wrong, "event_id": "e-1"}
    if "error_message" in wrong:
        wrong = {**wrong, "error_code": "x"}
    outcomes = store.commit([commit("a", 0), commit("b", 0, **wrong), commit("c", 0)])
    assert kinds(outcomes) == ["applied", "refused", "applied"]
    assert isinstance(outcomes[1].error, InvalidValueError)
    alone = store.commit([commit("b", 0, **wrong)])
    assert kinds(alone) == ["refused"]
    assert store.get_state("b") is None
    assert rows(store, "b") == []


def test_a_rejection_appends_and_touches_no_entity(store, commit) -> None:
    store.commit([commit("a", 0, applies=False, event_id="e-1")])
    assert store.get_state("a", machine_name="order") is None
    assert rows(store, "a") == [(0, "rejected")]
    loaded = store.load([Lookup("a", "order", ("e-1", "e-2"))])[0]
    assert loaded.entity is None
    assert list(loaded.known) == ["e-1"]


def test_none_leaves_a_value_as_it_is(store, commit) -> None:
    first = commit("a", 0, context={"n": 1})
    first.timers = {"t": (50, 1)}
    first.history = {"p": ["x"]}
    store.commit([first])
    second = commit("a", 1)
    second.state = second.context = second.timers = second.history = None
    store.commit([second])
    entity = store.load([Lookup("a", "order")])[0].entity
    assert (entity.version, entity.state, entity.context) == (2, "open", {"n": 1})
    assert (entity.timers, entity.history) == ({"t": (50, 1)}, {"p": ["x"]})
    assert store.due(50, 10) == [("a", "order")]
    third = commit("a", 2)
    third.timers = {}
    store.commit([third])
    assert store.due(10**18, 10) == []


def test_a_batch_of_thousands_loads_and_commits_in_one_go(store, commit) -> None:
    count = 3_000
    assert set(kinds(store.commit([commit(f"e-{n}", 0) for n in range(count)]))) == {"applied"}
    lookups = [Lookup(f"e-{n}", "order") for n in range(count)] + [Lookup("none", "order")]
    loaded = store.load(lookups)
    assert [each.entity.entity_id for each in loaded[:-1]] == [f"e-{n}" for n in range(count)]
    assert loaded[-1].entity is None


def test_loads_of_several_machines_and_events_come_back_in_order(store, commit) -> None:
    store.commit(
        [
            commit("a", 0, machine="order", event_id="x"),
            commit("a", 0, machine="session", event_id="x", state="live"),
            commit("b", 0, machine="order"),
        ]
    )
    loaded = store.load(
        [
            Lookup("b", "order", ("x",)),
            Lookup("a", "session", ("x", "y")),
            Lookup("nobody", "session", ("x",)),
            Lookup("a", "order", ("x",)),
            Lookup("\ud800", "order"),
        ]
    )
    assert [each.entity and each.entity.key for each in loaded] == [
        ("b", "order"),
        ("a", "session"),
        None,
        ("a", "order"),
        None,
    ]
    assert [list(each.known) for each in loaded] == [[], ["x"], [], ["x"], []]
    assert loaded[1].known["x"].machine_name == "session"
    assert store.load([Lookup("\ud800", "order", ("x",))])[0].entity is None


def test_every_column_comes_back(store, commit) -> None:
    """A row is the only witness of what happened."""
    given = commit(
        "a",
        0,
        event_id="e-1",
        request_hash="h",
        actor="me",
        occurred_at=5,
        duration_us=7,
        ref=1,
        kind=EntryKind.EVENT,
        error_code="guard_rejected",
        error_message="no",
        actions=({"name": "notify", "params": {"to": "x"}},),
    )
    given.entries[0].patch = ({"n": 1, "$t": 2}, ("gone",))
    given.entries[0].payload = {"qty": 1}
    given.entries[0].source_state = "new"
    store.commit([given])
    row = store.history("a").items[0]
    entry = given.entries[0]
    for name in [
        "version",
        "kind",
        "trigger",
        "payload",
        "now",
        "patch",
        "source_state",
        "target_state",
        "actions",
        "success",
        "error_code",
        "error_message",
        "event_id",
        "request_hash",
        "actor",
        "occurred_at",
        "duration_us",
        "ref",
    ]:
        assert getattr(row, name) == getattr(entry, name), name
    for name in ("commit_id", "machine_version", "fingerprint"):
        assert getattr(row, name) == getattr(given, name)
    assert row.recorded_at > 0


def test_rows_of_one_commit_keep_their_order(store, commit) -> None:
    """Rows of different shapes go through different statements; their ids still follow the commit."""
    given = commit("a", 0)
    plain = given.entries[0]
    other = commit("a", 0, actor="me").entries[0]
    given.entries = (plain, other, plain, other)
    store.commit([given])
    assert [row.actor for row in store.history("a").items] == [None, "me", None, "me"]


def test_rows_that_may_wait_ride_on_the_next_commit_or_a_flush(store, commit) -> None:
    store.commit([commit("a", 0)])
    store.append_later([commit("a", 1, applies=False, kind=EntryKind.ACTION, ref=1)])
    store.commit([commit("a", 1)])
    assert sorted(rows(store, "a")) == [(1, "action"), (1, "event"), (2, "event")]
    store.append_later([commit("a", 2, applies=False, kind=EntryKind.ACTION, ref=2)])
    store.flush()
    assert rows(store, "a")[-1] == (2, "action")


@pytest.mark.parametrize("size", [1, 2])
def test_rows_that_waited_stand_before_what_happened_later(store, commit, size) -> None:
    """An event that is rejected after the actions of the one before it: both rows have one version."""
    store.commit([commit(name, 0) for name in "ab"])
    store.append_later([commit("a", 1, applies=False, kind=EntryKind.ACTION, ref=1)])
    rejected = commit("a", 1, applies=False, kind=EntryKind.REJECTED)
    stale = commit("b", 0)
    assert kinds(store.commit([rejected, stale][:size])) == ["applied", "stale"][:size]
    assert rows(store, "a") == [(1, "event"), (1, "action"), (1, "rejected")]


def test_a_transaction_that_fails_keeps_rows_that_may_wait(store, commit) -> None:
    store.commit([commit("a", 0)])
    store.append_later([commit("a", 1, applies=False, kind=EntryKind.ACTION)])
    assert kinds(store.commit([commit("a", 0)])) == ["stale"]
    store.flush()
    assert rows(store, "a") == [(1, "event"), (1, "action")]


def test_a_full_disk_is_an_error_that_says_nothing_was_written(url, commit) -> None:
    """SQLite's own page limit stands in for the disk's."""
    with SQLiteStateStore(url) as store:
        store.commit([commit("a", 0)])
        connection = store.parts[0].writer()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        big = commit("a", 1, context={"text": "x" * 100_000})
        with pytest.raises(StoreUnavailableError, match="full") as caught:
            store.commit([big])
        assert caught.value.context["written"] is False
        connection.execute("PRAGMA max_page_count = 1000000")
        assert store.get_state_versioned("a") == ("open", 1)
        assert kinds(store.commit([big])) == ["applied"]

"""Many writers of one document: tails that fill, event ids that meet, answers that are lost."""

from collections import Counter
from copy import deepcopy

import pytest

from mongodb.actors import Actor
from pystator.errors import InvalidValueError, StoreUnavailableError
from pystator.records import Loaded, Outcome, OutcomeKind
from pystator.stores.codec import LIMIT
from pystator.stores.mongodb.documents import id_of
from pystator.stores.mongodb.encode import prepare
from pystator.stores.mongodb.errors import Unanswered
from pystator.stores.mongodb.loading import loading
from pystator.stores.mongodb.relay import Numbers
from pystator.stores.mongodb.writing import committing
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver

APPLIED, DUPLICATE, STALE = OutcomeKind.APPLIED, OutcomeKind.DUPLICATE, OutcomeKind.STALE


def together(store, work, count: int) -> None:
    """Do the work so many times at once, each with its number."""
    numbers = iter(range(count))
    with Driver(store, "sync") as drive:
        drive.many(lambda own: work(own, next(numbers)), count)


def rows_of(store):
    return store.history("e", machine_name="m", limit=10_000).items


def test_writers_that_fill_one_tail_lose_no_row(store) -> None:
    applied(store, change())

    def write(own: Driver, number: int) -> None:
        for count in range(40):
            applied(own, note(event_id=f"i{number}-{count}"))

    together(store, write, 5)
    rows = rows_of(store)
    assert [row.id for row in rows] == list(range(1, 202))
    for number in range(5):
        mine = [row.event_id for row in rows if (row.event_id or "").startswith(f"i{number}-")]
        assert mine == [f"i{number}-{count}" for count in range(40)]
    found = store.parts[0]._opened().entity_states.find_one({"_id": id_of("e", "m")})
    assert len(found["tail"]) <= 50


@pytest.mark.parametrize("relays", [False, True])
@pytest.mark.parametrize("steps", [1, 450])
def test_a_load_is_of_one_moment(store, steps, relays) -> None:
    """An event that comes between its commands is not known to it, as its entity is not: it comes next."""
    applied(store, change(steps=steps, event_id="old"))
    first = "old-2" if steps > 1 else "old"
    answers: list[list[Loaded]] = []
    load = Actor(store.parts[0], loading([lookup("e", first, "new")], {}), answers.append)
    load.step()
    applied(store, change(after=steps, event_id="new"))
    if relays:
        store.feed(None, 10_000)
    load.run()
    [[loaded]] = answers
    assert loaded.entity.version == steps
    assert set(loaded.known) == {first}
    [loaded] = store.load([lookup("e", first, "new")])
    assert (loaded.entity.version, set(loaded.known)) == (steps + 1, {first, "new"})


def test_an_event_id_of_many_writers_is_written_once(store) -> None:
    """Also one that so many came after that the document has forgotten it."""
    applied(store, change(steps=450, event_id="old"))
    store.feed(None, 10_000)
    found = store.parts[0]._opened().entity_states.find_one({"_id": id_of("e", "m")})
    assert "old-2" not in found["ids"]
    outcomes: list[tuple[str, OutcomeKind]] = []

    def write(own: Driver, number: int) -> None:
        for count in range(2, 17):
            for event_id in (f"new-{(count + number) % 10}", f"old-{count}"):
                [outcome] = own.commit([note(version=450, event_id=event_id)])
                outcomes.append((event_id, outcome.kind))

    together(store, write, 3)
    assert Counter(event_id for event_id, kind in outcomes if kind is APPLIED) == {
        f"new-{count}": 1 for count in range(10)
    }
    assert {kind for _, kind in outcomes} == {APPLIED, DUPLICATE}
    assert len(rows_of(store)) == 460


def test_creations_and_rejections_at_once(store) -> None:
    """One of the creations wins, and every rejection leaves its row."""
    for turn in range(8):
        name = f"e{turn}"
        outcomes = []

        def write(own: Driver, number: int, name=name, outcomes=outcomes) -> None:
            made = number % 2
            commit = change(name) if made else note(name, version=0)
            outcomes.append((made, own.commit([commit])[0].kind))

        together(store, write, 6)
        assert Counter(outcomes) == {(1, APPLIED): 1, (1, STALE): 2, (0, APPLIED): 3}
        rows = store.history(name, machine_name="m").items
        assert sorted(row.version for row in rows) == [0, 0, 0, 1]
        assert store.load([lookup(name)])[0].entity.version == 1


LATER = {
    "nobody": lambda _: None,
    "a relay": lambda store: store.feed(None, 100),
    "another writer": lambda store: applied(store, note(version=1)),
    "both": lambda store: (applied(store, note(version=1)), store.feed(None, 100)),
}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("kind", ["creation", "change", "note", "note with an id"])
def test_what_was_written_before_the_answer_was_lost_is_not_written_again(
    store, kind: str, later: str
) -> None:
    if kind != "creation":
        applied(store, change())
    made = {
        "creation": change(),
        "change": change(after=1),
        "note": note(version=1),
        "note with an id": note(version=1, event_id="i"),
    }[kind]
    operation = committing(prepare([made], 1, LIMIT), {}, Numbers())
    link = store.parts[0]
    link.ask(operation.send(None))
    outcomes: list[Outcome] = []
    LATER[later](store)
    there = len(rows_of(store))
    request = operation.throw(Unanswered(StoreUnavailableError("lost"), is_lost=True))
    rest = Actor(link, operation, outcomes.extend)
    rest.answer = link.ask(request)
    rest.run()
    assert [outcome.kind for outcome in outcomes] == [APPLIED]
    assert len(rows_of(store)) == there


@pytest.mark.parametrize("event_id", [None, "i"])
def test_a_note_that_arrives_after_it_was_sent_again_is_written_once(store, event_id) -> None:
    applied(store, change())
    operation = committing(prepare([note(event_id=event_id)], 1, LIMIT), {}, Numbers())
    link = store.parts[0]
    late = deepcopy(operation.send(None))
    rest = Actor(link, operation)
    request = operation.throw(Unanswered(StoreUnavailableError("lost"), is_lost=True))
    rest.answer = link.ask(request)
    rest.run()
    assert len(rows_of(store)) == 2
    link.ask(late)
    assert len(rows_of(store)) == 2


@pytest.mark.parametrize(
    ("code", "kind"), [(121, InvalidValueError), (14031, StoreUnavailableError)]
)
def test_a_value_is_blamed_only_for_what_it_did(store, code, kind) -> None:
    """A full disk is no mistake of who sends an event: the event may be sent again."""
    applied(store, change("e"), change("f"))
    batch = [change("e", after=1), change("f", after=1)]
    operation = committing(prepare(batch, 1, LIMIT), {}, Numbers())
    link = store.parts[0]
    request = operation.send(None)
    request.command["updates"].pop(0)
    reply = link.ask(request)
    outcomes: list[Outcome] = []
    rest = Actor(link, operation, outcomes.extend)
    rest.answer = {**reply, "writeErrors": [{"index": 0, "code": code, "errmsg": "no"}]}
    rest.run()
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.REFUSED, APPLIED]
    assert type(outcomes[0].error) is kind


def test_what_a_server_that_steps_down_leaves_open_is_found_out(store) -> None:
    """It says of each statement that it is not the primary; whether it was, is looked for."""
    applied(store, change("e"), change("f"))
    operation = committing(
        prepare([change(name, after=1) for name in "ef"], 1, LIMIT), {}, Numbers()
    )
    link = store.parts[0]
    link.ask(operation.send(None))
    errors = [{"index": n, "code": code} for n, code in enumerate((10107, 189))]
    outcomes: list[Outcome] = []
    rest = Actor(link, operation, outcomes.extend)
    rest.answer = {"n": 0, "writeErrors": errors}
    rest.run()
    assert [outcome.kind for outcome in outcomes] == [APPLIED, APPLIED]
    assert store.load_one("f", "m").version == 2

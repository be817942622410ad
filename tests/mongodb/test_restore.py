"""Parcels put into MongoDB: whole where one document takes them, else in parts that can go on."""

from dataclasses import replace

from mongodb.actors import Actor
from pystator.records import OutcomeKind
from pystator.stores.mongodb import restoring
from pystator.stores.mongodb.errors import Unanswered
from pystator.stores.mongodb.relay import Numbers
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.restoring import parcel_of, source_of

APPLIED, STALE = OutcomeKind.APPLIED, OutcomeKind.STALE


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def long_source(commits: int = 12):
    """An entity of many commits with several rows each."""
    return source_of(
        *[change(after=3 * n, steps=3, context={"n": n}, event_id=f"i{n}") for n in range(commits)]
    )


def same(store, source) -> None:
    [mine], [theirs] = (each.load([lookup()]) for each in (store, source))
    assert mine.entity == theirs.entity
    rows = [each.history("e", machine_name="m", limit=10_000).items for each in (store, source)]
    assert [replace(row, id=0) for row in rows[0]] == [replace(row, id=0) for row in rows[1]]


def go_on(source, store):
    """The parcel of what is missing behind the newest row, as a copy makes it."""
    rows = source.history("e", limit=10_000).items
    [newest] = store.history("e", machine_name="m", limit=1, newest_first=True).items or [None]
    if newest is None:
        return parcel_of(source)
    here = [n for n, row in enumerate(rows) if row.version == newest.version][-1]
    return parcel_of(source, rows=rows[here + 1 :], after=newest)


def test_a_restore_that_ends_anywhere_can_go_on(store, monkeypatch) -> None:
    """A long history in parts: whole commits, in order, and the entity with the last."""
    monkeypatch.setattr(restoring, "MOST", 7)
    source = long_source()
    link = store.parts[0]
    for steps in range(40):
        actor = Actor(link, restoring.restoring([go_on(source, store)], Numbers()))
        for _ in range(steps):
            if not actor.is_done:
                actor.step()
        rows = store.history("e", machine_name="m", limit=1_000).items
        assert len(rows) % 3 == 0
        assert [row.version for row in rows] == list(range(1, len(rows) + 1))
        [loaded] = store.load([lookup()])
        assert (loaded.entity is not None) == (len(rows) == 36)
        if len(rows) == 36:
            break
    same(store, source)


def test_a_lost_answer_is_found_out(store) -> None:
    source = long_source(2)
    for losses in (1, 2):
        parcels = [replace(parcel_of(source), entity=None), parcel_of(source_of(change("f")), "f")]
        operation = restoring.restoring(parcels, Numbers())
        request = operation.send(None)
        lost = 0
        done = []
        try:
            while True:
                answer = store.parts[0].ask(request)
                if (
                    "entity_states"
                    in (request.command.get("update"), request.command.get("insert"))
                    and lost < losses
                ):
                    lost += 1
                    request = operation.throw(Unanswered(_error(), is_lost=True))
                else:
                    request = operation.send(answer)
        except StopIteration as end:
            done = kinds(end.value)
        assert done == ([APPLIED, APPLIED] if losses == 1 else [STALE, STALE])
    assert len(store.history("e", machine_name="m").items) == 6


def _error():
    from pystator.errors import StoreUnavailableError

    return StoreUnavailableError("the answer was lost")


def test_who_writes_in_between_is_noticed(store) -> None:
    source = long_source(2)
    operation = restoring.restoring([parcel_of(source)], Numbers())
    link = store.parts[0]
    request = operation.send(link.ask(operation.send(None)))
    assert "entity_states" in (request.command.get("update"), request.command.get("insert"))
    applied(store, change(state="mine"))
    outcomes = []
    actor = Actor(link, operation, outcomes.extend)
    actor.answer = link.ask(request)
    actor.run()
    assert kinds(outcomes) == [STALE]
    assert [row.target_state for row in store.history("e").items] == ["mine"]


def test_a_relay_in_between_is_no_other_writer(store) -> None:
    source = long_source(4)
    rows = source.history("e", limit=100).items
    store.restore([replace(parcel_of(source, rows=rows[:6]), entity=None)])
    operation = restoring.restoring([parcel_of(source, rows=rows[6:], after=rows[5])], Numbers())
    link = store.parts[0]
    request = operation.send(link.ask(operation.send(None)))
    store.feed()
    outcomes = []
    actor = Actor(link, operation, outcomes.extend)
    while "update" not in request.command and "insert" not in request.command:
        request = operation.send(link.ask(request))
    actor.answer = link.ask(request)
    actor.run()
    assert kinds(outcomes) == [APPLIED]
    same(store, source)


def test_forgotten_event_ids_are_not_put_in_twice(store) -> None:
    for start in range(0, 450, 150):
        applied(store, change(after=start, steps=150, event_id=f"i{start}"))
        store.feed(None, 10_000)
    last = store.history("e", limit=1, newest_first=True).items[0]
    source = source_of(change(steps=450), note(version=450, event_id="i0"))
    rows = source.history("e", limit=1_000).items[450:]
    parcel = replace(parcel_of(source, base=450, rows=rows, after=last), entity=None)
    assert kinds(store.restore([parcel])) == [STALE]
    fine = replace(parcel, rows=(replace(rows[0], event_id="new"),))
    assert kinds(store.restore([fine])) == [APPLIED]


def test_long_names_do_not_make_a_command_too_large(store, database) -> None:
    """States are texts, too, and nobody says how many rows with them come together."""
    state = "\N{EURO SIGN}" * 9_999
    source = source_of(*[change(f"e{n}", steps=100, state=state) for n in range(4)])
    outcomes = store.restore([parcel_of(source, f"e{n}") for n in range(4)])
    assert kinds(outcomes) == [APPLIED] * 4
    for n in range(4, 16):
        applied(store, change(f"e{n}", steps=50, state=state))
    assert len(store.feed(None, 10_000).items) == 1_000
    assert database.entity_states.count_documents({"waiting": True}) == 0


def test_a_write_that_comes_after_it_was_sent_again_is_not_taken_for_anothers(store) -> None:
    link = store.parts[0]
    operation = restoring.restoring([parcel_of(long_source(2))], Numbers())
    late = request = operation.send(link.ask(operation.send(None)))
    request = operation.throw(Unanswered(_error(), is_lost=True))
    while not request.command.keys() & {"insert", "update"}:
        request = operation.send(link.ask(request))
    link.ask(late)
    outcomes = []
    actor = Actor(link, operation, outcomes.extend)
    actor.answer = link.ask(request)
    actor.run()
    assert kinds(outcomes) == [APPLIED]
    assert len(store.history("e", machine_name="m").items) == 6

"""Pruning without transactions: whoever is killed, and wherever, what is there can be replayed."""

import random
from datetime import timedelta

import pytest

from mongodb.actors import Actor, run_mixed
from pystator.orchestrator.replay import replay
from pystator.records import EntryKind, Pruned
from pystator.stores.mongodb import pruning
from pystator.stores.mongodb.documents import id_of
from pystator.stores.mongodb.loading import loading
from pystator.stores.mongodb.pruning import prune_keys, prune_rows
from pystator.stores.mongodb.reads import history
from pystator.stores.mongodb.relay import Numbers
from pystator.stores.programs import wall_clock
from pystator.stores.pruning import Cuts, Keys, Load, Order, Prune, Rows
from pystator.testing.building import applied, change, lookup, note

NOTHING = timedelta(0)
SEEDS = [0, 1, 2, *[pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 60)]]


def step(number: int, entity_id: str = "e", **fields):
    """The change that makes version ``number``, of which the context tells."""
    context = {"n": number}
    return change(
        entity_id, after=number - 1, state=f"s{number}", context=context, patch=(context, ()),
        **fields,
    )  # fmt: skip


def prune(batch: int = 3, machine: str = "m"):
    """A whole prune of everything that there is of a machine, as one operation."""
    now = wall_clock() + 1
    program = Prune(Order({machine: (now, now)}, None, batch, False, None)).run()
    numbers = Numbers()
    answer = None
    while True:
        try:
            request = program.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(request, Keys):
            answer = yield from prune_keys(request.after, 1_000)
        elif isinstance(request, Rows):
            key, after = request.key, request.after
            answer = yield from history(*key, after, request.limit, newest_first=False)
        elif isinstance(request, Load):
            answer = yield from loading(request.lookups, {})
        elif isinstance(request, Cuts):
            answer = yield from prune_rows(request.cuts, now, numbers)
        else:
            answer = None


def rows_of(store, machine: str = "m"):
    return store.history("e", machine_name=machine, limit=10_000).items


def check(store, machine: str = "m") -> None:
    """What is left leads to what is stored."""
    entity = store.load([lookup(machine=machine)])[0].entity
    assert replay(rows_of(store, machine)) == (entity.state, entity.context)


def test_a_prune_that_ends_anywhere_leaves_what_can_be_replayed(store) -> None:
    """After each of its commands in turn; the next prune does the rest."""
    link = store.parts[0]
    for steps in range(40):
        machine = f"m{steps}"
        for number in (1, 2, 3, 4):
            event_id = f"i{number}" if number % 2 else None
            applied(store, step(number, machine=machine, event_id=event_id))
        actor = Actor(link, prune(machine=machine))
        for _ in range(steps):
            if not actor.is_done:
                actor.step()
        check(store, machine)
        known = store.load([lookup("e", "i1", "i3", machine=machine)])[0].known
        for event_id in ("i1", "i3"):  # it is known by its row, or free
            [outcome] = store.commit([note(machine=machine, version=4, event_id=event_id)])
            assert (event_id in known) == (str(outcome.kind) == "duplicate")
        if actor.is_done:
            break
    assert actor.is_done
    assert steps > 12
    store.prune_history(NOTHING, dedup_window=NOTHING)
    for number in range(steps + 1):
        assert [(row.version, row.kind) for row in rows_of(store, f"m{number}")] == [
            (4, EntryKind.SNAPSHOT)
        ]


@pytest.mark.parametrize("seed", SEEDS)
def test_prunes_that_meet_never_show_a_torn_history(store, seed: int) -> None:
    """Prunes and readers take their commands in any order, some prunes end anywhere."""
    luck = random.Random(seed)
    link = store.parts[0]
    version = 0
    pages = []

    def check_page(page) -> None:
        last = max(row.version for row in page.items)
        assert replay(page.items) == (f"s{last}", {"n": last})
        pages.append(page)

    for _ in range(5):
        for _ in range(luck.randint(1, 5)):
            version += 1
            applied(store, step(version, event_id=luck.choice([None, f"i{version}"])))
        prunes = [Actor(link, prune(luck.choice([1, 2, 5]))) for _ in range(2)]
        reads = [
            Actor(link, history("e", "m", None, 1_000, newest_first=False), check_page)
            for _ in range(4)
        ]
        run_mixed([*prunes, *reads], luck, deaths=0.02, mortal=prunes)
        check(store)
    assert pages
    store.prune_history(NOTHING, dedup_window=NOTHING)
    store.prune_history(NOTHING, dedup_window=NOTHING)
    assert [(row.version, row.kind) for row in rows_of(store)] == [(version, EntryKind.SNAPSHOT)]


def test_what_rows_leave_behind_is_removed_later(store, database, monkeypatch) -> None:
    applied(store, step(1), note("nobody", version=0))
    assert store.prune_history(NOTHING).rows == 2
    gone = list(database.transition_history.find({"gone": {"$exists": True}}))
    assert len(gone) == 2
    assert all(row.keys() == {"_id", "feed", "gone"} for row in gone)
    monkeypatch.setattr(pruning, "KEPT", 0)
    monkeypatch.setattr(pruning, "SWEPT", 0.0)
    applied(store, step(2))
    assert store.prune_history(NOTHING).rows == 1
    left = list(database.transition_history.find(sort=[("feed", 1)]))
    assert [row.get("version") for row in left][-1:] == [2]
    applied(store, note("nobody", version=0), step(3))
    numbers = [row["feed"] for row in database.transition_history.find()]
    assert len(set(numbers)) == len(numbers)


def test_keys_without_rows_are_passed_over(store) -> None:
    applied(store, *[note(f"n{number}", version=0) for number in range(6)], step(1, "z"))
    store.prune_history(NOTHING)
    found = store.prune_keys(None, 2)
    assert found == [(("z", "m"), None)]
    applied(store, note("n3", version=0))
    [(key, age), rest] = [*store.prune_keys(None, 2), None]
    assert (key, rest) == (("n3", "m"), None)
    assert age > 0
    assert store.prune_keys(("n3", "m"), 2) == [(("z", "m"), None)]
    assert store.prune_keys(("z", "m"), 2) == []


def test_snapshots_of_one_version_are_never_two(store, database) -> None:
    """Of prunes at the same moment the first one writes it, the other one leaves it out."""
    for number in (1, 2, 3):
        applied(store, step(number))
    link = store.parts[0]
    first, second = Actor(link, prune()), Actor(link, prune())
    while not (first.is_done and second.is_done):
        for actor in (first, second):
            if not actor.is_done:
                actor.step()
    assert [(row.version, row.kind) for row in rows_of(store)] == [(3, EntryKind.SNAPSHOT)]
    assert database.entity_states.find_one({"_id": id_of("e", "m")})["snapshot"] == 3
    assert store.prune_history(NOTHING) == Pruned()

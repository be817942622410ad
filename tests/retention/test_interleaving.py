"""Prunes, writers and readers, request by request in any order: at every moment history leads to the entities.

A prune is a generator of requests, so that a test can be the scheduler: each turn answers one request of one of them, and
one that is never taken up again was killed there.
"""

import random

import pytest

from pystator import InMemoryStateStore
from pystator.orchestrator.replay import replay
from pystator.stores import pruning
from pystator.testing.building import change, note

NAMES = ["a", "b", "c"]
PAGE = 2


class World:
    def __init__(self, luck):
        self.luck = luck
        self.now = 1_000
        self.forgotten = 1_000 + luck.choice([0, 0, 10, 40, 999])
        self.store = InMemoryStateStore(clock=lambda: self.now)
        self.contexts = dict.fromkeys(NAMES, (0, {}))
        self.readers = {}
        self.ids = {name: {} for name in NAMES}
        for _ in range(luck.randrange(25)):
            self.change(luck.choice(NAMES[:2]), luck.random() < 0.5)

    def change(self, name, with_id):
        """One field set, one removed: a row that is missed or counted twice shows."""
        self.now += 1
        version, before = self.contexts[name]
        after = {key: value for key, value in before.items() if key != f"k{version % 3}"}
        set_ = {f"k{version * 7 % 5}": version}
        removed = tuple(key for key in before if key == f"k{version % 3}")
        after |= set_
        event_id = f"i{version}" if with_id else None
        if with_id:
            self.ids[name][event_id] = self.now
        state = f"s{version + 1}"
        commit = change(
            name,
            after=version,
            state=state,
            context=after,
            patch=(set_, removed),
            event_id=event_id,
        )
        assert self.store.commit([commit])[0].kind == "applied"
        self.contexts[name] = (version + 1, after)

    def note(self, name, with_id):
        self.now += 1
        version, _ = self.contexts[name]
        event_id = f"n{self.now}" if with_id else None
        if with_id:
            self.ids[name][event_id] = self.now
        self.store.commit([note(name, version=version, event_id=event_id)])

    def prune(self):
        before = self.now + 1 - self.luck.choice([0, 0, 1, 3, 9, 30])
        batch = self.luck.choice([1, 2, 3, 4, 100])
        return pruning.Prune(pruning.Order({}, (before, self.forgotten), batch, False, None)).run()

    def answer(self, request):
        match request:
            case pruning.Keys():
                return self.store.prune_keys(request.after, pruning.KEYS)
            case pruning.Rows(key, after, _):
                return self.store.history(key[0], machine_name=key[1], after=after, limit=PAGE)
            case pruning.Load():
                return self.store.load(request.lookups)
            case pruning.Cuts():
                return self.store.prune_rows(request.cuts)
        return None

    def read(self, name):
        """A reader's next page; at the end, what it has read leads to what was there when it ended."""
        rows, after = self.readers.pop(name, ([], None))
        page = self.store.history(name, machine_name="m", after=after, limit=PAGE)
        rows = rows + page.items
        if page.next is None:
            self.same(name, rows)
        else:
            self.readers[name] = (rows, page.next)

    def look(self):
        for name in NAMES:
            rows = self.store.history(name, machine_name="m", limit=1_000).items
            self.same(name, rows)
            assert sum(row.kind == "snapshot" for row in rows) <= 1
            ids = {row.event_id for row in rows if row.event_id is not None}
            assert ids >= {each for each, at in self.ids[name].items() if at >= self.forgotten}

    def same(self, name, rows):
        version, context = self.contexts[name]
        assert replay(rows) == ((f"s{version}", context) if version else (None, {}))

    def turn(self, prunes, answers):
        """One request of one prune, or something else of somebody else."""
        name = self.luck.choice(NAMES[:2])
        if self.luck.random() < 0.2:
            self.change(name, self.luck.random() < 0.5)
        elif self.luck.random() < 0.2:
            self.note(name, self.luck.random() < 0.5)
        elif self.luck.random() < 0.2:
            self.read(name)
        else:
            number = self.luck.randrange(len(prunes))
            try:
                answers[number] = self.answer(prunes[number].send(answers[number]))
            except StopIteration:
                prunes[number], answers[number] = self.prune(), None
        self.look()


def run(seed) -> None:
    world = World(random.Random(seed))
    prunes = [world.prune() for _ in range(world.luck.randint(1, 3))]
    answers = [None] * len(prunes)
    for _ in range(60):
        world.turn(prunes, answers)
    # Whatever was left half done, one prune more is enough.
    world.forgotten = world.now + 1
    last = pruning.Prune(pruning.Order({}, (world.now + 1,) * 2, 3, False, None)).run()
    finish(world, last)
    for name in NAMES:
        rows = world.store.history(name, machine_name="m").items
        assert [row.kind for row in rows] == ["snapshot"] * bool(world.contexts[name][0])


@pytest.mark.parametrize("count", [100, pytest.param(20_000, marks=pytest.mark.soak)])
def test_history_leads_to_the_entities_at_every_moment(count) -> None:
    first = random.randrange(10**9)
    for seed in range(first, first + count):
        try:
            run(seed)
        except Exception as error:
            raise AssertionError(f"run({seed}) finds it") from error


def until(world, prune, kind):
    """Go on to the first request of a kind."""
    answer = None
    while True:
        request = prune.send(answer)
        if isinstance(request, kind):
            return request
        answer = world.answer(request)


def test_nothing_goes_for_whose_snapshot_somebody_else_was_quicker() -> None:
    """Of a plan with several cuts, the others wait until the first is done."""
    world = World(random.Random(1))
    for _ in range(4):
        world.change("c", False)
    finish(world, begin(world.now + 1, 100))
    for _ in range(8):
        world.change("c", False)
    slow = begin(
        world.now + 1, 8
    )  # seven rows with the snapshot, and one that could go beside them
    request = until(world, slow, pruning.Cuts)
    finish(world, begin(world.now - 3, 100))
    answer = world.answer(request)
    world.look()
    finish(world, slow, answer)
    [row] = world.store.history("c", machine_name="m").items
    assert (row.kind, row.version) == ("snapshot", 12)


def begin(before, batch):
    return pruning.Prune(pruning.Order({"m": (before, 0)}, None, batch, False, None)).run()


def finish(world, prune, answer=None) -> None:
    try:
        while True:
            answer = world.answer(prune.send(answer))
            world.look()
    except StopIteration:
        pass

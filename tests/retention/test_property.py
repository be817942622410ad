"""Whatever is sent, and whenever it is pruned: history leads to the entity, and known ids keep their answers."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator import InMemoryStateStore, Orchestrator, Pruned, SQLiteStateStore, StateMachine
from pystator.orchestrator.replay import replay
from pystator.records import to_datetime
from pystator.testing import retrace

MACHINE = StateMachine.from_dict(
    {
        "meta": {"machine_name": "order"},
        "error_policy": {"default_fallback": "broken"},
        "states": [
            {"name": "draft", "type": "initial", "timeout": {"seconds": 90_000, "destination": "late"}},
            {"name": "open", "on_enter": [{"timestamp": "opened"}]},
            {"name": "late"},
            {"name": "broken"},
            {"name": "done", "type": "terminal"},
        ],
        "transitions": [
            {"trigger": "open", "source": ["draft", "late"], "dest": "open"},
            {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "n"}]},
            {"trigger": "forget", "source": "*", "internal": True, "actions": [{"clear": "n"}]},
            {"trigger": "end", "source": "open", "dest": "done", "guards": [{"expr": "n > 1"}]},
        ],
    }
)  # fmt: skip
DAY = 86_400_000_000
NAMES = ["a", "b"]

steps = st.one_of(
    st.tuples(
        st.sampled_from(["open", "note", "note", "forget", "end", "unknown"]),
        st.sampled_from(NAMES),
        st.none() | st.integers(0, 9),  # event id
        st.none() | st.fixed_dictionaries({"x": st.integers(0, 2) | st.booleans()}),
    ),
    st.tuples(st.just("sleep"), st.integers(1, 9)),
    st.tuples(st.just("fire")),
    st.tuples(st.just("force"), st.sampled_from(NAMES)),
    st.tuples(st.just("prune"), st.integers(0, 9), st.integers(0, 12), st.sampled_from([1, 3, 99])),
)


class World:
    """A store whose clock stands still until it is told, and what was answered for each event id."""

    def __init__(self, make):
        self.now = 1_700_000_000 * 1_000_000
        self.store = make(clock=lambda: self.now).connect()
        self.orders = Orchestrator(MACHINE, self.store)
        self.answers = {}

    def take(self, step):
        self.now += 1
        word, *rest = step
        if word == "sleep":
            self.now += rest[0] * DAY
        elif word == "fire":
            self.orders.fire_due(to_datetime(self.now))
        elif word == "force":
            if self.orders.get_entity(rest[0]) is not None:
                self.orders.force_state(rest[0], "open", reason="test", actor="me")
        elif word == "prune":
            self.prune(*rest)
        else:
            self.send(word, *rest)

    def send(self, trigger, name, number, data):
        event_id = None if number is None else f"{trigger}-{number}-{data}"
        result = self.orders.process_event(
            name, trigger, data, event_id=event_id, now=to_datetime(self.now)
        )
        first = self.answers.get((name, event_id))
        if event_id is not None and (first is None or not result.replayed):
            self.answers[name, event_id] = (trigger, data, result, self.now)
        elif event_id is not None:
            same(result, first[2])

    def prune(self, days, window, batch):
        order = {
            "older_than": timedelta(days=days),
            "dedup_window": timedelta(days=window),
            "batch": batch,
        }
        before = {name: self.store.load_one(name, "order") for name in NAMES}
        said = self.store.prune_history(**order, dry_run=True)
        assert self.store.prune_history(**order) == said
        assert self.store.prune_history(**order) == Pruned(kept=said.kept)
        for name in NAMES:
            assert self.store.load_one(name, "order") == before[name]
            self.look(name, days, window)
        for (name, event_id), (trigger, data, first, at) in list(self.answers.items()):
            if at < self.now - max(window, days) * DAY:
                del self.answers[name, event_id]  # forgotten, or free to be
            else:
                result = self.orders.process_event(name, trigger, data, event_id=event_id)
                assert result.replayed
                same(result, first)

    def look(self, name, days, window):
        rows = self.store.history(name, machine_name="order", limit=10_000).items
        entity = self.store.load_one(name, "order")
        expected = (None, {}) if entity is None else (entity.state, entity.context)
        assert replay(rows) == expected
        assert retrace(MACHINE, rows) == expected
        assert sum(row.kind == "snapshot" for row in rows) <= 1
        for row in rows:
            young = row.recorded_at >= self.now - days * DAY
            known = row.event_id is not None and row.recorded_at >= self.now - window * DAY
            assert young or known or row.kind in {"snapshot", "action"}


def same(result, first):
    """The first answer again."""
    facts = [
        (
            each.success,
            each.source_state,
            each.target_state,
            each.trigger,
            each.reason,
            each.version,
        )
        for each in (result, first)
    ]
    assert facts[0] == facts[1]
    assert str(result.error) == str(first.error)


@pytest.mark.parametrize(
    "make",
    [InMemoryStateStore, lambda clock: SQLiteStateStore("sqlite://", clock=clock)],
    ids=["memory", "sqlite"],
)
@settings(max_examples=30)
@given(st.lists(steps, min_size=5, max_size=40))
def test_what_is_left_says_the_same(make, life) -> None:
    world = World(make)
    for step in life:
        world.take(step)
    world.take(("prune", 0, 12, 3))
    world.take(("prune", 0, 0, 3))
    world.store.disconnect()

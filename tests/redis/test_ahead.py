"""Many events at once, decided while the server writes those before them."""

import asyncio
from collections import Counter

import pytest

from pystator import InMemoryStateStore, Orchestrator, RedisStateStore, StateMachine
from pystator.orchestrator.ahead import MANY
from pystator.records import EventRequest

MACHINE = {
    "meta": {"machine_name": "door", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "shut"},
        {"name": "gone", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut", "actions": [{"increment": "n"}]},
        {"trigger": "turn", "source": "shut", "dest": "open", "actions": [{"increment": "n"}]},
        {"trigger": "lock", "source": "shut", "dest": "shut", "guards": [{"expr": "n < 0"}]},
        {"trigger": "leave", "source": "*", "dest": "gone"},
        {"trigger": "wait", "source": "open", "dest": "open"},
    ],
}
NAMES = [f"door-{number:03}" for number in range(3 * MANY)]


def machine(**guards):
    made = StateMachine.from_dict(MACHINE)
    return made.with_guards(guards) if guards else made


def mixture():
    """Ordinary events, and among them those that are none."""
    items = [EventRequest(name, "turn", {"by": name}) for name in NAMES]
    for place in range(0, len(items), 7):
        items[place] = EventRequest(NAMES[place], "lock")
    for place in range(1, len(items), 7):
        items[place] = EventRequest(NAMES[place], "nonsense")
    for place in range(2, len(items), 7):
        items[place] = EventRequest(NAMES[place], "turn", event_id=f"id-{place}")
    items += [EventRequest(name, "turn") for name in NAMES[3::7]]  # a second one of an entity
    items += [EventRequest(f"new-{name}", "turn") for name in NAMES[:5]]
    items += [EventRequest("door-004", "turn", {"_no": 1})]  # cannot be taken
    return items


def told(results):
    return [
        (
            each.success,
            each.source_state,
            each.target_state,
            each.reason,
            each.metadata.get("version"),
        )
        for each in results
    ]


def rows_of(store, name):
    rows = store.history(name, limit=100).items
    return [
        (
            row.version,
            row.kind,
            row.trigger,
            row.payload,
            row.source_state,
            row.target_state,
            row.event_id,
        )
        for row in rows
    ]


def begin(store):
    orchestrator = Orchestrator(machine(), store)
    orchestrator.process_events([(name, "turn") for name in NAMES])
    return orchestrator


class Interfering(RedisStateStore):
    """Somebody else is at it as well, in the middle of a call."""

    def commit_ahead(self, commits):
        return super().commit_ahead(self.disturbed(commits))

    def disturbed(self, commits):
        for place, commit in enumerate(commits):
            if place == MANY:
                self.disturb()
            yield commit


class TestMixtures:
    def test_they_end_as_in_the_memory_store(self, store):
        memory = InMemoryStateStore()
        one, other = begin(store), begin(memory)
        for _ in range(2):
            assert told(one.process_events(mixture())) == told(other.process_events(mixture()))
        for name in [*NAMES, *(f"new-{name}" for name in NAMES[:5])]:
            assert rows_of(store, name) == rows_of(memory, name)

    def test_async_they_do_as_well(self, store):
        async def send(target):
            orchestrator = begin(target)
            first = told(await orchestrator.async_process_events(mixture()))
            return first, told(await orchestrator.async_process_events(mixture()))

        assert asyncio.run(send(store)) == asyncio.run(send(InMemoryStateStore()))

    def test_nothing_is_written_for_events_that_are_all_refused(self, store):
        begin(store)
        refused = Orchestrator(machine(), store).process_events([(n, "nonsense") for n in NAMES])
        assert {each.reason for each in refused} == {"undefined_trigger"}
        assert {entity.version for entity in store.entities(limit=1_000).items} == {1}


class TestTrouble:
    @pytest.fixture
    def disturbed(self, redis_url):
        with Interfering(redis_url) as store:
            yield store

    def test_entities_that_others_change_meanwhile_are_decided_again(self, disturbed, store):
        others = begin(disturbed)
        late = NAMES[2 * MANY :]

        def turn():
            disturbed.disturb = lambda: None
            Orchestrator(machine(), store).process_events([(name, "turn") for name in late])

        disturbed.disturb = turn
        results = others.process_events([(name, "turn") for name in NAMES])
        assert all(each.success for each in results)
        versions = {each.entity_id: each.version for each in store.entities(limit=1_000).items}
        assert versions == {name: 3 if name in late else 2 for name in NAMES}

    def test_a_connection_that_is_cut_in_the_middle_doubles_and_loses_nothing(
        self, disturbed, store, admin
    ):
        cutting = begin(disturbed)

        def cut():
            disturbed.disturb = lambda: None
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        disturbed.disturb = cut
        results = cutting.process_events([(name, "turn") for name in NAMES])
        assert Counter(each.success for each in results) == {True: len(NAMES)}
        for name in NAMES:
            assert [row.version for row in store.history(name).items] == [1, 2]


def test_a_guard_of_the_users_may_use_the_store(redis_url):
    with RedisStateStore(redis_url, pool_size=1, timeout=2) as store:
        begin(store)
        asked = []

        def known(context):
            asked.append(store.get_state("door-000"))
            return True

        config = {**MACHINE, "transitions": [{**MACHINE["transitions"][1], "guards": ["known"]}]}
        guarded = StateMachine.from_dict(config).with_guards({"known": known})
        results = Orchestrator(guarded, store).process_events([(name, "turn") for name in NAMES])
        assert len(asked) == len(NAMES)
        assert {each.success for each in results} <= {True}

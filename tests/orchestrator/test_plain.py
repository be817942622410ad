"""The way of plain events is a shortcut and nothing else: it writes and answers what the whole program does.

`decide_one` repeats, without drafts, what `Draft` decides about an event of an entity that is there. Whatever machine,
entity and event: on every way the same commits reach the store and the same results reach the caller.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator import (
    ConfigurationError,
    FSMError,
    InMemoryStateStore,
    Orchestrator,
    StateMachine,
    TransitionHook,
)
from pystator.engine import step
from pystator.testing import FakeClock

NAMES = ["a", "b", "c", "end"]
TRIGGERS = ["go", "stay", "back", "nobody"]


class Recording(InMemoryStateStore):
    """A memory store that keeps what it was asked to write."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.asked = []

    def commit(self, commits):
        loaded = {
            each.entity_id: self._slots.get((each.entity_id, each.machine_name)) for each in commits
        }
        for commit in commits:
            slot = loaded[commit.entity_id]
            armed = slot is not None and bool(slot.timers)
            self.asked.append(written(commit, armed=armed))
        return super().commit(commits)


def written(commit, *, armed: bool) -> tuple[Any, ...]:
    """All that matters of a commit: no timers over none is no change, and ids are anybody's."""
    timers = commit.timers if commit.timers or armed else None
    return (
        commit.entity_id, commit.machine_name, commit.expected_version, commit.new_version,
        commit.state, commit.context, commit.history, timers, commit.machine_version,
        commit.fingerprint, commit.now, commit.entries,
    )  # fmt: skip


guards = st.lists(
    st.sampled_from(
        [
            {"expr": "n < 3"},
            {"expr": "amount > 5"},
            {"expr": "missing.field > 1"},
            "yes",
            "raises",
            "slow",
        ]
    ),
    max_size=2,
)
effects = st.lists(
    st.sampled_from(
        [
            {"increment": "n"},
            {"set": {"flag": True}},
            {"set": {"flag": 1}},
            {"set": {"deep": {"er": [1, 2]}}},
            {"clear": "flag"},
            {"increment": "flag"},
            {"raise": "go"},
            "told",
            {"name": "told", "params": {"who": "x"}},
        ]
    ),
    max_size=3,
)


SHAPES: dict[str, tuple[list[dict[str, Any]], list[str], str]] = {
    "flat": ([], [], "a"),
    "nested": ([{"name": "box"}], ["box", "H(box)", "H*(box)"], "b"),
    "regions": (
        [
            {
                "name": "box",
                "type": "parallel",
                "regions": [
                    {"name": "left", "states": ["a", {"name": "x", "type": "terminal"}]},
                    {"name": "right", "states": ["b", {"name": "y", "type": "terminal"}]},
                ],
            }
        ],
        ["box", "H(box)", "H*(box)", "x", "y"],
        "box",
    ),
}
"""States that hold others, what else a transition may lead to, and where an entity begins."""


@st.composite
def machines(draw) -> dict[str, Any]:
    shape = draw(st.sampled_from(sorted(SHAPES)))
    holding, more, initial = SHAPES[shape]
    states: list[dict[str, Any]] = [{"name": name} for name in NAMES[:3]]
    if shape == "nested":
        states[0]["parent"] = states[1]["parent"] = "box"
    states.append({"name": "end", "type": "terminal"})
    if draw(st.booleans()):
        states[2]["when"] = {"expr": "amount > 5"}
    for state in states[:3]:
        if draw(st.integers(0, 5)) == 0:
            state["timeout"] = {"seconds": draw(st.integers(1, 20)), "destination": "c"}
        if draw(st.integers(0, 4)) == 0:
            state["on_enter"] = draw(effects)
        if draw(st.integers(0, 4)) == 0:
            state["on_exit"] = draw(effects)
    transitions: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 6))):
        transition: dict[str, Any] = {
            "trigger": draw(st.sampled_from(TRIGGERS[:3])),
            "source": draw(st.sampled_from([*NAMES[:3], "c", "*"])),
            "guards": draw(guards),
            "actions": draw(effects),
        }
        if draw(st.integers(0, 3)):
            transition["dest"] = draw(st.sampled_from([*NAMES, *more]))
        else:
            transition["internal"] = True
        transitions.append(transition)
    meta = {
        "machine_name": "m",
        "version": "1.0",
        "strict_mode": draw(st.booleans()),
        "classification": {"auto_route": draw(st.booleans())},
        "event_normalizer": draw(st.sampled_from(["lower", None])),
    }
    fallback = draw(st.sampled_from(["off", "hint", "persist"]))
    if fallback != "off":
        meta["orchestrator_default_fallback"] = fallback
        states.append({"name": "broken", "type": "error"})
    meta = {key: value for key, value in meta.items() if value is not None}
    config: dict[str, Any] = {
        "meta": meta,
        "initial": initial,
        "states": [*holding, *states],
        "transitions": transitions,
    }
    if fallback != "off":
        config["error_policy"] = {"default_fallback": "broken"}
    if draw(st.integers(0, 3)) == 0:
        config["context_invariants"] = [{"expr": "n < 2", "message": "too many"}]
    return config


payloads = st.none() | st.dictionaries(
    st.sampled_from(["amount", "flag", "deep", "n"]),
    st.sampled_from([0, 1, 7, True, None, "text", [1], {"er": 1}]),
    max_size=3,
)
events = st.lists(
    st.tuples(
        st.sampled_from([*TRIGGERS, "GO", None]), payloads, st.sampled_from([0, 0, 1, 30, -5])
    ),
    min_size=1,
    max_size=6,
)


class Idle(TransitionHook):
    """A hook: no event is plain any more."""

    def on_transition_complete(self, entity_id, result):
        """Look away."""


async def slow(context):
    return context.get("n", 0) != 1


def raises(context):
    if context.get("amount") == 7:
        raise ValueError("seven")
    return True


class Way:
    """One way of sending events, with a store and a clock of its own."""

    def __init__(self, config, send, **options):
        machine = StateMachine.from_dict(config)
        self.clock = FakeClock()
        self.store = Recording(self.clock)
        self.orchestrator = Orchestrator(
            machine,
            self.store,
            guards={"yes": lambda _: True, "raises": raises, "slow": slow},
            actions={"told": lambda ctx, **_: None},
            clock=self.clock,
            **options,
        )
        self.orchestrator._settings.tick = lambda: 0
        self.send = send

    def run(self, trigger, payload, pause) -> tuple[Any, ...]:
        """What came of the event, as plain data."""
        self.clock.advance(pause)
        try:
            if trigger is None:
                result = self.give(payload or {})
            else:
                result = self.send(self.orchestrator, trigger, payload)
        except FSMError as error:
            return ("raised", error.code, error.message)
        plain = result.to_dict()
        plain["metadata"].pop("action_errors", None)
        return (plain, result.version, result.reason, result.now, result.replayed, result.ignored)

    def give(self, data):
        """Data without an event, on the face of this way."""
        if self.send is awaited:
            return asyncio.run(self.orchestrator.async_apply_data("e", data))
        return self.orchestrator.apply_data("e", data)


def one(orchestrator, trigger, payload):
    return orchestrator.process_event("e", trigger, payload)


def bulk(orchestrator, trigger, payload):
    (result,) = orchestrator.process_events([("e", trigger, payload)])
    return result


def awaited(orchestrator, trigger, payload):
    return asyncio.run(orchestrator.async_process_event("e", trigger, payload))


def identified(orchestrator, trigger, payload):
    return orchestrator.process_event("e", trigger, payload, actor="")


@pytest.fixture(scope="module", autouse=True)
def _short_livelocks():
    """An async guard of a livelock is awaited in each of its steps, and each time all is stepped again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "LIVELOCK", 20)
        yield


@settings(max_examples=200, deadline=None)
@given(machines(), events, st.booleans())
def test_every_way_of_an_event_writes_and_answers_the_same(config, sent, created):
    try:
        StateMachine.from_dict(config)
    except ConfigurationError:
        return
    blocking = [Way(config, one), Way(config, one, hooks=[Idle()])]
    check(blocking, sent, created=created)
    loops = [
        Way(config, awaited),
        Way(config, awaited, hooks=[Idle()]),
        Way(config, awaited, batching=True),
    ]
    check(loops, sent, created=created)
    calls = [Way(config, bulk), Way(config, bulk, hooks=[Idle()])]
    check(calls, sent, created=created)


def check(ways, sent, *, created: bool) -> None:
    if created:
        for way in ways:
            way.store.set_state(
                "e",
                "a",
                metadata={
                    "machine_name": "m",
                    "context": {"n": 0, "flag": 1, "deep": {"er": [3]}},
                    "fingerprint": way.orchestrator.machine.fingerprint,
                },
            )
            way.store.asked.clear()
    for trigger, payload, pause in sent:
        answers = [way.run(trigger, payload, pause) for way in ways]
        for answer in answers[1:]:
            assert typed(answer) == typed(answers[0])
        for way in ways[1:]:
            assert typed(way.store.asked) == typed(ways[0].store.asked)
    entities = [way.store.entities().items for way in ways]
    for found in entities:
        for entity in found:
            entity.commit_id = ""
        assert typed(found) == typed(entities[0])


def typed(value: Any) -> str:
    """A text that tells ``1`` from ``True``, and dictionaries in any order alike."""
    if isinstance(value, dict):
        fields = [f"{key!r}:{typed(each)}" for key, each in value.items() if key != "duration_us"]
        return "{" + ",".join(sorted(fields)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(typed(each) for each in value) + "]"
    names = getattr(type(value), "__dataclass_fields__", None)
    if names is not None:
        return typed({name: getattr(value, name) for name in names})
    return repr(value)

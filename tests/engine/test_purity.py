"""The engine keeps nothing, reads no clock and writes to nothing that it is given."""

import copy
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystator import Event, StateMachine

EFFECTS: list[Any] = [
    {"set": {"order.status": "open"}},
    {"set": {"labels": ["new"]}},
    {"increment": {"order.count": 2}},
    {"append": {"field": "log", "value": {"expr": "order"}}},
    {"clear": "order.temporary"},
    {"compute": {"order.total": "order.count * 2"}},
    {"name": "snapshot", "params": {"key": "saved"}},
    {"name": "copy_key", "params": {"from": "order", "to": "copy"}},
]


def test_effects_never_write_to_the_context_that_came_in(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "actions": EFFECTS})
    context = {"order": {"count": 1, "temporary": 1, "deep": {"x": [1]}}, "log": [1]}
    before = copy.deepcopy(context)
    result = machine.process("a", "go", context)
    assert result.success, result.error
    assert before == context
    assert result.context is not context


def test_a_step_that_writes_nothing_returns_the_context_itself(build) -> None:
    machine = build("a b", "go: a -> b", {"way": "look: a -> b", "guards": [{"expr": "n > 0"}]})
    context = {"n": 1}
    assert machine.process("a", "go", context).context is context
    assert machine.process("a", "look", context).context is context
    assert machine.step("a", "go", None, context, 0).context is context
    assert machine.step("a", "go", {}, context, 0).context is context


def test_a_payload_is_merged_into_a_new_context(build) -> None:
    machine = build("a b", "go: a -> b")
    context, payload = {"n": 1, "m": 1}, {"n": 2}
    for result in [
        machine.step("a", "go", payload, context, 0),
        machine.process("a", Event("go", payload), context),
    ]:
        assert result.context == {"n": 2, "m": 1}
    assert (context, payload) == ({"n": 1, "m": 1}, {"n": 2})


def test_a_refused_event_does_not_keep_its_payload(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "guards": [{"expr": "n > 5"}]})
    context = {"n": 1}
    result = machine.step("a", "go", {"n": 2}, context, 0)
    assert result.context is context


def test_two_entities_never_see_each_other(build) -> None:
    """Whatever one entity's results are used for, the other's are what they would have been."""
    machine = build(
        "a b",
        {"way": "go: a -> b", "actions": [{"set": {"tags": ["x"]}}, {"name": "act", "params": {"list": [1]}}]},
    )  # fmt: skip
    first = machine.process("a", "go", {})
    first.context["tags"].append("mine")
    first.all_actions.clear()
    second = machine.process("a", "go", {})
    assert second.context == {"tags": ["x"]}
    assert [spec.name for spec in second.all_actions] == ["act"]


def test_params_of_a_planned_action_are_read_only(build) -> None:
    """The same planned action is handed to every entity."""
    (spec,) = build("a b", {"way": "go: a -> b", "actions": [{"name": "x", "params": {"n": 1}}]}).process("a", "go").all_actions  # fmt: skip
    with pytest.raises(TypeError):
        spec.params["n"] = 2


def no_clock(*args: Any) -> Any:
    raise AssertionError("the engine read a clock")


def test_a_machine_without_time_reads_no_clock(build, monkeypatch) -> None:
    monkeypatch.setattr(time, "time_ns", no_clock)
    monkeypatch.setattr(time, "time", no_clock)
    machine = build(
        "a b c",
        {"way": "go: a -> b", "guards": [{"expr": "n > 0"}], "actions": [{"increment": "n"}, "act"]},
        {"way": "auto: b -> c", "guards": [{"expr": "n > 5"}]},
    )  # fmt: skip
    assert machine.process("a", "go", {"n": 1}).now is None
    assert machine.start().now is None


def test_the_face_reads_the_clock_once_and_only_if_the_event_needs_it(build, monkeypatch) -> None:
    read = []
    monkeypatch.setattr(time, "time_ns", lambda: read.append(1) or 1_700_000_000_000_000_000)
    machine = build(
        "a b",
        {"way": "stamp: a -> b", "actions": [{"timestamp": "at"}, {"timestamp": "also"}]},
        "go: a -> b",
    )
    machine.process("a", "go")
    assert read == []
    result = machine.process("a", "stamp")
    assert read == [1]
    assert (
        result.context["at"]
        == result.context["also"]
        == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    )


def test_an_explicit_time_is_the_time_of_the_step(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "actions": [{"timestamp": "at"}]}, "plain: a -> b")
    moment = datetime(2024, 1, 2, tzinfo=UTC)
    assert machine.process("a", "go", now=moment).context == {"at": moment}
    assert machine.process("a", "plain", now=moment).now == int(moment.timestamp() * 1e6)


def test_many_threads_may_share_a_machine_from_its_first_event_on(build) -> None:
    """Plans are made when they are first needed; two threads that make the same one agree."""
    machine = build(
        " ".join(f"s{n}" for n in range(50)),
        *[
            {"way": f"go: s{n} -> s{n + 1}", "guards": ["ok"], "actions": [{"increment": "n"}]}
            for n in range(49)
        ],
    )
    machine.guard("ok")(lambda ctx: True)
    ends: list[Any] = []

    def walk() -> None:
        state, context = "s0", {}
        for _ in range(49):
            result = machine.process(state, "go", context)
            state, context = result.target_state, result.context
        ends.append((state, context))

    threads = [threading.Thread(target=walk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [("s49", {"n": 49})] * 8


def test_guards_met_by_many_threads_at_once_never_change_places(build) -> None:
    """Guards are numbered when they are first met; one number must never stand for two of them."""
    count = 200
    machine = build(
        "a b",
        *[{"way": f"t{n}: a -> b", "guards": [f"is_{n}"]} for n in range(count)],
    )
    for n in range(count):
        machine.guard(f"is_{n}")(lambda ctx, n=n: ctx["n"] == n)
    wrong: list[int] = []
    barrier = threading.Barrier(4)

    def ask(offset: int) -> None:
        barrier.wait()
        for step in range(count):
            n = (step * 7 + offset * 50) % count
            if not machine.process("a", f"t{n}", {"n": n}).success:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# A literal interpreter ---------------------------------------------------------------------------

NAMES = ["a", "b", "c", "d"]
TRIGGERS = ["go", "stop", "turn"]


@st.composite
def machines(draw) -> dict[str, Any]:
    """Random flat machines with guards, effects, raised events and eventless transitions."""
    count = draw(st.integers(2, 4))
    names = NAMES[:count]
    kinds = [
        "initial",
        *[draw(st.sampled_from(["stable", "stable", "terminal"])) for _ in names[1:]],
    ]
    effects = st.sampled_from(
        [{"increment": "n"}, {"set": {"n": 0}}, {"raise": "turn"}, "act", {"name": "say", "params": {"n": {"expr": "n"}}}]
    )  # fmt: skip
    block = st.lists(effects, max_size=2)
    states = [
        {"name": name, "type": kind, "on_enter": draw(block), "on_exit": draw(block)}
        for name, kind in zip(names, kinds, strict=True)
    ]
    sources = [name for name, kind in zip(names, kinds, strict=True) if kind != "terminal"]
    limit = {"expr": "n < 4"}
    transitions: list[dict[str, Any]] = [
        {"trigger": each, "source": "a", "dest": "b"} for each in TRIGGERS
    ]
    for _ in range(draw(st.integers(0, 7))):
        entry: dict[str, Any] = {
            "source": draw(st.sampled_from(sources)),
            "dest": draw(st.sampled_from(names)),
            "actions": draw(block),
        }
        if draw(st.booleans()):
            entry["trigger"] = draw(st.sampled_from(TRIGGERS))
            entry["guards"] = [limit] if draw(st.booleans()) else []
        else:
            entry |= {
                "auto": True,
                "guards": [limit],
                "actions": [*entry["actions"], {"increment": "n"}],
            }
        if entry["source"] == entry["dest"] and draw(st.booleans()):
            entry["internal"] = True
        transitions.insert(draw(st.integers(0, len(transitions))), entry)
    return {"states": states, "transitions": transitions}


class Literal:
    """The definition of a step, as plain as it can be written."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.states = {state["name"]: state for state in config["states"]}
        self.transitions = config["transitions"]

    def find(self, state: str, trigger: str | None) -> dict[str, Any] | None:
        for each in self.transitions:
            fits = each.get("auto", False) if trigger is None else each.get("trigger") == trigger
            if each["source"] == state and fits and (not each.get("guards") or self.n < 4):
                return each
        return None

    def run(self, block: list[Any]) -> None:
        for each in block:
            match each:
                case str():
                    self.done.append((each, None))
                case {"name": name}:
                    self.done.append((name, self.n))
                case {"increment": _}:
                    self.n += 1
                case {"set": _}:
                    self.n = 0
                case {"raise": trigger}:
                    self.queue.append(trigger)

    def step(self, state: str, trigger: str, n: int) -> Any:
        self.n, self.done, self.queue = n, [], []
        way = None if self.states[state]["type"] == "terminal" else self.find(state, trigger)
        if way is None:
            return None
        for _ in range(1_000):
            if way.get("internal"):
                self.run(way.get("actions", []))
            else:
                self.run(self.states[state]["on_exit"])
                self.run(way.get("actions", []))
                state = way["dest"]
                self.run(self.states[state]["on_enter"])
            if self.states[state]["type"] == "terminal":
                return state, self.n, self.done
            way = self.find(state, None)
            while way is None and self.queue:
                way = self.find(state, self.queue.pop(0))
            if way is None:
                return state, self.n, self.done
        return "livelock"


@given(config=machines(), events=st.lists(st.sampled_from([*TRIGGERS, "nonsense"]), max_size=6))
def test_random_machines_do_what_a_literal_interpreter_does(config, events) -> None:
    """Same states, same data, same actions in the same order, event after event."""
    machine, literal = StateMachine.from_dict(config), Literal(config)
    state, context = "a", {"n": 0}
    for trigger in events:
        before = copy.deepcopy(context)
        result = machine.process(state, trigger, context)
        assert context == before
        expected = literal.step(state, trigger, context["n"])
        if expected is None:
            assert not result.success
            assert result.context is context
            continue
        if expected == "livelock":
            assert result.reason == "livelock"
            continue
        done = [(spec.name, spec.params.get("n")) for spec in result.all_actions]
        assert (result.target_state, result.context["n"], done) == expected
        state, context = result.target_state, result.context

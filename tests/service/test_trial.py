"""A trial steps a machine that was sent along, and neither runs nor keeps anything."""

import asyncio
import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator.definition.load import load_file
from pystator.errors import (
    ConfigurationError,
    EvaluationError,
    FSMError,
    InvalidValueError,
    UndefinedStateError,
)
from pystator.service.checking import check
from pystator.service.trial import COMPILED, _machines, attempt

ORDER = dict(load_file(Path(__file__).parents[2] / "examples" / "order.yaml").config)
NOW = "2026-03-01T12:00:00+00:00"


def tried(config, state=None, trigger=None, context=None, payload=None, now=NOW):
    content = config if isinstance(config, bytes) else json.dumps(config).encode()
    return attempt(
        content,
        state=state,
        trigger=trigger,
        context=context or {},
        payload=payload or {},
        now=now,
    )


def machine(*transitions, states=("a", "b"), **meta):
    first, *others = states
    return {
        "meta": meta,
        "states": [{"name": first, "type": "initial"}, *({"name": name} for name in others)],
        "transitions": list(transitions),
    }


def test_an_event_in_a_state():
    answer = tried(ORDER, "draft", "place", {"total": 120}, {"customer": "ada"})
    assert (answer["machine_name"], answer["machine_version"]) == ("shop_order", "2.0")
    assert (answer["success"], answer["target_state"]) == (True, "unpaid+queued")
    assert answer["context"] == {
        "total": 120,
        "customer": "ada",
        "placed_at": datetime.fromisoformat(NOW),
    }
    assert list(answer["timers"]["armed"].values()) == ["2026-03-04T12:00:00+00:00"]
    assert answer["start"] is None


def test_without_a_state_the_entity_begins():
    answer = tried(ORDER, context={"total": 1})
    assert (answer["source_state"], answer["target_state"]) == (None, "draft")
    assert answer["context"] == {"total": 1, "paid": 0, "failures": 0}


def test_without_a_state_an_event_comes_after_the_beginning():
    answer = tried(ORDER, trigger="place", payload={"total": 5})
    assert (answer["source_state"], answer["target_state"]) == ("draft", "unpaid+queued")
    assert answer["start"]["target_state"] == "draft"
    assert answer["context"]["failures"] == 0


def test_without_a_trigger_data_alone_leads_on():
    config = machine({"source": "a", "dest": "b", "auto": True, "guards": [{"expr": "n > 5"}]})
    answer = tried(config, "a", payload={"n": 9})
    assert (answer["target_state"], answer["trigger"]) == ("b", None)
    assert tried(config, "a", context={"n": 1})["target_state"] == "a"
    assert tried(config, payload={"n": 9})["target_state"] == "b"  # it begins with this data


def test_a_rejection_is_an_answer():
    answer = tried(ORDER, "draft", "place", {"total": 0})
    assert (answer["success"], answer["reason"], answer["context"]) == (
        False, "guard_rejected", None
    )  # fmt: skip
    assert answer["error"]["code"] == "guard_rejected"


def test_actions_are_planned_and_not_run():
    config = machine({"trigger": "t", "source": "a", "dest": "b", "actions": [
        {"name": "charge", "params": {"sum": 5}},
        "ship",
    ]})  # fmt: skip
    answer = tried(config, "a", "t")
    assert answer["actions"] == [
        {"name": "charge", "phase": "transition", "params": {"sum": 5}},
        {"name": "ship", "phase": "transition"},
    ]


@pytest.mark.parametrize(
    ("config", "given", "error", "words"),
    [
        (ORDER, {"state": "nope", "trigger": "place"}, UndefinedStateError, "did you mean"),
        (ORDER, {"payload": {"_x": 1}}, InvalidValueError, "reserved"),
        (ORDER, {"context": {"_event": 1}}, InvalidValueError, "reserved"),
        (ORDER, {"trigger": "place", "payload": {"_x": 1}}, InvalidValueError, "reserved"),
        ({"states": []}, {}, ConfigurationError, "transitions"),
        ([], {}, ConfigurationError, "mapping"),
        (machine(states=[f"s{n}" for n in range(2_001)]), {}, ConfigurationError, "at most"),
        (
            machine({"trigger": "t", "source": "a", "dest": "b", "guards": ["is_paid"]}),
            {"state": "a", "trigger": "t"},
            ConfigurationError,
            "is_paid",
        ),
        (
            machine({"trigger": "t", "source": "a", "dest": "b"},
                    {"source": "b", "dest": "a", "auto": True, "guards": [{"expr": "n > 0"}]},
                    {"source": "a", "dest": "b", "auto": True, "guards": [{"expr": "n > 0"}]}),
            {"state": "a", "trigger": "t", "context": {"n": 1}},
            None,
            "never comes to rest",
        ),
        (
            machine({"at": "due", "source": "b", "dest": "a"},
                    {"trigger": "t", "source": "a", "dest": "b"}),
            {"state": "a", "trigger": "t", "context": {"due": 10**30}},
            EvaluationError,
            "9999",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_says_why(config, given, error, words):
    if error is None:
        answer = tried(config, **given)
        assert not answer["success"]
        assert words in answer["error"]["message"]
        return
    with pytest.raises(error, match=words):
        tried(config, **given)


def test_an_event_may_plan_only_so_much(monkeypatch):
    monkeypatch.setattr("pystator.service.trial.MOST_ACTIONS", 3)
    way = {"trigger": "t", "source": "a", "dest": "b", "actions": ["one", "two", "three"]}
    assert tried(machine(way), "a", "t")["success"]
    way["actions"].append("four")
    with pytest.raises(EvaluationError, match="at most 3"):
        tried(machine(way), "a", "t")


def test_unregistered_guards_pass_where_the_machine_says_so():
    config = machine(
        {"trigger": "t", "source": "a", "dest": "b", "guards": ["is_paid"]},
        strict_guard_registry=False,
    )
    assert tried(config, "a", "t")["target_state"] == "b"


def test_only_so_many_machines_are_kept_compiled():
    for number in range(COMPILED + 5):
        tried(machine(version=str(number)))
        assert len(_machines) <= COMPILED
    again = len(_machines)
    tried(machine(version=str(COMPILED + 4)))
    assert len(_machines) == again


# Whatever comes -----------------------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "t",
        "u",
        "go",
        "nope",
        "states",
        "transitions",
        "meta",
        "expr",
        "set",
        "compute",
        "auto",
        "internal",
        "when",
        "actions",
        "guards",
        "on_enter",
        "on_exit",
        "timeout",
        "regions",
        "H(a)",
        "H*(a)",
        "a+b",
        "_event",
        "now()",
        "xs+xs",
    ]
)
values = plain | WORDS | st.dictionaries(WORDS, plain | WORDS, max_size=3)
state = st.fixed_dictionaries(
    {"name": st.sampled_from("abc")},
    optional={
        "type": st.sampled_from(["initial", "stable", "terminal", "error", "parallel", "choice"]),
        "parent": st.sampled_from("abc"),
        "initial_child": st.sampled_from("abc"),
        "on_enter": st.lists(values, max_size=2),
        "when": values,
        "timeout": st.fixed_dictionaries({"seconds": values, "destination": WORDS}),
    },
)
effects = st.sampled_from(
    [
        {"set": {"n": 1}}, {"increment": "n"}, {"compute": {"n": "n + n"}}, {"raise": "u"},
        {"append": {"field": "xs", "value": 1}}, {"timestamp": "at"}, {"clear": "n"}, "charge",
        {"compute": {"n": "n ** 9"}}, {"compute": {"s": "s + s"}},
    ]
)  # fmt: skip
transition = st.fixed_dictionaries(
    {"source": st.sampled_from(["a", "b", "c", "*", ["a", "b"]])},
    optional={
        "trigger": st.sampled_from(["t", "u"]),
        "dest": st.sampled_from(["a", "b", "c", "H(a)"]),
        "guards": st.lists(
            st.sampled_from([{"expr": "n > 0"}, {"expr": "xs[9] == 1"}, {"in_state": "a"}, "named"])
            | values,
            max_size=2,
        ),
        "actions": st.lists(effects | values, max_size=3),
        "auto": st.booleans(),
        "internal": st.booleans(),
        "after": st.sampled_from(["5s", 10, "x", -1]),
    },
)
configs = values | st.fixed_dictionaries(
    {"states": st.lists(state, max_size=4), "transitions": st.lists(transition, max_size=5)},
    optional={"meta": st.dictionaries(WORDS, values, max_size=2), "initial": values},
)


@settings(max_examples=60)
@given(
    config=configs,
    state=st.none() | st.sampled_from(["a", "b", "c", "a+b", ""]) | st.text(max_size=5),
    trigger=st.none() | st.sampled_from(["t", "u"]) | st.text(min_size=1, max_size=5),
    context=st.dictionaries(st.sampled_from(["n", "xs", "s", "at", "_x"]), plain, max_size=3),
)
def test_whatever_is_tried_is_answered_or_refused(config, state, trigger, context):
    """A mistake of a machine is its sender's: it is said, and never a failure of the service."""
    content = json.dumps(config).encode()
    try:
        answer = tried(content, state, trigger, context)
    except FSMError as error:
        json.dumps(error.to_dict(), allow_nan=False)
    else:
        assert answer["success"] is (answer["error"] is None)
        json.dumps(answer, allow_nan=False, default=str)


@settings(max_examples=60)
@given(content=st.binary(max_size=200) | configs.map(lambda c: json.dumps(c).encode()))
def test_whatever_is_checked_gets_its_issues(content):
    found = check(content)
    assert found["valid"] is (
        found["machine"] is not None
        and not any(issue["severity"] == "error" for issue in found["issues"])
    )
    json.dumps(found, allow_nan=False, default=str)


def test_a_trial_awaits_nothing():
    """It runs where no loop is; the same coroutine serves machines with async guards."""
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert tried(ORDER)["success"]

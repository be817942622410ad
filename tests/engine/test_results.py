"""What a result tells, and what can be done with it."""

import json
import pickle

from pystator import ActionSpec, StaleVersionError, TimerChanges, TransitionResult


def test_a_result_reads_as_what_happened(build) -> None:
    result = build("draft open", "submit: draft -> open").process("draft", "submit")
    assert repr(result) == "<TransitionResult 'submit': 'draft' -> 'open'>"
    assert result.raise_for_error() is result
    refused = build("draft open", "submit: draft -> open").process("open", "submit")
    assert "no_transition" in repr(refused)


def test_a_result_as_plain_data_is_json(build) -> None:
    machine = build(
        "a b", {"way": "go: a -> b", "actions": [{"name": "x", "params": {"n": 1}}]}, b={"timeout": {"seconds": 1, "destination": "a"}}
    )  # fmt: skip
    plain = machine.process("a", "go", {"k": 1}).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["actions"] == [{"name": "x", "phase": "transition", "params": {"n": 1}}]
    failed = machine.process("b", "go").to_dict()
    assert failed["error"]["code"] == "invalid_transition"


def test_a_result_travels_between_processes(build) -> None:
    machine = build("a b", {"way": "go: a -> b", "actions": ["x"]}, b={"timeout": {"seconds": 1, "destination": "a"}})  # fmt: skip
    for state in ("a", "b"):
        result = machine.process(state, "go", {"k": 1})
        again = pickle.loads(pickle.dumps(result))
        assert again.to_dict() == result.to_dict()
        assert type(again.error) is type(result.error)


def test_a_result_can_be_made_from_parts() -> None:
    """Replays and rejections that no step decided look like any other result."""
    replay = TransitionResult.from_parts(
        success=True,
        source_state="a",
        target_state="b",
        trigger="go",
        context={"n": 1},
        now=5,
        actions=[ActionSpec("x", {}, "enter")],
        metadata={"version": 3, "replayed": True},
        timers=TimerChanges({"t": 9}, ("u",)),
        replayed=True,
    )
    assert replay.replayed
    assert replay.metadata == {"version": 3, "replayed": True}
    assert [spec.name for spec in replay.on_enter_actions] == ["x"]
    assert replay.timers == TimerChanges({"t": 9}, ("u",))
    stale = TransitionResult.from_parts(
        success=False, source_state="a", target_state=None, trigger="go", context={},
        error=StaleVersionError("changed"), reason="stale_version",
    )  # fmt: skip
    assert isinstance(stale.error, StaleVersionError)
    assert stale.metadata == {"reason": "stale_version"}


def test_no_timers_are_false() -> None:
    assert not TimerChanges({}, ())
    assert TimerChanges({}, ("t",))

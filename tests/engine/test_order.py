"""The order in which things happen within one event."""


def names(specs) -> list[str]:
    return [spec.name for spec in specs]


def test_exits_come_before_the_transition_and_entries_after_it(build) -> None:
    machine = build(
        "a b",
        {"way": "go: a -> b", "actions": ["move_1", "move_2"]},
        a={"on_exit": ["leave_1", "leave_2"]},
        b={"on_enter": ["arrive_1", "arrive_2"]},
    )
    result = machine.process("a", "go")
    assert names(result.all_actions) == [
        "leave_1", "leave_2", "move_1", "move_2", "arrive_1", "arrive_2",
    ]  # fmt: skip
    assert names(result.on_exit_actions) == ["leave_1", "leave_2"]
    assert names(result.actions_to_execute) == ["move_1", "move_2"]
    assert names(result.on_enter_actions) == ["arrive_1", "arrive_2"]


def test_effects_are_computed_in_the_same_order(build) -> None:
    """Each effect sees what the one before it wrote."""
    machine = build(
        "a b",
        {"way": "go: a -> b", "actions": [{"compute": {"log": "log + 't'"}}]},
        a={"on_exit": [{"compute": {"log": "log + 'x'"}}]},
        b={"on_enter": [{"compute": {"log": "log + 'e'"}}, {"compute": {"log": "log + '!'"}}]},
    )
    assert machine.process("a", "go", {"log": ""}).context == {"log": "xte!"}


def test_params_are_evaluated_where_they_stand(build) -> None:
    """A planned action carries the values of its place, not of the end of the step."""
    tell = {"name": "tell", "params": {"n": {"expr": "n"}}}
    machine = build(
        "a b",
        {"way": "go: a -> b", "actions": [tell, {"increment": "n"}, tell]},
        b={"on_enter": [{"increment": "n"}, tell]},
    )
    result = machine.process("a", "go", {"n": 0})
    assert [spec.params["n"] for spec in result.all_actions] == [0, 1, 2]
    assert [spec.phase for spec in result.all_actions] == ["transition", "transition", "enter"]


def test_known_and_computed_actions_keep_their_order(build) -> None:
    """Actions known before the event and actions planned during it are one list."""
    machine = build(
        "a b",
        {
            "way": "go: a -> b",
            "actions": [
                "first",
                {"name": "second", "params": {"n": {"expr": "1 + 1"}}},
                {"branch": {"when": {"expr": "n > 0"}, "then": ["third"], "else": ["never"]}},
                {"name": "fourth", "when": {"expr": "n > 0"}},
                {"name": "never", "when": {"expr": "n < 0"}},
                "fifth",
            ],
        },
    )
    result = machine.process("a", "go", {"n": 1})
    assert names(result.all_actions) == ["first", "second", "third", "fourth", "fifth"]


def test_guards_are_asked_before_any_effect(build) -> None:
    """Selection looks at the context as it came, payload included, and at nothing that the event does."""
    machine = build(
        "a b c",
        {"way": "go: a -> b", "guards": [{"expr": "n == 0"}], "actions": [{"increment": "n"}]},
        {"way": "go: a -> c"},
        a={"on_exit": [{"increment": "n"}]},
    )
    result = machine.process("a", "go", {"n": 0})
    assert (result.target_state, result.context) == ("b", {"n": 2})


def test_a_guard_is_asked_once_for_each_event(build) -> None:
    asked = []
    machine = build("a b", {"way": "go: a -> b", "guards": ["ask"]})
    machine.guard("ask")(lambda ctx: asked.append(1) or True)
    machine.process("a", "go", {})
    assert asked == [1]


def test_actions_of_a_plan_carry_their_settings(build) -> None:
    way = {
        "way": "go: a -> b",
        "actions": [{"name": "ship", "timeout": 2, "retry": 3, "retry_backoff": 0.5}],
    }
    (spec,) = build("a b", way).process("a", "go").all_actions
    assert (spec.timeout, spec.retry, spec.retry_backoff) == (2, 3, 0.5)
    assert spec.to_dict() == {
        "name": "ship", "phase": "transition", "timeout": 2, "retry": 3, "retry_backoff": 0.5,
    }  # fmt: skip

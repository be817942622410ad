"""What the keys of a machine file mean: from YAML to the model that the engine runs."""

import textwrap

import pytest

from pystator.definition import model as m
from pystator.definition.load import check_text, load_text

BASE = """
    states:
      - {name: open, type: initial}
      - {name: paid}
      - {name: decide, type: choice}
      - {name: closed, type: terminal}
    transitions:
      - {trigger: close, source: open, dest: closed}
      - {source: decide, dest: closed}
"""


def load(*transitions, top=""):
    lines = textwrap.dedent(BASE).lstrip() + "".join(f"  - {one}\n" for one in transitions)
    return load_text(lines + textwrap.dedent(top))


def codes(*transitions, top=""):
    lines = textwrap.dedent(BASE).lstrip() + "".join(f"  - {one}\n" for one in transitions)
    return [issue.code for issue in check_text(lines + textwrap.dedent(top))[1]]


def actions(text):
    return (
        load(f"{{trigger: t, source: open, dest: open, actions: [{text}]}}").transitions[2].content
    )


def guard(text):
    (one,) = (
        load(f"{{trigger: t, source: open, dest: open, guards: [{text}]}}").transitions[2].guards
    )
    return one


def test_states_keep_their_order_and_kind():
    """Document order decides between candidates and in the text of a configuration."""
    definition = load()
    assert [node.name for node in definition.root.children] == ["open", "paid", "decide", "closed"]
    kinds = [m.Kind.ATOMIC, m.Kind.ATOMIC, m.Kind.CHOICE, m.Kind.TERMINAL]
    assert kinds == [node.kind for node in definition.root.children]
    assert (m.Target("open"),) == definition.initial == definition.root.initial


def test_what_is_not_said_has_these_defaults():
    """A machine of a few lines is complete."""
    definition = load()
    assert (definition.name, definition.version) == ("default", "1.0.0")
    assert not definition.lenient_events
    assert not definition.lenient_guards
    assert not definition.validate_context
    assert definition.errors == "fail"
    assert (definition.fallback, definition.fallback_state) == ("off", None)


@pytest.mark.parametrize(
    ("meta", "events", "guards"),
    [
        ("strict_mode: true", False, False),
        ("strict_mode: false", True, True),
        ("strict_mode: false, reject_invalid_events: true", False, True),
        ("strict_mode: false, strict_guard_registry: true", True, False),
        ("reject_invalid_events: false", True, False),
        ("strict_guard_registry: false", False, True),
        ("strict_mode: null", False, False),
    ],
)
def test_strict_mode_has_two_halves(meta, events, guards):
    """Each half can be said by itself, and wins over strict_mode."""
    definition = load(top=f"meta: {{{meta}}}\n")
    assert (events, guards) == (definition.lenient_events, definition.lenient_guards)


def test_a_version_is_text_however_it_is_written():
    """Versions are compared and stored as text; a float that changes its text is an error."""
    assert load(top="meta: {version: 1.5}\n").version == "1.5"
    assert load(top="meta: {version: 3}\n").version == "3"
    assert load(top="meta: {version: '1.10'}\n").version == "1.10"
    assert codes(top="meta: {version: 1.10}\n") == ["version"]


def test_an_initial_state_may_be_named_at_the_top():
    """It may be any state then, also a choice."""
    text = "initial: b\nstates: [{name: a}, {name: b, type: choice}]\n"
    text += "transitions: [{source: b, dest: a}]\n"
    assert (m.Target("b"),) == load_text(text).initial
    assert (m.Target("b"),) == load_text(text.replace("initial: b", "initial: [b]")).initial


def test_a_list_of_sources_is_a_transition_for_each():
    """They share their content, and stand at their place of the order."""
    made = load("{trigger: t, source: [paid, open], dest: closed}").transitions
    assert [(one.source, one.index) for one in made[2:]] == [("paid", 2), ("open", 3)]
    assert made[2].content is made[3].content


def test_a_star_is_every_state_that_can_wait():
    """A terminal state has no way out, and a choice is never at rest: an event cannot meet it."""
    made = load('{trigger: t, source: "*", dest: closed}').transitions
    assert [one.source for one in made[2:]] == ["open", "paid"]


def test_transitions_belong_to_their_source_in_order():
    """The first that can be taken is."""
    definition = load(
        "{trigger: a, source: open, dest: paid}", "{trigger: b, source: open, dest: paid}"
    )
    assert [t.events for t in definition.nodes["open"].transitions] == [("close",), ("a",), ("b",)]


def test_triggers_are_normalised_once_and_everywhere():
    """Declared, raised and documented ones."""
    definition = load(
        "{trigger: Pay, source: open, dest: open, actions: [{raise: CLOSE}]}",
        top="meta: {event_normalizer: lower}\nevents: [{name: PAY}]\n",
    )
    assert definition.triggers == ("close", "pay")
    assert (m.Raise("close"),) == definition.transitions[2].content


def test_an_event_that_is_documented_is_declared():
    """It can be raised without a transition for it, and is known to strict mode; a warning says so."""
    top = "events: [{name: later}]\n"
    assert "later" in load(top=top).triggers
    assert codes(top=top) == ["unused_event"]


def test_internal_transitions_have_no_targets():
    """With or without naming their own state."""
    for text in (
        "{trigger: t, source: open, internal: true}",
        "{trigger: t, source: open, dest: open, internal: true}",
    ):
        made = load(text).transitions[2]
        assert made.internal
        assert made.targets == ()
    assert not load("{trigger: t, source: open, dest: open}").transitions[2].internal


def test_out_of_a_choice_and_auto_are_eventless():
    """They are taken without waiting."""
    made = load("{source: open, dest: paid, auto: true, guards: [is_ok]}").transitions
    assert [one.eventless for one in made] == [False, True, True]


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("500", 500_000),
        ("500ms", 500_000),
        ("5s", 5_000_000),
        ("10m", 600_000_000),
        ("1h", 3_600_000_000),
        ("2d", 172_800_000_000),
    ],
)
def test_durations_are_kept_in_microseconds(written, microseconds):
    """One unit inside, five outside."""
    timer = load(f"{{after: {written}, source: open, dest: paid}}").transitions[2].timer
    assert m.After(microseconds, f"open:after:{microseconds // 1000}:paid") == timer


def test_timers_have_ids_that_survive_a_new_version():
    """An id says what the timer is, not where it stands; equal ones are counted, a name is kept."""
    definition = load(
        "{after: 5s, source: [open, paid], dest: closed}",
        "{after: 5000, source: open, dest: closed, guards: [late]}",
        "{after: 5s, source: open, internal: true}",
        "{at: customer.due, source: open, dest: paid}",
        "{at: {expr: due + hours(1)}, id: remind, source: open, dest: paid}",
    )
    ids = [one.timer.id for one in definition.transitions if one.timer]
    assert ids == [
        "open:after:5000:closed", "paid:after:5000:closed", "open:after:5000:closed:2",
        "open:after:5000:open", "open:at:paid", "remind",
    ]  # fmt: skip
    assert definition.transitions[-2].timer.expression.text == "customer.due"


def test_after_with_a_trigger_is_enabled_by_either():
    """A deadline that may be anticipated."""
    made = load("{after: 5s, trigger: hurry, source: open, dest: paid}").transitions[2]
    assert made.events == ("hurry",)
    assert made.timer is not None


def test_a_timeout_of_a_state_is_a_timer_after_all_transitions():
    """What is said in `transitions` comes first when both are due."""
    text = "states:\n  - {name: a, type: initial, timeout: {seconds: 0.25, destination: b}}\n  - {name: b}\n"
    definition = load_text(text + "transitions: [{after: 250ms, source: a, dest: b}]\n")
    first, second = definition.nodes["a"].transitions
    assert (m.After(250_000, "a:after:250:b"), "transitions") == (first.timer, first.origin)
    assert (m.After(250_000, "a:after:250:b:2"), "timeout") == (second.timer, second.origin)
    assert (m.Target("b"),) == second.targets


def test_guards_of_every_form():
    """Names, checks and compositions."""
    assert m.Named("is_ok") == guard("is_ok")
    assert guard("{expr: qty > 1}").expression.text == "qty > 1"
    assert m.Check(("a", "b"), "gte", 1) == guard("{check: {field: a.b, op: gte, value: 1}}")
    assert m.Check(("a",), "eq", None) == guard("{check: {field: a, op: eq, value: null}}")
    assert m.Check(("a",), "in", [1, 2]) == guard("{check: {field: a, op: in, values: [1, 2]}}")
    assert m.Check(("a",), "not_in", [1]) == guard("{check: {field: a, op: not_in, value: [1]}}")
    assert m.Check(("a",), "is_null") == guard("{check: {field: a, op: is_null}}")
    assert m.AllOf((m.Named("a"), m.Not(m.Named("b")))) == guard("{allOf: [a, {not: b}]}")
    assert m.AnyOf((m.Named("a"), m.InState("paid"))) == guard("{anyOf: [a, {in_state: paid}]}")


def test_registered_actions_of_every_form():
    """A name, a name with options, and `custom` are the same call."""
    assert (m.Call("notify", {}),) == actions("notify")
    assert (m.Call("notify", {}),) == actions("{name: notify}")
    assert (m.Call("notify", {"a": 1}),) == actions("{custom: {name: notify, params: {a: 1}}}")
    call = m.Call("notify", {"a": 1}, m.Named("late"), 2.5, 3, 1)
    assert (call,) == actions(
        "{name: notify, params: {a: 1}, when: late, timeout: 2.5, retry: 3, retry_backoff: 1}"
    )
    assert actions("log")[0].name == "log"


def test_expressions_anywhere_in_params_are_evaluated_in_the_step():
    """Only a mapping of exactly `expr` is one; the rest are literals."""
    (call,) = actions(
        "{name: x, params: {a: {expr: qty}, b: [{c: {expr: qty}}], d: {expr: q, e: 1}}}"
    )
    assert call.params["a"].text == "qty"
    assert call.params["b"][0]["c"].text == "qty"
    assert call.params["d"] == {"expr": "q", "e": 1}


def test_effects_of_every_form():
    """Each field is an effect of its own, in order."""
    assert (m.Set(("a", "b"), 1), m.Set(("c",), [])) == actions("{set: {a.b: 1, c: []}}")
    assert (m.Timestamp(("at",)),) == actions("{timestamp: at}")
    assert (m.Increment(("n",)),) == actions("{increment: n}")
    assert (m.Increment(("n",), 2), m.Increment(("x",), 0.5)) == actions(
        "{increment: {n: 2, x: 0.5}}"
    )
    assert (m.Increment(("n",), 1, -1),) == actions("{decrement: n}")
    assert actions("{decrement: {n: {expr: qty}}}")[0].by.text == "qty"
    assert (m.Append(("l",), {"a": 1}),) == actions("{append: {field: l, value: {a: 1}}}")
    assert (m.Clear(("l",), m.Named("late")),) == actions("{clear: l, when: late}")
    (compute,) = actions("{compute: {t: a + b}}")
    assert (compute.path, compute.expression.text) == (("t",), "a + b")


def test_built_in_actions_that_change_the_context_are_effects():
    """They are computed in the step and committed with the state."""
    one, two = actions("{name: set_context, params: {a: 1, b: {expr: qty}}}")
    assert m.Set(("a",), 1) == one
    assert two.expression.text == "qty"
    assert (m.CopyKey(("a", "b"), ("c",)),) == actions(
        "{name: copy_key, params: {from: a.b, to: c}}"
    )
    assert (m.ValidateKeys((("a",), ("b", "c"))),) == actions(
        "{name: validate_keys, params: {keys: [a, b.c]}}"
    )
    assert (m.Snapshot(("_snapshot",)),) == actions("snapshot")
    assert (m.Snapshot(("before",)),) == actions(
        "{custom: {name: snapshot, params: {key: before}}}"
    )


def test_one_entry_has_one_condition():
    """Asked once, before the first field is written: the others must not see what that one did."""
    late = m.Named("late")
    assert (m.Set(("a",), 1, late),) == actions("{set: {a: 1}, when: late}")
    both = (m.Set(("a",), 1), m.Set(("b",), 2))
    assert (m.Branch(late, both),) == actions("{set: {a: 1, b: 2}, when: late}")
    assert both == actions("{set: {a: 1, b: 2}}")
    (branch,) = actions("{name: set_context, params: {a: 1, b: 2}, when: late}")
    assert m.Branch(late, both) == branch


def test_branches_nest():
    """A branch may hold any action, and itself be conditional."""
    (branch,) = actions("{branch: {when: a, then: [x, {branch: {when: b, then: [y]}}], else: [z]}}")
    inner = m.Branch(m.Named("b"), (m.Call("y", {}),))
    assert m.Branch(m.Named("a"), (m.Call("x", {}), inner), (m.Call("z", {}),)) == branch
    (outer,) = actions("{branch: {when: a, then: [x]}, when: c}")
    assert m.Branch(m.Named("c"), (m.Branch(m.Named("a"), (m.Call("x", {}),)),)) == outer


def test_entry_and_exit_actions_are_one_block():
    """Blocks are SCXML's; YAML has one."""
    text = "states: [{name: a, type: initial, on_enter: [x, y], on_exit: []}]\ntransitions: []\n"
    node = load_text(text).nodes["a"]
    assert ((m.Call("x", {}), m.Call("y", {})),) == node.on_enter
    assert node.on_exit == ()


def test_variables_and_invariants():
    """Short and long forms."""
    definition = load(
        top="""
        state_variables: [id, {key: qty, type: number, default: 0, required: true}]
        context_invariants: [sane, {expr: qty >= 0, name: positive, message: no debt}, {not: odd}]
        """
    )
    one, two = definition.variables
    assert m.StateVariable("id", None, None, None, False, False) == one
    assert m.StateVariable("qty", "number", None, 0, True, True) == two
    assert [i.name for i in definition.invariants] == ["sane", "positive", "invariant_3"]
    assert definition.invariants[1].message == "no debt"
    assert m.Not(m.Named("odd")) == definition.invariants[2].guard


def test_null_is_the_same_as_absent():
    """An empty key in YAML, and a field that a program filled with None."""
    text = """
    states:
      - {name: a, type: initial, description: null, on_enter: null, timeout: null, when: null}
    transitions:
      - {trigger: t, source: a, dest: a, guards: null, actions: null, after: null, metadata: null}
    groups: null
    meta:
    """
    assert load_text(textwrap.dedent(text)).transitions[0].metadata == {}


def test_requirements_and_metadata_are_carried():
    """`check`, `graph` and history show them."""
    made = load(
        "{trigger: t, source: open, dest: paid, ref: R1, refs: [R2], metadata: {a: 1}, description: d}"
    )
    one = made.transitions[2]
    assert (one.refs, one.metadata, one.description) == (("R1", "R2"), {"a": 1}, "d")


def test_a_choice_must_not_lead_to_itself():
    """It would be taken again and again."""
    assert "endless" in codes("{source: decide, dest: decide, guards: [is_ok]}")


def test_a_fallback_state_is_part_of_the_definition():
    """The orchestrator asks for it."""
    definition = load(
        top="error_policy: {default_fallback: paid}\nmeta: {orchestrator_default_fallback: persist}\n"
    )
    assert (definition.fallback, definition.fallback_state) == ("persist", "paid")

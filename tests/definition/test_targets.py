"""Where transitions lead in nested machines: regions, lists, history, done events and routing."""

import pytest

from pystator.definition import model as m
from pystator.definition.load import check_text, load_text

STATES = """
meta: {machine_name: order}
states:
  - {name: open, type: initial}
  - name: fulfil
    type: parallel
    regions:
      - {name: goods, states: [{name: boxing}, {name: ready}, {name: sent, type: terminal}]}
      - {name: money, states: [{name: asked}, {name: paid, type: terminal}]}
  - {name: part, parent: boxing}
  - {name: whole, parent: boxing, type: terminal}
  - {name: closed, type: terminal}
transitions:
  - {trigger: close, source: open, dest: closed}
"""


def load(*transitions, change=("", "")):
    return load_text(STATES.replace(*change) + "".join(f"  - {one}\n" for one in transitions))


def one(transition, **kinds):
    return load(transition, **kinds).transitions[1]


def warnings(*transitions, change=("", "")):
    text = STATES.replace(*change) + "".join(f"  - {one}\n" for one in transitions)
    definition, issues = check_text(text)
    assert definition is not None, issues
    return [(issue.code, issue.message, issue.suggestion) for issue in issues]


def said(*transitions, change=("", "")):
    return [code for code, _, _ in warnings(*transitions, change=change)]


def test_a_list_of_destinations_is_a_state_for_each_region():
    """In the order in which they are written."""
    made = one("{trigger: t, source: open, dest: [paid, part]}")
    assert (m.Target("paid"), m.Target("part")) == made.targets
    assert (m.Target("paid"),) == one("{trigger: t, source: open, dest: [paid]}").targets


def test_history_is_a_target():
    """Shallow or deep, of a state or a region, alone or beside others."""
    made = one("{trigger: t, source: open, dest: [H(boxing), H*(money)]}")
    assert (m.Target("boxing", "shallow"), m.Target("region:money", "deep")) == made.targets
    assert (m.Target("fulfil", "deep"),) == one(
        "{trigger: t, source: open, dest: H*(fulfil)}"
    ).targets


def test_shallow_history_of_a_parallel_state_is_its_default():
    """Legal, and probably not meant."""
    assert said("{trigger: t, source: open, dest: H(fulfil)}") == ["history"]
    assert said("{trigger: t, source: open, dest: H*(fulfil)}") == []


def test_a_list_is_judged_only_by_states_that_are_known():
    """A machine without usable states has that mistake, and no other follows from it."""
    text = "transitions:\n  - {trigger: t, source: a, dest: [b, c]}\n"
    assert [issue.code for issue in check_text(text)[1]] == ["missing_key"]
    text = "initial: [a, b]\nstates: [{name: a}, {name: b, tipe: c}, {name: 7}]\n"
    text += "transitions:\n  - {trigger: t, source: a, dest: [b, a]}\n"
    assert {issue.code for issue in check_text(text)[1]} == {"unknown_key", "wrong_type", "targets"}


def test_a_region_is_asserted():
    """The transition stays what it would be without it."""
    made = one("{trigger: t, source: asked, dest: paid, region: money}")
    assert (made.source, made.region) == ("asked", "money")


def test_a_region_of_a_parallel_source_is_the_source():
    """Any state of the region is left, and the other regions stay as they are."""
    definition = load("{trigger: t, source: fulfil, dest: ready, region: goods}")
    assert definition.transitions[1].source == m.region_key("goods")
    assert definition.nodes["region:goods"].transitions == [definition.transitions[1]]


def test_going_to_another_region_is_told():
    """It leaves and enters the parallel state, which surprises."""
    (warning,) = warnings("{trigger: t, source: part, dest: paid}")
    assert warning[0] == "crosses_regions"
    assert "'fulfil' is left and entered again" in warning[1]
    for fine in (
        "source: fulfil, dest: paid",
        "source: open, dest: paid",
        "source: part, dest: ready",
    ):
        assert said(f"{{trigger: t, {fine}}}") == []
    assert said("{trigger: t, source: part, dest: fulfil}") == []
    timeout = ("{name: asked}", "{name: asked, timeout: {seconds: 5, destination: sent}}")
    assert said(change=timeout) == ["crosses_regions"]


def test_internal_transitions_stay_in_their_source():
    """To a state inside a compound source, or nowhere."""
    made = one("{trigger: t, source: boxing, dest: whole, internal: true}")
    assert (True, (m.Target("whole"),)) == (made.internal, made.targets)
    for dest in ("", "dest: boxing, "):
        assert one(f"{{trigger: t, source: boxing, {dest}internal: true}}").targets == ()
    history = one("{trigger: t, source: boxing, dest: H(boxing), internal: true}")
    assert (m.Target("boxing", "shallow"),) == history.targets
    region = one("{trigger: t, source: fulfil, dest: ready, internal: true, region: goods}")
    assert ("region:goods", (m.Target("ready"),)) == (region.source, region.targets)
    assert one("{trigger: t, source: fulfil, internal: true}").targets == ()


# on_done ----------------------------------------------------------------------------------------


def done(written):
    change = ("type: parallel\n", f"type: parallel\n    on_done: {written}\n")
    definition = load(change=change)
    found = definition.nodes["fulfil"].transitions
    assert [one.origin for one in found] == ["on_done"] * len(found)
    assert [one.events for one in found] == [("done.state.fulfil",)] * len(found)
    assert "done.state.fulfil" not in definition.triggers
    return found


def test_on_done_is_a_transition_on_the_done_event():
    """Which nobody declares and nobody can send."""
    (made,) = done("closed")
    assert ((m.Target("closed"),), (), ()) == (made.targets, made.guards, made.content)


def test_on_done_takes_what_a_transition_takes():
    """A destination in every form, guards, actions; several are tried in order."""
    assert (m.Target("fulfil", "deep"),) == done("H*(fulfil)")[0].targets
    assert (m.Target("part"), m.Target("asked")) == done("[part, asked]")[0].targets
    (made,) = done("{dest: closed, guards: [ok], actions: [log], description: d, ref: R1}")
    assert ((m.Named("ok"),), (m.Call("log", {}),)) == (made.guards, made.content)
    assert (made.description, made.refs) == ("d", ("R1",))
    first, second = done("[{dest: closed, guards: [ok]}, {internal: true, actions: [log]}]")
    assert first.index < second.index
    assert (second.internal, second.targets) == (True, ())


def test_on_done_comes_after_all_other_transitions():
    """What is said in `transitions` decides first."""
    change = (
        "{name: boxing}",
        "{name: boxing, on_done: ready, timeout: {seconds: 1, destination: ready}}",
    )
    definition = load("{trigger: done.state.boxing, source: boxing, dest: sent}", change=change)
    found = definition.nodes["boxing"].transitions
    assert [one.origin for one in found] == ["transitions", "timeout", "on_done"]
    assert found[0].events == found[2].events
    assert "done.state.boxing" in definition.triggers


def test_done_events_are_normalised():
    """Like every other event."""
    meta = ("meta: {", "meta: {event_normalizer: upper, ")
    definition = load("{trigger: done.state.money, source: fulfil, dest: closed}", change=meta)
    assert definition.triggers == ("CLOSE", "DONE.STATE.MONEY")
    made = load_text(
        STATES.replace(*meta).replace("{name: boxing}", "{name: boxing, on_done: ready}")
    )
    assert made.transitions[-1].events == ("DONE.STATE.BOXING",)


def test_a_done_event_of_nothing_is_told():
    """A slip in its name would wait for ever."""
    found = warnings("{trigger: done.state.fulfill, source: fulfil, dest: closed}")
    assert found == [
        (
            "done_event",
            "there is no state 'fulfill' that could be done: only a caller can send 'done.state.fulfill'",
            "done.state.fulfil",
        )
    ]
    assert said("{trigger: done.state.open, source: fulfil, dest: closed}") == ["done_event"]
    assert said("{trigger: done.state.goods, source: fulfil, dest: closed}") == []


def test_what_on_done_listens_to_may_be_raised():
    """An undeclared event that somebody takes is no slip."""
    change = ("{name: boxing}", "{name: boxing, on_done: ready}")
    load(
        "{trigger: t, source: part, internal: true, actions: [{raise: done.state.boxing}]}",
        change=change,
    )


# Routing ----------------------------------------------------------------------------------------


def test_when_is_a_guard_or_several():
    """All of a list must hold."""
    change = ("{name: ready}", "{name: ready, when: [is_ready, {expr: qty > 1}]}")
    move = "{trigger: t, source: part, dest: ready}"
    named, expression = load(move, change=change).nodes["ready"].when
    assert m.Named("is_ready") == named
    assert expression.expression.text == "qty > 1"
    change = ("{name: ready}", "{name: ready, when: {in_state: money}}")
    assert (m.InState("region:money"),) == load(move, change=change).nodes["ready"].when


def test_auto_route_is_said_in_meta():
    """Every event is then followed by routing; without it only `apply_data` routes."""
    change = ("meta: {", "meta: {classification: {auto_route: true, own: 1}, ")
    assert load(change=change).auto_route
    assert said(change=change) == ["never"]
    assert not load().auto_route


@pytest.mark.parametrize(
    ("transition", "routes"),
    [
        ("{trigger: t, source: open, dest: ready}", True),
        ("{trigger: t, after: 5s, source: open, dest: ready}", True),
        ("{after: 5s, source: open, dest: ready}", False),
        ("{auto: true, source: open, dest: ready}", False),
        ("{trigger: t, source: open, dest: paid}", False),
    ],
)
def test_data_goes_where_a_trigger_could(transition, routes):
    """A state that only time or `auto` leads to is never routed to, and that is told."""
    change = ("{name: ready}", "{name: ready, when: is_ready}")
    assert said(transition, change=change) == ([] if routes else ["never"])

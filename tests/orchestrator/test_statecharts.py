"""Configurations of several leaves and history states, on every way into and out of a store."""

import asyncio
import copy

import pytest

from pystator import (
    InMemoryStateStore,
    MachineVersionMismatchError,
    Orchestrator,
    StateMachine,
    TransitionHook,
    UndefinedStateError,
)
from pystator.orchestrator.replay import replay
from pystator.testing import change
from pystator.testing.statecharts import CHART


def chart_of(**changes):
    return StateMachine.from_dict({**CHART, **changes})


def with_states(states, transitions=(), version="2.0"):
    """Another version of the chart: ``states`` replace those of their names, or are added."""
    names = {state["name"] for state in states}
    kept = [state for state in CHART["states"] if state["name"] not in names]
    return chart_of(
        meta={"machine_name": "chart", "version": version},
        states=[*kept, *states],
        transitions=[*CHART["transitions"], *transitions],
    )


@pytest.fixture(scope="module")
def chart():
    return chart_of()


@pytest.fixture
def charts(chart, store, clock):
    return Orchestrator(chart, store, clock=clock)


def send(orchestrator, entity_id, *triggers):
    for trigger in triggers:
        result = orchestrator.process_event(entity_id, trigger).raise_for_error()
    return result


# History states -----------------------------------------------------------------------------------


WAYS = {
    "plain": lambda charts, trigger: charts.process_event("e", trigger),
    "hooked": lambda charts, trigger: charts.process_event("e", trigger),
    "bulk": lambda charts, trigger: charts.process_events([("e", trigger)])[0],
    "awaited": lambda charts, trigger: asyncio.run(charts.async_process_event("e", trigger)),
    "batched": lambda charts, trigger: asyncio.run(charts.async_process_event("e", trigger)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_remembers_the_same(chart, store, clock, audit, refold, way):
    """One by one, in bulk, awaited, in a batch, and with hooks, which make no event plain."""
    hooks = [TransitionHook()] if way == "hooked" else None
    charts = Orchestrator(chart, store, clock=clock, hooks=hooks, batching=way == "batched")
    triggers = ["begin", "next", "next", "pause", "resume_deep", "next", "pause", "review_again"]
    for trigger in triggers:
        assert WAYS[way](charts, trigger).success
    entity = charts.get_entity("e")
    assert entity.state == "reading+open"
    assert entity.history == {"work": ["made"], "review": ["reading", "open"]}
    assert entity.context == {"cuts": 1}
    assert list(entity.timers) == ["reading:after:60000:asking"]
    audit(store, "e", "chart")
    refold(chart, store, "e")


def test_a_run_of_events_in_one_commit_remembers_each_step(chart, store, clock, audit, refold):
    charts = Orchestrator(chart, store, clock=clock)
    triggers = ["begin", "next", "pause", "resume", "next", "nonsense", "pause", "resume_deep"]
    results = charts.process_events([(each, trigger) for trigger in triggers for each in "ab"])
    states = [result.target_state for result in results[::2]]
    assert states == ["prepare", "cut", "paused", "cut", "sew", None, "paused", "sew"]
    assert [result.target_state for result in results[1::2]] == states
    for entity_id in "ab":
        audit(store, entity_id, "chart")
        refold(chart, store, entity_id)


def test_what_is_remembered_goes_to_its_column_and_nowhere_else(chart, store, clock, rows):
    """Rows of history, results, hooks and actions have the context alone."""
    seen = []

    class Hook(TransitionHook):
        def on_transition_start(self, entity_id, result):
            seen.append(result.context)

        def on_transition_complete(self, entity_id, result):
            seen.append(result.context)

    def validator(entity_id, state, trigger, context):
        seen.append(context)
        return True, []

    plain = Orchestrator(chart, store, clock=clock)
    watched = Orchestrator(chart, store, hooks=[Hook()], context_validator=validator, clock=clock)
    for number, trigger in enumerate(["begin", "pause", "resume", "note", "pause", "nonsense"]):
        turn = (plain, watched)[number % 2]
        seen.append(turn.process_event("e", trigger).context)
    seen += [result.context for result in plain.process_events([("e", "resume"), ("e", "pause")])]
    assert len(seen) > 12
    assert not [context for context in seen if "_history" in context]
    for row in rows(store, "e", machine_name="chart"):
        changed, removed = row.patch or ({}, ())
        assert "_history" not in changed
        assert "_history" not in removed
    entity = plain.get_entity("e")
    assert (entity.history, entity.context) == ({"work": ["prepare"]}, {"notes": 1})


def test_a_context_that_stays_is_not_written_when_a_state_is_remembered(chart, clock):
    """Leaving a compound writes a few names: not the customer's whole file once more."""

    class Watching(InMemoryStateStore):
        def commit(self, commits):
            written.extend((commit.context, commit.history) for commit in commits)
            return super().commit(commits)

    for hooks in (None, [TransitionHook()]):
        written: list[tuple] = []
        charts = Orchestrator(chart, Watching(clock=clock), clock=clock, hooks=hooks)
        charts.create_entity("e", {"file": "x" * 1_000})
        send(charts, "e", "begin")
        charts.force_state("e", "asking", reason="test", actor="test")
        written.clear()
        send(charts, "e", "pause", "review_again", "pause", "review_again")
        assert written == [(None, {"review": ["asking", "open"]})] + [(None, None)] * 3


def test_a_look_ahead_knows_what_is_remembered(chart, charts):
    """A dry run is the machine's own step, with the context as the engine takes it."""
    send(charts, "e", "begin", "next", "next", "pause")
    entity = charts.get_entity("e")
    ahead = chart.process(entity.state, "resume_deep", entity.engine_context)
    assert ahead.target_state == "sew"
    assert charts.get_entity("e") == entity
    assert charts.process_event("e", "resume_deep").target_state == "sew"
    fresh = charts.create_entity("f").raise_for_error()
    assert charts.get_entity("f").engine_context == fresh.context == {}


def test_a_context_written_straight_from_a_result_is_taken_over(chart, store, charts, audit):
    """Who steps by hand and stores what comes out has the memory in the context."""
    result = chart.process("sew", "pause", {"n": 1})
    store.set_state(
        "e", "paused", metadata={"machine_name": "chart", "context": dict(result.context)}
    )
    assert charts.process_event("e", "resume_deep").target_state == "sew"
    entity = charts.get_entity("e")
    assert (entity.context, entity.history) == ({"n": 1}, {"work": ["sew"]})
    store.set_state("e", "paused", metadata={"context": {"_history": {"work": ["cut"]}}})
    assert charts.process_event("e", "resume_deep").target_state == "cut"
    audit(store, "e", "chart")


@pytest.mark.parametrize(
    "memory", [{"work": ["gone", "sew"]}, {"work": "sew"}, {"work": [1, None]}]
)
def test_a_damaged_memory_leads_to_where_it_can(store, charts, memory):
    store.commit([change("e", machine="chart", state="paused", history=memory)])
    expected = "sew" if memory == {"work": ["gone", "sew"]} else "prepare"
    assert charts.process_event("e", "resume_deep").target_state == expected


def test_a_machine_without_history_states_leaves_the_column_alone(store, charts, clock):
    """A later version may want it again."""
    send(charts, "e", "begin", "next", "pause")
    transitions = [
        way for way in CHART["transitions"] if not str(way.get("dest", "")).startswith("H")
    ]
    meta = {"machine_name": "chart", "version": "2.0"}
    newer = Orchestrator(chart_of(meta=meta, transitions=transitions), store, clock=clock)
    newer.process_event("e", "note").raise_for_error()
    newer.process_event("e", "note").raise_for_error()
    assert newer.get_entity("e").history == {"work": ["cut"]}
    assert charts.process_event("e", "resume_deep").target_state == "cut"


def test_rows_tell_configurations_and_replay_to_them(charts, store, rows):
    send(charts, "e", "begin", "next", "next", "next", "agree", "ask", "pause", "review_again")
    changes = rows(store, "e", "event", machine_name="chart")
    assert [(row.source_state, row.target_state) for row in changes[-4:]] == [
        ("reading+open", "reading+agreed"),
        ("reading+agreed", "asking+agreed"),
        ("asking+agreed", "paused"),
        ("paused", "asking+agreed"),
    ]
    assert replay(changes) == ("asking+agreed", {"cuts": 1})


# Configurations -----------------------------------------------------------------------------------


def test_entities_are_found_by_any_active_leaf(charts, store):
    send(charts, "a", "begin", "next", "next", "next", "agree")
    send(charts, "b", "begin", "next", "next", "next", "ask")
    send(charts, "c", "begin")
    assert [each.entity_id for each in store.list_entities(state="reading")] == ["a"]
    assert [each.entity_id for each in store.list_entities(state="open")] == ["b"]
    assert store.count_by_state() == {"reading+agreed": 1, "asking+open": 1, "prepare": 1}


def test_an_entity_may_begin_in_several_leaves(store, clock, rows, audit):
    """The start and the event are one version; its source is where the start came to rest."""
    machine = chart_of(initial=["asking", "open"], states=_without_initial())
    charts = Orchestrator(machine, store, clock=clock)
    result = charts.process_event("e", "agree")
    assert (result.source_state, result.target_state) == ("asking+open", "asking+agreed")
    assert result.version == 1
    created = charts.create_entity("f")
    assert (created.source_state, created.target_state) == (None, "asking+open")
    assert charts.process_event("f", "clear").target_state == "cleared+open"
    for entity_id in ("e", "f"):
        audit(store, entity_id, "chart")
    strict = Orchestrator(machine, store, use_initial_state_when_missing=False)
    assert strict.process_event("g", "agree").reason == "entity_not_found"


def _without_initial():
    states = copy.deepcopy(CHART["states"])
    for state in states:
        if state.get("type") == "initial":
            state["type"] = "stable"
    return states


def test_timers_of_leaves_and_of_what_holds_them_fire_in_order(store, clock, rows, audit):
    """One in a region leaves the others armed; the one of the parallel state ends them all."""
    transitions = [
        *CHART["transitions"],
        {"source": "review", "dest": "late", "after": "5m"},
        {"source": "open", "dest": "agreed", "after": "70s"},
    ]
    machine = chart_of(transitions=transitions)
    timed = Orchestrator(machine, store, clock=clock)
    send(timed, "e", "begin", "next", "next", "next")
    entity = timed.get_entity("e")
    assert sorted(deadline - clock() for deadline, _ in entity.timers.values()) == [
        60_000_000,
        70_000_000,
        300_000_000,
    ]
    clock.advance(400)
    assert [result.target_state for result in timed.fire_due()] == [
        "asking+open",
        "asking+agreed",
        "late",
    ]
    assert timed.get_entity("e").timers == {}
    fired = rows(store, "e", "timer", machine_name="chart")
    assert len({row.commit_id for row in fired}) == 1
    audit(store, "e", "chart")


@pytest.mark.parametrize(
    ("state", "expected", "timers"),
    [
        ("review", "reading+open", ["reading:after:60000:asking"]),
        ("open+asking", "asking+open", []),
        ("agreed", "reading+agreed", ["reading:after:60000:asking"]),
        ("work", "prepare", ["work:after:3600000:late"]),
        ("build", "cut", ["work:after:3600000:late"]),
        ("sew", "sew", ["work:after:3600000:late"]),
    ],
)
def test_a_forced_state_is_completed_and_its_timers_armed(
    charts, store, clock, audit, state, expected, timers
):
    send(charts, "e", "begin", "next", "pause")
    result = charts.force_state("e", state, reason="test", actor="ada")
    assert (result.source_state, result.target_state) == ("paused", expected)
    entity = charts.get_entity("e")
    assert (entity.state, list(entity.timers)) == (expected, timers)
    assert entity.history == {"work": ["cut"]}
    audit(store, "e", "chart")


@pytest.mark.parametrize("state", ["cut+sew", "open+prepare", "nowhere", "open+nowhere", ""])
def test_what_cannot_be_active_together_cannot_be_forced(charts, state):
    send(charts, "e", "begin")
    with pytest.raises(UndefinedStateError):
        charts.force_state("e", state, reason="test", actor="ada")
    assert charts.get_entity("e").version == 1


def test_a_configuration_written_by_hand_in_any_order_is_read(charts, store, audit):
    for entity_id, state in (("e", "open+asking"), ("f", "review"), ("g", "agreed")):
        store.set_state(entity_id, state, metadata={"machine_name": "chart", "context": {}})
    assert charts.process_event("e", "note").source_state == "asking+open"
    assert store.get_state("e") == "asking+open"
    assert charts.process_event("f", "agree").target_state == "reading+agreed"
    assert charts.process_event("g", "clear").target_state == "shipped"
    for entity_id in ("e", "f", "g"):
        audit(store, entity_id, "chart")


def test_a_fallback_leaves_every_region(store, clock, rows, audit):
    def breaks(_):
        raise ValueError("broken")

    machine = chart_of(
        meta={"machine_name": "chart", "orchestrator_default_fallback": "persist"},
        error_policy={"default_fallback": "broken"},
        states=[*CHART["states"], {"name": "broken", "type": "error"}],
        transitions=[
            *CHART["transitions"],
            {"trigger": "break", "source": "asking", "dest": "cleared", "guards": ["breaks"]},
            {"trigger": "mend", "source": "broken", "dest": "H*(review)"},
        ],
    )
    charts = Orchestrator(machine, store, guards={"breaks": breaks}, clock=clock)
    send(charts, "e", "begin", "next", "next", "next", "agree", "ask", "pause", "review_again")
    result = charts.process_event("e", "break")
    assert (result.success, result.source_state, result.target_state) == (
        False,
        "asking+agreed",
        "broken",
    )
    assert charts.get_entity("e").history["review"] == ["asking", "agreed"]
    assert charts.process_event("e", "mend").target_state == "asking+agreed"
    audit(store, "e", "chart")


# Other versions of the machine --------------------------------------------------------------------


def region(name, states):
    return {"name": name, "initial": states[0]["name"], "states": states}


REVIEW = next(state for state in CHART["states"] if state["name"] == "review")


def test_a_region_that_a_newer_machine_adds_is_entered_by_default(charts, store, clock, audit):
    send(charts, "e", "begin", "next", "next", "next", "ask")
    third = region("audit", [{"name": "waiting"}, {"name": "seen", "type": "terminal"}])
    newer = with_states([{**REVIEW, "regions": [*REVIEW["regions"], third]}])
    adopted = Orchestrator(newer, store, clock=clock)
    result = adopted.process_event("e", "agree")
    assert (result.source_state, result.target_state) == (
        "asking+open+waiting",
        "asking+agreed+waiting",
    )
    assert store.get_state("e") == "asking+agreed+waiting"
    audit(store, "e", "chart")


@pytest.mark.parametrize("paused", [False, True])
def test_a_leaf_that_a_newer_machine_lacks_is_a_mismatch_only_where_it_is_active(
    charts, store, clock, paused
):
    """What is remembered is taken as far as it goes; where the entity is has to be certain."""
    send(charts, "e", "begin", "next", "next", "next", "agree", "ask")
    states = [{"name": "reading"}, {"name": "cleared", "type": "terminal"}]
    newer = chart_of(
        meta={"machine_name": "chart", "version": "2.0"},
        states=[
            {**state, "regions": [region("legal", states), REVIEW["regions"][1]]}
            if state["name"] == "review"
            else state
            for state in CHART["states"]
        ],
        transitions=[way for way in CHART["transitions"] if way["trigger"] not in {"ask", "clear"}],
    )
    adopted = Orchestrator(newer, store, clock=clock)
    if paused:
        send(charts, "e", "pause")
        assert adopted.process_event("e", "review_again").target_state == "reading+agreed"
        return
    with pytest.raises(MachineVersionMismatchError, match="asking"):
        adopted.process_event("e", "note")
    with pytest.raises(MachineVersionMismatchError, match="asking"):
        adopted.apply_data("e", {"clear": True})
    assert adopted.fire_due() == []
    adopted.force_state("e", "agreed", reason="asking was dropped", actor="ada")
    assert adopted.get_entity("e").state == "reading+agreed"


def test_leaves_that_are_no_longer_in_regions_are_a_mismatch(charts, store, clock):
    send(charts, "e", "begin", "next", "next", "next")
    names = ("reading", "asking", "cleared", "open", "agreed")
    flat = [{"name": "review"}, *({"name": name, "parent": "review"} for name in names)]
    adopted = Orchestrator(with_states(flat), store, clock=clock)
    with pytest.raises(MachineVersionMismatchError, match=r"reading\+open"):
        adopted.process_event("e", "note")


def test_a_timer_of_a_compound_goes_on_where_a_newer_machine_changes_it(
    charts, store, clock, audit
):
    send(charts, "e", "begin")
    start = clock()
    clock.advance(60)
    send(charts, "e", "next")
    work = {
        "name": "work",
        "timeout": {"seconds": 600, "destination": "late"},
        "on_done": "review",
    }
    adopted = Orchestrator(with_states([work]), store, clock=clock)
    adopted.process_event("e", "next").raise_for_error()
    deadlines = [deadline for deadline, _ in adopted.get_entity("e").timers.values()]
    assert deadlines == [start + 600_000_000]
    audit(store, "e", "chart")


def test_a_timer_to_a_history_state_is_carried_over_too(store, clock):
    def version(number, wait):
        return with_states(
            [], [{"source": "paused", "dest": "H*(work)", "after": wait}], version=number
        )

    charts = Orchestrator(version("1.0", "1m"), store, clock=clock)
    send(charts, "e", "begin", "next", "next", "pause")
    start = clock()
    newer = Orchestrator(version("2.0", "2m"), store, clock=clock)
    newer.process_event("e", "note").raise_for_error()
    assert [each[0] for each in newer.get_entity("e").timers.values()] == [start + 120_000_000]
    clock.advance(121)
    assert [result.target_state for result in newer.fire_due()] == ["sew"]


# Beginnings and ends ------------------------------------------------------------------------------

SETUP = {
    "meta": {"machine_name": "chart", "version": "1.0"},
    "initial": "setup",
    "states": [
        {"name": "setup"},
        {"name": "first", "parent": "setup"},
        {"name": "second", "parent": "setup"},
        {
            "name": "open",
            "type": "parallel",
            "regions": [
                {"name": "left", "states": [{"name": "l"}, {"name": "l_end", "type": "terminal"}]},
                {"name": "right", "states": [{"name": "r"}, {"name": "r_end", "type": "terminal"}]},
            ],
        },
    ],
    "transitions": [
        {"auto": True, "source": "first", "dest": "second"},
        {"auto": True, "source": "second", "dest": "open"},
        {"trigger": "back", "source": "open", "dest": "H*(setup)", "guards": ["never"]},
        {"trigger": "end", "source": "l", "dest": "l_end"},
        {"trigger": "end", "source": "r", "dest": "r_end"},
        {"trigger": "note", "source": "l", "internal": True},
    ],
}


@pytest.mark.parametrize("created", [False, True])
def test_what_a_start_leaves_is_remembered(store, audit, created):
    """A compound state may be entered and left before the entity first comes to rest."""
    charts = Orchestrator(StateMachine.from_dict(SETUP), store, guards={"never": lambda _: False})
    if created:
        assert charts.create_entity("e", {"n": 1}).context == {"n": 1}
    assert charts.process_event("e", "note").context == ({"n": 1} if created else {})
    assert charts.get_entity("e").history == {"setup": ["second"]}
    refused = charts.process_event("f", "back")
    assert (refused.reason, refused.source_state, refused.context) == ("guard_rejected", "l+r", {})
    assert charts.get_entity("f") is None
    audit(store, "e", "chart")


def test_an_entity_ends_when_all_its_leaves_do_and_nothing_leads_out(store):
    transitions = [way for way in SETUP["transitions"] if way.get("trigger") in {"end", "note"}]
    machine = StateMachine.from_dict(
        {**SETUP, "initial": "open", "states": SETUP["states"][3:], "transitions": transitions}
    )
    charts = Orchestrator(machine, store)
    assert charts.process_event("e", "end").target_state == "l_end+r_end"
    assert charts.process_event("e", "end").reason == "terminal_state"
    assert charts.apply_data("e", {"n": 1}).target_state == "l_end+r_end"
    assert store.get_context("e") == {"n": 1}

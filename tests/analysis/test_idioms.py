"""What good machines do is never reported: each of these looks like a fault and is none."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pystator.definition.analyse import analyse, everything
from pystator.definition.load import check_file, check_text, load_text
from pystator.definition.model import Send


def said(text, *, notes=False):
    issues = analyse(load_text(text))
    return [issue.code for issue in issues if notes or issue.severity != "info"]


SILENT = {
    "a wildcard behind states that have their own": """
        states: [{name: a, type: initial}, {name: b}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: b}
          - {trigger: stop, source: a, dest: y}
          - {trigger: stop, source: "*", dest: x}
        """,
    "the special case first, then the default": """
        states: [{name: a, type: initial}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: x, guards: [{expr: n > 5}]}
          - {trigger: go, source: a, dest: y}
        """,
    "a life without an end": """
        states: [{name: red, type: initial}, {name: green}]
        transitions: [{after: 5s, source: red, dest: green}, {after: 5s, source: green, dest: red}]
        """,
    "one state that counts": """
        states: [{name: a, type: initial}]
        transitions: [{trigger: hit, source: a, internal: true, actions: [{increment: hits}]}]
        """,
    "a machine that is only begun": """
        states: [{name: a, type: initial}]
        transitions: []
        """,
    "an error state for an operator": """
        states: [{name: a, type: initial}, {name: broken, type: error}, {name: x, type: terminal}]
        transitions: [{trigger: go, source: a, dest: x}, {trigger: fail, source: a, dest: broken}]
        """,
    "a part that rests while the whole is left": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}, {name: b}]}, {name: r2, states: [{name: c}]}]}
          - {name: x, type: terminal}
        transitions: [{trigger: go, source: a, dest: b}, {trigger: stop, source: work, dest: x}]
        """,
    "a part that rests while another region leaves": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}, {name: b}]}, {name: r2, states: [{name: c}]}]}
          - {name: x, type: terminal}
        transitions: [{trigger: go, source: a, dest: b}, {trigger: stop, source: b, dest: x}, {trigger: stop, source: a, dest: x}]
        """,
    "a child that only shallow history enters": """
        states:
          - {name: outer, type: initial}
          - {name: inner, parent: outer}
          - {name: first, parent: inner}
          - {name: second, parent: inner}
          - {name: away}
        transitions:
          - {trigger: go, source: first, dest: second}
          - {trigger: leave, source: outer, dest: away}
          - {trigger: back, source: away, dest: H(outer)}
        """,
    "a default that only shallow history enters": """
        states:
          - {name: start, type: initial}
          - {name: outer}
          - {name: one, parent: outer}
          - {name: inner, parent: outer}
          - {name: first, parent: inner}
          - {name: second, parent: inner}
        transitions:
          - {trigger: in, source: start, dest: second}
          - {trigger: leave, source: outer, dest: start}
          - {trigger: leave, source: first, dest: one}
          - {trigger: back, source: start, dest: H(outer)}
        """,
    "a way back from a state that is entered as the state around it is left": """
        states:
          - {name: start, type: initial}
          - {name: outer}
          - {name: first, parent: outer}
          - {name: second, parent: outer}
          - {name: stopped, parent: outer}
        transitions:
          - {trigger: in, source: start, dest: outer}
          - {trigger: go, source: first, dest: second}
          - {trigger: leave, source: outer, dest: start}
          - {trigger: stop, source: outer, dest: stopped}
          - {trigger: back, source: stopped, dest: H(outer)}
        """,
    "a first state that goes on where it was": """
        states:
          - {name: start, type: initial}
          - {name: outer}
          - {name: greeting, parent: outer}
          - {name: first, parent: outer}
        transitions:
          - {trigger: in, source: start, dest: outer}
          - {trigger: go, source: greeting, dest: first}
          - {trigger: go_on, source: greeting, dest: H(outer)}
          - {trigger: leave, source: outer, dest: start}
        """,
    "an end that only history leads to": """
        states:
          - {name: start, type: initial}
          - {name: outer}
          - {name: idle, parent: outer}
          - {name: busy, parent: outer}
          - {name: paused}
          - {name: x, type: terminal}
        transitions:
          - {trigger: begin, source: start, dest: busy}
          - {trigger: pause, source: outer, dest: paused}
          - {trigger: back, source: paused, dest: H(outer)}
          - {trigger: finish, source: busy, dest: x}
        """,
    "an inner state that stays, and keeps the state around it from acting": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [outer]}, {name: r2, states: [{name: d}]}]}
          - {name: outer}
          - {name: c1, parent: outer}
          - {name: c2, parent: outer}
          - {name: x, type: terminal}
        transitions:
          - {trigger: go, source: c1, dest: c2}
          - {trigger: stop, source: c1, internal: true}
          - {trigger: stop, source: outer, dest: outer}
          - {trigger: stop, source: work, dest: x}
        """,
    "a loop that counts itself out": """
        states: [{name: a, type: initial}, {name: x, type: terminal}]
        transitions:
          - {auto: true, source: a, dest: x, guards: [{expr: n >= 3}]}
          - {auto: true, source: a, internal: true, guards: [{expr: "coalesce(n, 0) < 3"}], actions: [{increment: n}]}
        """,
    "a loop that a registered guard ends": """
        states: [{name: a, type: initial}, {name: b}, {name: x, type: terminal}]
        transitions:
          - {auto: true, source: a, dest: b, guards: [is_odd]}
          - {auto: true, source: b, dest: a, guards: [{not: is_odd}]}
          - {trigger: stop, source: [a, b], dest: x}
        """,
    "a loop that another region ends": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: c}]}, {name: r2, states: [{name: a}, {name: b}]}]}
          - {name: x, type: terminal}
        transitions:
          - {auto: true, source: a, dest: b}
          - {auto: true, source: b, dest: a}
          - {auto: true, source: c, dest: x}
        """,
    "an event that another region hears": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}, {name: b, type: terminal}]}, {name: r2, states: [{name: c}, {name: d, type: terminal}]}], on_done: x}
          - {name: x, type: terminal}
        transitions: [{trigger: go, source: a, dest: b, actions: [{raise: gone}]}, {trigger: gone, source: c, dest: d}]
        """,
    "an event raised on the way to the state that takes it": """
        states: [{name: a, type: initial, on_exit: [{raise: left}]}, {name: b, on_enter: [{raise: came}]}, {name: c}, {name: d}, {name: x, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: b}
          - {auto: true, source: b, dest: c}
          - {trigger: left, source: c, dest: d}
          - {trigger: came, source: d, dest: x}
        """,
    "a choice of a guard and its opposite": """
        states: [{name: a, type: initial}, {name: c, type: choice}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: c}
          - {source: c, dest: x, guards: [is_large]}
          - {source: c, dest: y, guards: [{not: is_large}]}
        """,
    "a choice of whole numbers": """
        state_variables: [{key: n, type: number, default: 0}]
        states: [{name: a, type: initial}, {name: c, type: choice}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: c}
          - {source: c, dest: x, guards: [{expr: n <= 0}]}
          - {source: c, dest: y, guards: [{expr: n >= 1}]}
        """,
    "a choice about a field that must be there": """
        meta: {validate_context: true}
        state_variables: [{key: n, type: number, required: true}]
        states: [{name: a, type: initial}, {name: c, type: choice}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: c}
          - {source: c, dest: x, guards: [{expr: n < 1}]}
          - {source: c, dest: y, guards: [{expr: n >= 1}]}
        """,
    "a choice that an invariant closes": """
        meta: {validate_context: true}
        context_invariants: [{expr: "kind in ['a', 'b']"}]
        states: [{name: a, type: initial}, {name: c, type: choice}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: c}
          - {source: c, dest: x, guards: [{expr: kind == 'a'}]}
          - {source: c, dest: y, guards: [{expr: kind == 'b'}]}
        """,
    "a longer timer behind one that may not be taken": """
        states: [{name: a, type: initial}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {after: 5s, source: a, dest: x, guards: [is_late]}
          - {after: 10s, source: a, dest: y}
        """,
    "a longer timer behind one that stays": """
        states: [{name: a, type: initial}, {name: y, type: terminal}]
        transitions:
          - {after: 5s, source: a, internal: true, actions: [remind]}
          - {after: 10s, source: a, dest: y}
        """,
    "an inner state that takes what the outer takes, too": """
        states: [{name: a, type: initial}, {name: b, parent: a}, {name: c, parent: a}, {name: x, type: terminal}]
        transitions:
          - {trigger: go, source: b, dest: c}
          - {trigger: stop, source: b, dest: c}
          - {trigger: stop, source: a, dest: x}
        """,
    "an inner state that takes it and stays, in one region": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}]}, {name: r2, states: [{name: b}]}]}
          - {name: x, type: terminal}
        transitions:
          - {trigger: stop, source: a, internal: true, actions: [{increment: stops}]}
          - {trigger: stop, source: work, dest: x}
        """,
    "an inner state that would act first, and gives way to another region": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}, {name: b}]}, {name: r2, states: [inner]}]}
          - {name: inner, type: parallel, regions: [{name: q1, states: [{name: c}]}, {name: q2, states: [{name: d}]}]}
          - {name: x, type: terminal}
        transitions:
          - {trigger: stop, source: a, dest: b}
          - {trigger: stop, source: b, dest: a}
          - {trigger: stop, source: c, dest: x}
          - {trigger: stop, source: inner, dest: inner}
        """,
    "a guard about another region": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}, {name: b, type: terminal}]}, {name: r2, states: [{name: c}, {name: d, type: terminal}]}], on_done: x}
          - {name: x, type: terminal}
        transitions: [{trigger: go, source: a, dest: b, guards: [{in_state: d}]}, {trigger: go, source: c, dest: d}]
        """,
    "a way that data takes where the event has another": """
        meta: {classification: {auto_route: true}}
        states: [{name: a, type: initial}, {name: x, type: terminal}, {name: y, type: terminal, when: {expr: n > 5}}]
        transitions: [{trigger: go, source: a, dest: x}, {trigger: go, source: a, dest: y}]
        """,
    "a state to fall back to": """
        meta: {orchestrator_default_fallback: persist}
        error_policy: {default_fallback: broken}
        states: [{name: a, type: initial}, {name: b}, {name: broken, type: error}]
        transitions: [{trigger: go, source: a, dest: b}]
        """,
    "an end that is undone by what it raises": """
        states:
          - {name: job, type: initial, on_done: x}
          - {name: open, parent: job}
          - {name: half, parent: job}
          - {name: ended, parent: job, type: terminal, on_enter: [{raise: again}]}
          - {name: x, type: terminal}
        transitions:
          - {trigger: go, source: open, dest: ended}
          - {trigger: again, source: job, dest: half, internal: true}
        """,
    "an event of the caller's own for a region that is done": """
        initial: work
        states:
          - {name: work, type: parallel, regions: [{name: r1, states: [{name: a}, {name: b, type: terminal}]}, {name: r2, states: [{name: c}]}]}
          - {name: x, type: terminal}
        transitions: [{trigger: go, source: a, dest: b}, {trigger: done.state.r1, source: work, dest: x}]
        """,
    "numbers with a hole on purpose": """
        states: [{name: a, type: initial}, {name: x, type: terminal}, {name: y, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: x, guards: [{expr: n < 5}]}
          - {trigger: go, source: a, dest: y, guards: [{expr: n > 10}]}
        """,
}


ROOT = Path(__file__).parents[2]
GOOD = [*(ROOT / "examples").glob("*.yaml"), *(ROOT / "tests/definition/good").glob("*.yaml")]


@pytest.mark.parametrize("file", sorted(GOOD), ids=lambda file: file.stem)
def test_the_machines_that_we_show_are_silent(file):
    """With notes and all."""
    definition, issues = check_file(file)
    assert [str(issue) for issue in everything(definition, issues)] == []


PAGES = [page for page in (ROOT / "docs").glob("*.md") if page.stem != "check"]
MACHINE = re.compile(
    r"^```ya?ml\n(?P<text>(?:(?!```).*\n)*?states:\n(?:(?!```).*\n)*)```$", re.MULTILINE
)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(PAGES)], ids=lambda page: page.stem)
def test_the_machines_on_our_pages_are_silent(page):
    """Whoever copies one can check it."""
    for found in MACHINE.finditer(page.read_text(encoding="utf-8")):
        issues = everything(*check_text(found["text"]))
        assert [str(issue) for issue in issues if issue.severity != "info"] == []


@pytest.mark.parametrize("name", SILENT)
def test_a_good_machine_is_silent(name):
    assert said(SILENT[name]) == []


def test_an_event_sent_to_the_machine_itself_must_be_taken():
    """To another machine, it is not ours to judge."""
    definition = load_text(SILENT["a life without an end"])

    def with_send(machine):
        send = Send("ping", None, machine, 0, {})
        node = definition.root.children[0]
        node.on_enter = ((send,),)
        return [issue.code for issue in analyse(definition)]

    assert with_send(None) == ["unheard"]
    assert with_send(definition.name) == ["unheard"]
    assert with_send("another") == []
    normal = replace(definition, normalizer="lower", transitions=definition.transitions)
    assert [issue.code for issue in analyse(normal)] == []


def test_an_event_raised_for_a_state_that_was_just_left_is_not_heard():
    """It would have to be active then, and it is not."""
    text = """
        states: [{name: a, type: initial}, {name: b, on_exit: [{raise: over}]}, {name: x, type: terminal}]
        transitions:
          - {trigger: go, source: a, dest: b, actions: [{raise: begin}]}
          - {trigger: begin, source: a, internal: true}
          - {trigger: over, source: b, dest: x}
          - {trigger: back, source: b, dest: a}
        """
    assert said(text) == ["unheard", "unheard"]


def test_a_timer_may_fire_where_the_one_before_it_may_fail():
    """An event that fails changes nothing: the entity is still there when the next timer is due."""
    text = """
        states: [{name: a, type: initial}, {name: c, type: choice}, {name: x, type: terminal}]
        transitions:
          - {after: 5s, source: a, dest: c}
          - {source: c, dest: x, guards: [is_ready]}
          - {after: 10s, source: a, dest: x}
        """
    assert said(text) == ["choice_open"]
    sure = text.replace(", guards: [is_ready]", "").replace("dest: c}", "dest: x}", 1)
    assert "never_fires" in said(sure)
    unsure = sure.replace("dest: x}", "dest: x, actions: [{compute: {n: n + 1}}]}", 1)
    assert "never_fires" not in said(unsure)


def test_a_note_is_no_warning():
    """It is there on demand."""
    assert said(SILENT["numbers with a hole on purpose"], notes=True) == ["gap"]
    assert said(SILENT["an error state for an operator"], notes=True) == ["trap"]

"""A fingerprint tells whether two texts mean the same machine."""

from pathlib import Path

import pytest

from pystator.definition.load import load_file, load_text

BASE = """
meta: {machine_name: order, version: "1"}
states:
  - {name: open, type: initial}
  - {name: paid}
  - {name: closed, type: terminal}
transitions:
  - {trigger: pay, source: [open, paid], dest: paid, guards: [{expr: qty > 1}], actions: [notify, {set: {a: 1, b: 2}}]}
  - {after: 5s, source: paid, dest: closed}
"""

SAME = {
    "layout": BASE.replace("{trigger: pay, source", "{ # comment\n     trigger: pay, source"),
    "order of keys": BASE.replace("trigger: pay, source: [open, paid]", "source: [open, paid], trigger: pay"),
    "name and version": BASE.replace('order, version: "1"', 'orders, version: "2"'),
    "descriptions": BASE.replace("{name: paid}", "{name: paid, description: Money came, metadata: {a: 1}}"),
    "default type": BASE.replace("{name: paid}", "{name: paid, type: stable}"),
    "unit of a duration": BASE.replace("5s", "5000"),
    "form of an action": BASE.replace("notify", "{name: notify}"),
    "a source at a time": BASE.replace(
        "  - {trigger: pay, source: [open, paid], dest: paid, guards: [{expr: qty > 1}], actions: [notify, {set: {a: 1, b: 2}}]}",
        "  - {trigger: pay, source: open, dest: paid, guards: [{expr: qty > 1}], actions: [notify, {set: {a: 1}}, {set: {b: 2}}]}\n"
        "  - {trigger: pay, source: paid, dest: paid, guards: [{expr: qty > 1}], actions: [notify, {set: {a: 1, b: 2}}]}",
    ),
    "documentation": BASE + "events: [{name: pay}]\ngroups: {a: {}}\n",
    "own keys of meta": BASE.replace("meta: {", "meta: {team: sales, "),
    "initial at the top": "initial: open\n" + BASE.replace(", type: initial", ""),
}  # fmt: skip

OTHER = {
    "a trigger": BASE.replace("trigger: pay", "trigger: payed"),
    "a guard": BASE.replace("qty > 1", "qty > 2"),
    "a value": BASE.replace("a: 1", "a: 2"),
    "a type of value": BASE.replace("a: 1", "a: 1.5"),
    "a time": BASE.replace("5s", "6s"),
    "a state": BASE.replace("{name: paid}", "{name: paid}\n  - {name: more}"),
    "order of states": BASE.replace("  - {name: paid}\n", "").replace("states:\n", "states:\n  - {name: paid}\n"),
    "order of actions": BASE.replace("notify, {set: {a: 1, b: 2}}", "{set: {a: 1, b: 2}}, notify"),
    "a mode": BASE.replace("meta: {", "meta: {strict_mode: false, "),
    "a variable": BASE + "state_variables: [{key: a, default: 1}]\n",
    "an invariant": BASE + "context_invariants: [sane]\n",
    "internal": BASE + "  - {trigger: pay, source: open, internal: true}\n",
    "an entry action": BASE.replace("{name: paid}", "{name: paid, on_enter: [x]}"),
    "an exit action": BASE.replace("{name: paid}", "{name: paid, on_exit: [x]}"),
    "the kind of a state": BASE.replace("{name: paid}", "{name: paid, type: error}"),
    "a timeout": BASE.replace("{name: paid}", "{name: paid, timeout: {seconds: 1, destination: closed}}"),
}  # fmt: skip


@pytest.mark.parametrize("change", SAME)
def test_what_means_the_same_has_the_same_fingerprint(change):
    """A reformatted file is not a new machine."""
    assert load_text(BASE).fingerprint == load_text(SAME[change]).fingerprint
    assert SAME[change] != BASE


@pytest.mark.parametrize("change", OTHER)
def test_what_means_something_else_has_another_fingerprint(change):
    """A change that was not meant is noticed when the machine is stored under its old version."""
    assert load_text(BASE).fingerprint != load_text(OTHER[change]).fingerprint


def test_a_fingerprint_does_not_change_with_our_releases():
    """It is stored with entities: this one may only change with the meaning of machines."""
    assert load_text(BASE).fingerprint == "7f5d35855cec1fcc694e4ec9b59a5104"


FLAT = {
    "loan_application": ("a5ebf9fcad956d272e1f2df08abbfe69", []),
    "order": ("4933568d4e787db388030439bfa2f836", ["delivered:after:1209600000:closed", "placed:after:259200000:expired"]),
    "payment": ("9dff2cf87da7967b4b1a3b276874810d", ["authorized:after:604800000:voided"]),
    "subscription": ("f901f3a2c7f33e163a7736b728ee9668", ["ending:after:2592000000:ended", "trial:after:1209600000:lapsed"]),
    "traffic_light": ("9c27d5142c7a16aa1184a00040b333dc", ["red:after:30000:green", "green:after:25000:yellow", "yellow:after:5000:red"]),
    "turnstile": ("1c14e720e1670db0d1f8f967df63a87f", []),
    "everything": ("2ccef86d952d40b9d7e2552977664498", ["paid:after:3600000:closed", "paid:after:3600000:closed:2", "paid:at:broken", "reminder", "open:after:500:broken"]),
    "minimal": ("ab26b5bb7b135afb2f3d4adfa6c9b133", []),
}  # fmt: skip
"""Fingerprints and timers of machines that were stored before a machine could be anything but flat."""


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_machine_is_what_it_was_before_there_were_statecharts(name):
    """Entities and armed timers of these versions are in databases: they must be found again."""
    definition = load_file(Path(__file__).parent / "flat" / f"{name}.yaml")
    timers = [one.timer.id for one in definition.transitions if one.timer]
    assert FLAT[name] == (definition.fingerprint, timers)


NESTED = """
meta: {machine_name: order}
states:
  - {name: open, type: initial, on_done: closed}
  - {name: new, parent: open}
  - {name: old, parent: open, type: terminal}
  - {name: both, type: parallel, regions: [{name: left, states: [a, b]}, {name: right, states: [{name: c}]}]}
  - {name: a}
  - {name: b}
  - {name: closed, type: terminal}
transitions:
  - {trigger: go, source: open, dest: [a, c]}
  - {trigger: back, source: both, dest: H(open)}
  - {trigger: step, source: a, dest: b}
"""

NESTED_SAME = {
    "how a region has its states": NESTED.replace("states: [{name: c}]", "states: [c]").replace("  - {name: b}\n", "  - {name: b}\n  - {name: c}\n"),
    "listed or by parent": NESTED.replace("states: [a, b]", "states: [a]").replace("{name: b}", "{name: b, parent: left}"),
    "a default that is said": NESTED.replace("initial, on_done", "initial, initial_child: new, on_done"),
    "a mark for a default": NESTED.replace("{name: a}", "{name: a, type: initial}"),
    "the asserted region": NESTED.replace("source: a, dest: b", "source: a, dest: b, region: left"),
    "form of on_done": NESTED.replace("on_done: closed", "on_done: [{dest: closed, description: Ready}]"),
    "descriptions of regions": NESTED.replace("{name: left,", "{name: left, description: The left,"),
}  # fmt: skip

NESTED_OTHER = {
    "a parent": NESTED.replace("{name: new, parent: open}", "{name: new, parent: old}").replace("parent: open, type: terminal", "parent: open"),
    "a default": NESTED.replace("initial, on_done", "initial, initial_child: old, on_done"),
    "a default by mark": NESTED.replace("{name: b}", "{name: b, type: initial}"),
    "order in a region": NESTED.replace("[a, b]", "[b, a]"),
    "name of a region": NESTED.replace("name: left", "name: near"),
    "another region": NESTED.replace("[a, b]", "[a]").replace("[{name: c}]", "[{name: c}, b]"),
    "depth of history": NESTED.replace("H(open)", "H*(open)"),
    "history or default": NESTED.replace("H(open)", "open"),
    "one target or two": NESTED.replace("[a, c]", "[a]"),
    "on_done": NESTED.replace(", on_done: closed", ""),
    "where on_done leads": NESTED.replace("on_done: closed", "on_done: both"),
    "guards of on_done": NESTED.replace("on_done: closed", "on_done: {dest: closed, guards: [ok]}"),
    "who may send the event": NESTED.replace(", on_done: closed", "") + "  - {trigger: done.state.open, source: open, dest: closed}\n",
    "routing": NESTED.replace("{name: b}", "{name: b, when: is_b}"),
    "the guards of routing": NESTED.replace("{name: b}", "{name: b, when: is_a}"),
    "when it routes": NESTED.replace("order}", "order, classification: {auto_route: true}}"),
    "a start in regions": "initial: [a, c]\n" + NESTED.replace("type: initial, ", ""),
}  # fmt: skip


@pytest.mark.parametrize("change", NESTED_SAME)
def test_nested_machines_that_mean_the_same(change):
    """Structure counts, not how it is written."""
    assert NESTED_SAME[change] != NESTED
    assert load_text(NESTED).fingerprint == load_text(NESTED_SAME[change]).fingerprint


def test_nested_machines_that_mean_something_else():
    """Each change shows, and no two changes look alike."""
    prints = {change: load_text(text).fingerprint for change, text in NESTED_OTHER.items()}
    prints["none"] = load_text(NESTED).fingerprint
    assert len(prints) == len(set(prints.values()))


def test_a_guard_of_routing_is_the_list_of_it():
    """`when: x` is `when: [x]`."""
    one = NESTED.replace("{name: b}", "{name: b, when: is_b}")
    assert load_text(one).fingerprint == load_text(one.replace("is_b", "[is_b]")).fingerprint

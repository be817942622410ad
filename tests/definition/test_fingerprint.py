"""A fingerprint tells whether two texts mean the same machine."""

import pytest

from pystator.definition.load import load_text

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

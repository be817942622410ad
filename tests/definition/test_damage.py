"""Whatever is taken out of a machine or put into it, the answer is a machine or its mistakes."""

import copy
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pystator.definition.load import check_config
from pystator.definition.text import read

WHOLE = read((Path(__file__).parent / "good" / "statechart.yaml").read_text(encoding="utf-8")).data


def places(value, path=()):
    """The paths of everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


PLACES = list(places(WHOLE))
GONE = object()
NAMES = st.sampled_from(
    ["fulfil", "goods", "payment", "packing", "folding", "left", "taping", "taped", "tax", "vat", "v1", "closed",
     "which", "nobody", "*", "H(goods)", "H*(fulfil)", "H(left)", "H()", "initial", "terminal", "parallel", "choice",
     "done.state.goods"]
)  # fmt: skip
VALUES = (
    st.just(GONE)
    | NAMES
    | st.lists(NAMES, max_size=3)
    | st.sampled_from([None, True, 7, {}, [], {"name": "taped"}, {"expr": "a"}, [{"name": "fresh"}], [{}]])
)  # fmt: skip


def change(machine, path, value):
    """Put a value at a place, or take out what is there; nothing if the place is gone."""
    for step in path[:-1]:
        try:
            machine = machine[step]
        except (LookupError, TypeError):
            return
    if not isinstance(machine, dict | list) or (
        isinstance(machine, dict) != isinstance(path[-1], str)
    ):
        return
    if isinstance(machine, list) and path[-1] >= len(machine):
        return
    if value is not GONE:
        machine[path[-1]] = value
    elif isinstance(machine, dict):
        machine.pop(path[-1], None)
    else:
        del machine[path[-1]]


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_no_change_breaks_lowering(changes):
    """What is not whole is judged as far as it can be, and never crashed on."""
    machine = copy.deepcopy(WHOLE)
    for path, value in changes:
        change(machine, path, copy.deepcopy(value) if value is not GONE else GONE)

    definition, issues = check_config(machine)

    assert (definition is None) == any(issue.severity == "error" for issue in issues)
    if definition is not None:
        assert [node.name for node in definition.nodes.values()] == list(definition.nodes)
        for node in definition.nodes.values():
            assert all(child.parent == node.name for child in node.children)
            assert all(target.name in definition.nodes for target in node.initial)
        for transition in definition.transitions:
            assert transition in definition.nodes[transition.source].transitions
            assert all(target.name in definition.nodes for target in transition.targets)

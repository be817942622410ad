"""A machine comes from a file, a text or plain data, and is the same from each."""

import json
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystator.definition.load import check_config, check_text, load_config, load_file, load_text
from pystator.definition.text import read
from pystator.definition.validate import validate_config
from pystator.errors import ConfigurationError

GOOD = sorted((Path(__file__).parent / "good").glob("*.yaml"))


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_good_machines_load_without_a_word(file):
    """A right machine gets no warnings: they would be learned to be ignored."""
    assert check_text(file.read_text(encoding="utf-8"))[1] == []


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_file_text_data_and_json_give_the_same_machine(file):
    """Where a machine is kept does not change it."""
    text = file.read_text(encoding="utf-8")
    data = read(text).data
    one = load_file(file).fingerprint
    assert one == load_text(text).fingerprint
    assert one == load_config(data).fingerprint
    assert one == load_text(json.dumps(data)).fingerprint


def test_states_and_transitions_know_where_they_stand():
    """Diagrams and later checks point into the file."""
    text = "states:\n  - name: a\n    type: initial\n  - {name: b}\ntransitions:\n- {trigger: t, source: a, dest: b}\n"
    definition = load_text(text)
    places = [(node.position.line, node.position.column) for node in definition.root.children]
    assert places == [(2, 5), (4, 5)]
    assert (
        definition.transitions[0].position.line,
        definition.transitions[0].position.column,
    ) == (6, 3)


def test_data_is_copied():
    """Changing the data afterwards does not change the machine."""
    data = {"states": [{"name": "a", "type": "initial", "metadata": {"x": [1]}}], "transitions": []}
    definition = load_config(data)
    data["states"][0]["metadata"]["x"].append(2)
    assert definition.nodes["a"].metadata == {"x": [1]}


class Names(StrEnum):
    A = "a"


def test_tuples_and_string_enums_are_as_good_as_lists_and_text():
    """Machines built in Python use what Python offers."""
    definition = load_config({"states": ({"name": Names.A, "type": "initial"},), "transitions": ()})
    assert type(next(iter(definition.nodes))) is str


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", float("nan"), float("inf"), "\ud800", "a\0b", {1: 2}, len],
    ids=["object", "set", "bytes", "nan", "inf", "surrogate", "nul", "integer key", "function"],
)
def test_what_is_not_plain_data_is_refused(value):
    """A machine must be storable as JSON, on every database."""
    config = {
        "meta": {"mine": value},
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [],
    }
    with pytest.raises(ConfigurationError, match=r"meta\.mine"):
        load_config(config)


def test_data_that_contains_itself_is_refused():
    """It would never end."""
    loop = []
    loop.append(loop)
    with pytest.raises(ConfigurationError, match="nested deeper"):
        load_config({"meta": {"loop": loop}, "states": [], "transitions": []})


def test_mistakes_in_data_are_placed_by_path():
    """There is no line to point at."""
    config = {
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [{"trigger": "t", "source": "a", "dest": "b"}],
    }
    with pytest.raises(
        ConfigurationError, match=r"^transitions\[0\]\.dest: unknown destination 'b'$"
    ):
        load_config(config)


@pytest.mark.parametrize(
    ("make", "said"),
    [(lambda path: None, "no such file"), (Path.mkdir, "is a directory")],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path, make, said):
    """No traceback is a user's answer."""
    path = tmp_path / "order.yaml"
    make(path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_file(path)
    assert str(path) in caught.value.message


def test_an_error_can_be_sent_as_plain_data():
    """The HTTP face answers with it."""
    with pytest.raises(ConfigurationError) as caught:
        load_text("states: []\ntransitions: []\n", file="order.yaml")
    issue = json.loads(json.dumps(caught.value.to_dict()))["context"]["issues"][0]
    assert issue["file"] == "order.yaml"
    assert (
        issue["line"],
        issue["column"],
        issue["code"],
        issue["severity"],
    ) == (1, 9, "empty", "error")


def test_validate_config_lists_mistakes_and_on_demand_warnings():
    """The list is empty exactly when the machine loads."""
    config = {
        "meta": {"strict_mod": True},
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [],
    }
    assert validate_config(config) == []
    assert len(validate_config(config, strict=True)) == 1
    assert validate_config({}) == ["a machine needs 'states'", "a machine needs 'transitions'"]
    assert validate_config("states: [{name: a, type: initial}]\ntransitions: []") == []
    assert validate_config([]) == [
        "a machine is a mapping with 'states' and 'transitions', not a list"
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.text("aH*_(){}.<'", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "type",
                    "source",
                    "dest",
                    "trigger",
                    "guards",
                    "actions",
                    "expr",
                    "check",
                    "field",
                    "op",
                    "value",
                    "values",
                    "allOf",
                    "anyOf",
                    "not",
                    "set",
                    "increment",
                    "branch",
                    "when",
                    "then",
                    "else",
                    "raise",
                    "after",
                    "at",
                    "id",
                    "auto",
                    "internal",
                    "states",
                    "transitions",
                    "meta",
                    "initial",
                    "groups",
                    "group",
                    "events",
                    "timeout",
                    "seconds",
                    "destination",
                    "params",
                    "compute",
                    "context_invariants",
                    "<text>",
                    "<x>",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(VALUES, VALUES, VALUES)
def test_no_data_breaks_the_checks(states, transitions, more):
    """Any shape gets an answer: a machine, or issues that name real places."""
    good = {"name": "a", "type": "initial"}
    config = {
        "states": [good, *states] if isinstance(states, list) else states,
        "transitions": [
            {"trigger": "t", "source": "a", "dest": "a", "guards": more, "actions": transitions}
        ],
        "context_invariants": more,
    }
    for candidate in (states, config, {**config, "transitions": transitions}):
        definition, issues = check_config(candidate)
        assert definition is not None or issues


def test_very_many_warnings_leave_room_for_the_mistake():
    """What keeps a machine from loading is always said, however much else there is to say."""
    effects = [{"set": {f"x{n}": {"expr": "y"}}} for n in range(2_000)]
    config = {
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [
            {"trigger": "t", "source": "a", "dest": "a", "actions": effects},
            {"trigger": "u", "source": "a", "dest": "nowhere"},
        ],
    }
    definition, issues = check_config(config)
    assert definition is None
    assert len(issues) == 500
    assert [issue.path for issue in issues if issue.severity == "error"] == [
        ("transitions", 1, "dest")
    ]

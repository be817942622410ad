"""Texts of structured columns, and patches: what a change did, so that a replay gives the context."""

from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given, settings

from pystator.errors import InvalidValueError
from pystator.stores import columns
from pystator.testing.stateful import contexts


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, None),
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, ({"a": 2}, ())),
        ({"a": 1, "b": 2}, {"b": 2}, ({}, ("a",))),
        ({"a": 1}, {"a": True}, ({"a": True}, ())),
        ({"a": 1}, {"a": 1.0}, ({"a": 1.0}, ())),
        ({"a": [1]}, {"a": [True]}, ({"a": [True]}, ())),
        ({"a": [1]}, {"a": [1]}, None),
        ({"a": 0.0}, {"a": -0.0}, ({"a": -0.0}, ())),
        ({"a": Decimal("1.1")}, {"a": Decimal("1.10")}, ({"a": Decimal("1.10")}, ())),
        ({"a": None}, {}, ({}, ("a",))),
        ({}, {"a": None}, ({"a": None}, ())),
    ],
)
def test_a_patch_is_what_changed_in_the_eyes_of_a_store(before, after, patch):
    """Equal is not the same: a replay that turned True into 1 would not give the context."""
    assert ascii(columns.make_patch(before, after)) == ascii(patch)
    assert ascii(columns.apply_patch(before, patch)) == ascii(after)


@given(contexts, contexts)
@settings(max_examples=200, deadline=None)
def test_a_patch_applied_gives_the_context(before, after):
    patch = columns.make_patch(before, after)
    stored = columns.decode_patch(columns.encode_patch(patch))
    for each in (patch, stored):
        replayed = columns.apply_patch(before, each)
        assert replayed == after
        assert columns.make_patch(replayed, after) is None


def test_applying_shares_nothing_with_the_patch():
    patch = ({"a": {"b": []}}, ())
    columns.apply_patch({}, patch)["a"]["b"].append(1)
    assert patch == ({"a": {"b": []}}, ())


def test_nothing_is_null_and_comes_back_as_nothing():
    assert columns.encode_payload(None) is columns.decode_payload(None) is None
    assert columns.encode_patch(None) is columns.decode_patch(None) is None
    assert columns.encode_actions(()) is None
    assert columns.decode_actions(None) == ()
    assert columns.encode_timers({}) is None
    assert columns.decode_timers(None) == {}
    assert columns.encode_history({}) is columns.encode_history(None) is None
    assert columns.decode_history(None) is None
    assert columns.next_due({}) is None


def test_structured_values_come_back():
    actions = (
        {"name": "mail", "params": {"price": Decimal("1.10")}},
        MappingProxyType({"name": "log"}),
    )
    assert columns.decode_actions(columns.encode_actions(actions)) == tuple(map(dict, actions))
    timers = {"open:after:5000:shut": (2**55, 7), "t": (-5, 1)}
    assert columns.decode_timers(columns.encode_timers(timers)) == timers
    assert columns.next_due(timers) == -5
    history = {"parent": ["left", "right"]}
    assert columns.decode_history(columns.encode_history(history)) == history
    payload = MappingProxyType({"qty": 1})
    assert columns.decode_payload(columns.encode_payload(payload)) == {"qty": 1}
    assert columns.encode_payload({}) == "{}"


def test_a_refusal_names_the_column():
    for encode, value, path in (
        (columns.encode_payload, {"x": {1}}, "payload.x"),
        (columns.encode_patch, ({"x": {1}}, ()), "context_patch.x"),
        (columns.encode_actions, ({"params": (1,)},), "actions[0].params"),
    ):
        with pytest.raises(InvalidValueError) as caught:
            encode(value)
        assert caught.value.context["path"] == path

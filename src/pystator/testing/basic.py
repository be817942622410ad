"""The three methods, on any store: what the specification asks of a user's own."""

from typing import Any

import pytest

from pystator.testing.drivers import Driver, StoreTests

__all__ = ["BasicContract"]

IDS = ["order-123", "with space", "a/b?c=d&e%20f", "{x}:y", "Zażółć", "😀", "x" * 255, "A", "a"]


class BasicContract(StoreTests):
    """``get_state``, ``set_state`` and ``get_context``, or their ``a``-twins."""

    def test_an_unknown_entity_has_no_state_and_an_empty_context(self, drive: Driver) -> None:
        assert drive.get_state("nobody") is None
        assert drive.get_context("nobody") == {}

    def test_a_state_that_was_set_is_got(self, drive: Driver) -> None:
        drive.set_state("e", "open")
        assert drive.get_state("e") == "open"
        drive.set_state("e", "left_1+right_2", metadata=None)
        assert drive.get_state("e") == "left_1+right_2"

    def test_a_context_is_kept_with_the_state(self, drive: Driver) -> None:
        context = {"fill_qty": 100, "price": 50.25}
        drive.set_state("e", "open", metadata={"context": context, "trigger": "fill"})
        assert drive.get_context("e") == {"fill_qty": 100, "price": 50.25}

    def test_a_new_context_replaces_the_old_one(self, drive: Driver) -> None:
        """The context in the metadata is whole: what is not in it is gone."""
        drive.set_state("e", "open", metadata={"context": {"a": 1, "b": 2}})
        drive.set_state("e", "open", metadata={"context": {"b": 3}})
        assert drive.get_context("e") == {"b": 3}
        drive.set_state("e", "open", metadata={"context": {}})
        assert drive.get_context("e") == {}

    def test_without_a_context_the_stored_one_stays(self, drive: Driver) -> None:
        drive.set_state("e", "open", metadata={"context": {"a": 1}})
        drive.set_state("e", "closed")
        drive.set_state("e", "shut", metadata={"trigger": "shut"})
        assert (drive.get_state("e"), drive.get_context("e")) == ("shut", {"a": 1})

    def test_entities_are_apart(self, drive: Driver) -> None:
        for index, entity_id in enumerate(IDS):
            drive.set_state(entity_id, f"s{index}", metadata={"context": {"index": index}})
        for index, entity_id in enumerate(IDS):
            assert drive.get_state(entity_id) == f"s{index}"
            assert drive.get_context(entity_id) == {"index": index}

    @pytest.mark.parametrize(
        "value",
        [None, True, False, 0, -1, 2**53 + 1, 0.1, "", "ключ\n\x00", [], {}, [1, [2, {"x": None}]]],
    )
    def test_plain_values_come_back_as_they_were(self, drive: Driver, value: Any) -> None:
        drive.set_state("e", "open", metadata={"context": {"value": value}})
        stored = drive.get_context("e")["value"]
        assert stored == value
        assert type(stored) is type(value)

    def test_what_the_caller_does_to_its_context_later_is_not_seen(self, drive: Driver) -> None:
        """A store that keeps a reference would change without a write, and without a history."""
        given: dict[str, Any] = {"items": [1], "nested": {"a": 1}}
        drive.set_state("e", "open", metadata={"context": given})
        given["items"] = []
        given["nested"]["a"] = 2
        got = drive.get_context("e")
        assert got == {"items": [1], "nested": {"a": 1}}
        got["items"].append(2)
        got["nested"]["a"] = 3
        assert drive.get_context("e") == {"items": [1], "nested": {"a": 1}}

    def test_ten_thousand_characters_fit(self, drive: Driver) -> None:
        drive.set_state("e", "open", metadata={"context": {"text": "ä" * 10_000}})
        assert drive.get_context("e") == {"text": "ä" * 10_000}

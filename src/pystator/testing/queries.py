"""Queries: entities in key order, by state and machine, and counts."""

from typing import Any

import pytest

from pystator.errors import InvalidValueError
from pystator.testing.building import applied, change
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["QueriesContract"]


class QueriesContract(StoreTests):
    """``entities``, ``list_entities`` and ``count_by_state``."""

    def test_entities_are_in_the_order_of_their_keys(self, drive: Driver) -> None:
        """By code point, on every store: an order that depended on a locale could not be paged."""
        keys = [("Z", "m"), ("a", "b"), ("a", "m"), ("a ", "m"), ("é", "m"), ("\uffff", "m")]
        keys.append(("😀", "m"))
        applied(drive, *[change(key[0], machine=key[1]) for key in reversed(keys)])
        assert [entity.key for entity in drive.entities().items] == keys
        assert [entity.key for entity in drive.list_entities()] == keys
        assert [entity.key for entity in drive.list_entities(limit=2)] == keys[:2]

    @pytest.mark.parametrize("limit", [1, 4, 9, 10])
    def test_pages_of_entities_meet_without_a_gap(self, drive: Driver, limit: int) -> None:
        names = [f"e{number}" for number in range(9)]
        applied(drive, *[change(name, context={"name": name}) for name in names])
        found: list[Any] = []
        after = None
        while True:
            page = drive.entities(after=after, limit=limit)
            assert len(page.items) <= limit
            found += page.items
            after = page.next
            if after is None:
                break
        assert [entity.context["name"] for entity in found] == names

    def test_a_state_is_an_active_leaf_or_a_whole_configuration(self, drive: Driver) -> None:
        states = {"e1": "a", "e2": "a+b", "e3": "b", "e4": "ab", "e5": "c+a+b", "e6": "a_b"}
        applied(drive, *[change(name, state=state) for name, state in states.items()])

        def found(state: str) -> list[str]:
            return [entity.entity_id for entity in drive.list_entities(state=state)]

        assert found("a") == ["e1", "e2", "e5"]
        assert found("b") == ["e2", "e3", "e5"]
        assert found("a+b") == ["e2"]
        assert found("ab") == ["e4"]
        assert found("%") == found("nowhere") == found("a_") == []
        page = drive.entities(state="a", limit=2)
        rest = drive.entities(state="a", limit=2, after=page.next)
        assert [entity.entity_id for entity in page.items + rest.items] == ["e1", "e2", "e5"]

    def test_machines_are_queried_apart(self, drive: Driver) -> None:
        applied(
            drive,
            change("e1", machine="x", state="a"),
            change("e2", machine="y", state="a"),
            change("e2", machine="x", state="b"),
        )
        assert [e.key for e in drive.list_entities(machine_name="x")] == [("e1", "x"), ("e2", "x")]
        assert [e.key for e in drive.entities(state="a", machine_name="y").items] == [("e2", "y")]
        assert drive.count_by_state() == {"a": 2, "b": 1}
        assert drive.count_by_state(machine_name="x") == {"a": 1, "b": 1}
        assert drive.count_by_state(machine_name="z") == {}

    def test_counts_follow_changes(self, drive: Driver) -> None:
        applied(drive, *[change(f"e{number}", state="a+b") for number in range(3)])
        applied(drive, change("e0", after=1, state="c"))
        assert drive.count_by_state() == {"a+b": 2, "c": 1}

    def test_an_empty_store_is_empty(self, drive: Driver) -> None:
        assert drive.list_entities() == []
        assert drive.entities().next is None
        assert drive.count_by_state() == {}

    def test_a_wrong_cursor_of_entities_is_refused(self, drive: Driver) -> None:
        with pytest.raises(InvalidValueError, match="cursor"):
            drive.entities(after="nonsense")

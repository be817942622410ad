"""Queries: entities in key order, by state and machine, and counts."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from pystator.errors import InvalidValueError
from pystator.records import Commit
from pystator.stores.programs import wall_clock
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["QueriesContract"]

HOUR: Final = 3_600_000_000


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

    def test_the_time_in_a_state_begins_with_the_change_into_it(self, drive: Driver) -> None:
        """What stays in its state is there since before, whatever else changes."""

        def since() -> int:
            [loaded] = drive.load([lookup()])
            assert loaded.entity == drive.list_entities()[0]
            return int(loaded.entity.state_since)

        applied(drive, change(state="open", now=1_000))
        assert since() == 1_000
        applied(drive, change(after=1, state=None, context={"n": 1}, now=2_000))
        assert since() == 1_000
        applied(drive, note(version=2, now=2_500))
        assert since() == 1_000
        applied(drive, change(after=2, state="paid", now=3_000))
        assert since() == 3_000
        assert drive.load([lookup()])[0].entity.updated_at == 3_000

    def test_the_time_in_a_state_is_that_of_the_event_that_led_there(self, drive: Driver) -> None:
        """Several events in one commit are what they would have been one by one."""
        applied(drive, change(state="open", now=1_000))
        away = [("open", "paid", 5_000), ("paid", "open", 6_000), ("open", "open", 7_000)]
        applied(drive, _run(1, away, None))  # a commit need not say a state that stays
        assert drive.list_entities()[0].state_since == 6_000
        applied(drive, _run(4, [("open", "paid", 8_000), ("paid", "paid", 9_000)], "paid"))
        assert drive.list_entities()[0].state_since == 8_000
        applied(drive, _run(6, [("paid", "paid", 9_500), ("paid", "paid", 9_600)], None))
        assert drive.list_entities()[0].state_since == 8_000

    def test_entities_that_are_long_in_their_state(self, drive: Driver) -> None:
        now = wall_clock()
        ages = {"a": 10, "b": 1, "c": 5, "d": 20, "e": 0}
        for machine, state in (("m", "open"), ("n", "open+dry"), ("n2", "shut")):
            for name, hours in ages.items():
                made = change(
                    f"{name}-{machine}", machine=machine, state=state, now=now - hours * HOUR
                )
                applied(drive, made)

        def found(hours: float, **options: Any) -> list[str]:
            longer = timedelta(hours=hours)
            got = [e.entity_id for e in drive.list_entities(in_state_longer_than=longer, **options)]
            pages: list[str] = []
            after = None
            while True:
                page = drive.entities(in_state_longer_than=longer, after=after, limit=2, **options)
                pages += [each.entity_id for each in page.items]
                after = page.next
                if after is None:
                    break
            assert pages == got
            return got

        assert found(4.5, state="open") == ["a-m", "a-n", "c-m", "c-n", "d-m", "d-n"]
        assert found(4.5, state="open", machine_name="n") == ["a-n", "c-n", "d-n"]
        assert found(4.5, state="open+dry") == ["a-n", "c-n", "d-n"]
        assert found(15) == ["d-m", "d-n", "d-n2"]
        assert found(4.5, machine_name="m") == ["a-m", "c-m", "d-m"]
        assert found(25, state="open") == found(1, state="nowhere") == []
        assert len(found(0)) == 15
        assert found(24 * 365_000) == []

    def test_who_changes_is_no_longer_in_its_state_for_long(self, drive: Driver) -> None:
        now = wall_clock()
        applied(drive, *[change(name, state="open", now=now - 5 * HOUR) for name in "abc"])
        applied(drive, change("a", after=1, state="paid", now=now))
        applied(drive, change("b", after=1, state=None, now=now))
        longer = timedelta(hours=1)
        assert [e.entity_id for e in drive.list_entities(in_state_longer_than=longer)] == ["b", "c"]
        assert drive.list_entities("paid", in_state_longer_than=longer) == []

    @pytest.mark.parametrize(
        "longer", [timedelta(hours=-1), 7200, "2h", timedelta(microseconds=-1)], ids=str
    )
    def test_what_is_no_duration_is_refused(self, drive: Driver, longer: Any) -> None:
        for name in ("entities", "list_entities"):
            with pytest.raises(InvalidValueError, match="in_state_longer_than= is a duration"):
                getattr(drive, name)(in_state_longer_than=longer)

    def test_counts_follow_changes(self, drive: Driver) -> None:
        applied(drive, *[change(f"e{number}", state="a+b") for number in range(3)])
        applied(drive, change("e0", after=1, state="c"))
        assert drive.count_by_state() == {"a+b": 2, "c": 1}

    def test_keys_are_paged_by_code_point_whatever_is_asked(self, drive: Driver) -> None:
        """A cursor that compared otherwise than the index would skip or repeat."""
        names = ["A", "Z", "a", "a b", "ab", "é", "ﬀ", "\uffff", "\U00010000", "\U0010fffd"]
        states = ["open", "open+dry", "dry", "x" * 600 + "+open", "open+" + "😀" * 200]
        old = wall_clock() - 2 * HOUR
        for machine in ("", "M", "m", "é"):
            made = [
                change(name, machine=machine, state=states[number % 5], now=old)
                for number, name in enumerate(names)
            ]
            applied(drive, *made)

        def keys(limit: int, **options: Any) -> list[tuple[str, str]]:
            found: list[tuple[str, str]] = []
            after = None
            while True:
                page = drive.entities(after=after, limit=limit, **options)
                found += [entity.key for entity in page.items]
                after = page.next
                if after is None:
                    return found

        every = [(name, machine) for name in names for machine in ("", "M", "m", "é")]
        is_open = [key for key in every if states[names.index(key[0]) % 5] != "dry"]
        longer = timedelta(hours=1)
        for limit in (1, 3, 1_000):
            assert keys(limit) == keys(limit, in_state_longer_than=longer) == every
            assert keys(limit, state="open") == is_open
            assert keys(limit, state="open", in_state_longer_than=longer) == is_open
            for machine in ("", "é", "nobody"):
                mine = [key for key in is_open if key[1] == machine]
                assert keys(limit, state="open", machine_name=machine) == mine
                found = keys(limit, machine_name=machine, in_state_longer_than=longer)
                assert found == [key for key in every if key[1] == machine]

    def test_many_configurations_are_one_list(self, drive: Driver) -> None:
        applied(
            drive,
            *[change(f"e{number:03}", state=f"s{number % 150}+on") for number in range(300)],
        )
        assert len(drive.list_entities(state="on", limit=1_000)) == 300
        assert [e.entity_id for e in drive.list_entities(state="s7")] == ["e007", "e157"]
        page = drive.entities(state="on", machine_name="m", limit=299)
        rest = drive.entities(state="on", machine_name="m", limit=299, after=page.next)
        assert [entity.entity_id for entity in rest.items] == ["e299"]
        assert sum(drive.count_by_state().values()) == len(drive.count_by_state()) * 2 == 300

    def test_an_entity_on_the_move_is_always_found(self, drive: Driver) -> None:
        """It leaves one state that fits for another: no page may have missed it in both."""
        applied(drive, *[change(name, state="open") for name in ("a", "b", "c")])
        done = threading.Event()

        def move() -> None:
            with Driver(drive.store, drive.face) as own:
                version = 1
                while not done.is_set():
                    applied(own, change("b", after=version, state=f"{version % 7}+open"))
                    version += 1

        mover = threading.Thread(target=move)
        mover.start()
        try:
            for _ in range(60):
                found = [entity.entity_id for entity in drive.list_entities(state="open")]
                assert found == ["a", "b", "c"]
                assert sum(drive.count_by_state().values()) == 3
        finally:
            done.set()
            mover.join()

    @pytest.mark.parametrize("name", ["\ud800", "a\x00", "\n"], ids=ascii)
    def test_what_cannot_be_stored_is_not_there(self, drive: Driver, name: str) -> None:
        applied(drive, change("a", machine="a", state="a"))
        assert drive.machines(name) == []
        assert drive.history(name).items == []
        assert drive.history("a", machine_name=name).items == []
        assert drive.list_entities(state=name) == []
        assert drive.list_entities(machine_name=name) == []
        assert drive.count_by_state(machine_name=name) == {}
        assert drive.due(10**9, 10, machine_name=name) == []

    @pytest.mark.parametrize("limit", [-5, 0, 10**30])
    def test_a_page_of_any_number_of_entities(self, drive: Driver, limit: int) -> None:
        """What is asked of one store is asked of any: none has limits of its own."""
        applied(drive, change("a", timers={"t": (1, 1)}), change("b"))
        most = max(limit, 0)
        assert len(drive.list_entities(limit=limit)) == min(most, 2)
        assert len(drive.list_entities(machine_name="m", limit=limit)) == min(most, 2)
        assert len(drive.history("a", machine_name="m", limit=limit).items) == min(most, 1)
        assert len(drive.due(10**9, limit)) == min(most, 1)

    @pytest.mark.parametrize("limit", ["10", None, 2.5])
    def test_what_is_no_number_of_entities_is_refused(self, drive: Driver, limit: Any) -> None:
        with pytest.raises(InvalidValueError, match="limit"):
            drive.entities(limit=limit)

    def test_an_empty_store_is_empty(self, drive: Driver) -> None:
        assert drive.list_entities() == []
        assert drive.entities().next is None
        assert drive.count_by_state() == {}

    def test_a_wrong_cursor_of_entities_is_refused(self, drive: Driver) -> None:
        with pytest.raises(InvalidValueError, match="cursor"):
            drive.entities(after="nonsense")


def _run(after: int, moves: list[tuple[str, str, int]], state: str | None) -> Commit:
    """A commit of several events, each from a state to a state at a time."""
    run = change(after=after, steps=len(moves), state=state, now=moves[-1][2])
    entries = tuple(
        replace(entry, source_state=source, target_state=target, now=now)
        for entry, (source, target, now) in zip(run.entries, moves, strict=True)
    )
    return replace(run, entries=entries)

"""Several machines in one store: the same id under each of them is another entity."""

from pathlib import Path
from typing import Any

import pytest

from pystator.engine.machine import StateMachine
from pystator.errors import AmbiguousEntityError, StaleVersionError
from pystator.orchestrator.orchestrator import Orchestrator
from pystator.records import OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["MachinesContract"]


def _machine(name: str, first: str, trigger: str, second: str) -> StateMachine:
    timeout = {"seconds": 60, "destination": "late"}
    return StateMachine.from_dict(
        {
            "meta": {"machine_name": name, "version": "1.0"},
            "states": [
                {"name": first, "type": "initial", "timeout": timeout},
                {"name": second},
                {"name": "late"},
            ],
            "transitions": [
                {"trigger": trigger, "source": "*", "dest": second, "actions": [{"increment": "n"}]}
            ],
        }
    )


ORDER = _machine("order", "new", "fill", "filled")
SESSION = _machine("session", "closed", "open", "opened")


class MachinesContract(StoreTests):
    """``machine_name`` partitions everything: states, versions, history, ids, timers, queries."""

    def test_two_machines_share_a_database(self, store: Any, tmp_path: Path) -> None:
        """As the specification has it: a store for each machine, over the same data."""
        other = self.make_store(tmp_path) if store.durable else store
        other.connect()
        orders, sessions = Orchestrator(ORDER, store), Orchestrator(SESSION, other)
        assert orders.process_event("u-1", "fill").target_state == "filled"
        assert sessions.process_event("u-1", "open").target_state == "opened"
        assert sessions.process_event("u-1", "open").version == 2
        for each in (store, other):
            assert each.machines("u-1") == ["order", "session"]
            assert each.get_state_versioned("u-1", machine_name="order") == ("filled", 1)
            assert each.get_state_versioned("u-1", machine_name="session") == ("opened", 2)
            assert each.get_context("u-1", machine_name="session") == {"n": 2}
            with pytest.raises(AmbiguousEntityError, match="'order', 'session'"):
                each.get_state("u-1")
        if other is not store:
            other.disconnect()

    def test_a_store_of_one_machine_means_its_entities(self, store: Any, tmp_path: Path) -> None:
        other = self.make_store(tmp_path) if store.durable else store
        other.connect()
        Orchestrator(ORDER, store).process_event("u-1", "fill")
        Orchestrator(SESSION, store).process_event("u-1", "open")
        for name, state in (("order", "filled"), ("session", "opened")):
            other.machine_name = name
            assert other.get_state("u-1") == state
            assert other.get_state_versioned("u-1") == (state, 1)
            assert {row.machine_name for row in other.history("u-1").items} == {name}
            assert [each.key for each in other.entities().items] == [("u-1", name)]
        if other is not store:
            other.disconnect()

    def test_machines_of_one_batch_are_apart(self, drive: Driver) -> None:
        names = ["", "a", "b", "m"]
        batch = [change(machine=name, state=f"s{name}", context={"of": name}) for name in names]
        applied(drive, *batch)
        outcomes = drive.commit(
            [
                change(machine="a", after=1, state="x"),
                change(machine="b", after=3, state="x"),
                change(machine="new", state="x"),
                change(machine="m", after=1, context={"bad": {1}}),
            ]
        )
        kinds = [outcome.kind for outcome in outcomes]
        assert kinds == ["applied", "stale", "applied", "refused"]
        wanted = ["m", "new", "nobody", "b", "a", ""]
        loaded = drive.load([lookup(machine=name) for name in wanted])
        found = [each.entity and (each.entity.version, each.entity.state) for each in loaded]
        assert found == [(1, "sm"), (1, "x"), None, (1, "sb"), (2, "x"), (1, "s")]
        assert [each.entity and each.entity.context.get("of") for each in loaded] == [
            "m", None, None, "b", "a", "",
        ]  # fmt: skip

    def test_versions_count_apart(self, drive: Driver) -> None:
        for version in range(3):
            drive.set_state_versioned("e", "x", expected_version=version, machine_name="a")
        assert drive.set_state_versioned("e", "y", expected_version=0, machine_name="b") == 1
        with pytest.raises(StaleVersionError):
            drive.set_state_versioned("e", "y", expected_version=3, machine_name="b")
        assert drive.get_state_versioned("e", machine_name="a") == ("x", 3)
        assert drive.get_state_versioned("e", machine_name="b") == ("y", 1)

    def test_history_is_each_machines_own(self, drive: Driver) -> None:
        applied(drive, change(machine="a", steps=3), change(machine="b"))
        applied(drive, note(machine="b", version=1), change(machine="a", after=3))
        assert [row.version for row in drive.history("e", machine_name="a").items] == [1, 2, 3, 4]
        assert [row.version for row in drive.history("e", machine_name="b").items] == [1, 1]
        assert drive.history("e", machine_name="c").items == []
        page = drive.history("e", machine_name="a", limit=2)
        rest = drive.history("e", machine_name="a", after=page.next)
        assert [row.version for row in page.items + rest.items] == [1, 2, 3, 4]
        with pytest.raises(AmbiguousEntityError, match="'a', 'b'"):
            drive.history("e")
        assert len(drive.feed(None).items) == 6

    def test_an_event_id_means_one_event_of_each_machine(self, drive: Driver) -> None:
        applied(drive, *[change(machine=name, event_id="i") for name in ("a", "b")])
        applied(drive, note(machine="c", version=0, event_id="i"))
        for name in ("a", "b", "c"):
            [loaded] = drive.load([lookup("e", "i", machine=name)])
            assert loaded.known["i"].machine_name == name
            again = note(machine=name, version=1, event_id="i")
            assert drive.commit([again])[0].kind is OutcomeKind.DUPLICATE
        assert drive.load([lookup("e", "i", machine="d")])[0].known == {}

    def test_a_public_write_is_idempotent_for_each_machine(self, drive: Driver) -> None:
        for _ in range(2):
            for name, state in (("a", "one"), ("b", "two")):
                metadata = {"machine_name": name, "event_id": "i"}
                drive.set_state("e", state, metadata=metadata)
        assert drive.get_state_versioned("e", machine_name="a") == ("one", 1)
        assert drive.get_state_versioned("e", machine_name="b") == ("two", 1)

    def test_timers_of_one_machine_are_not_anothers(self, drive: Driver) -> None:
        timers = {"t": (50, 1)}
        applied(drive, *[change(machine=name, timers=timers) for name in ("a", "b")])
        drive.set_state("e", "x", machine_name="a")
        assert drive.due(50, 9) == [("e", "b")]
        loaded = drive.load([lookup(machine=name) for name in ("a", "b")])
        assert [each.entity.timers for each in loaded] == [{}, timers]
        assert drive.due(50, 9, machine_name="a") == []

    def test_timers_of_each_fire_by_its_own_machine(self, store: Any) -> None:
        now = 1_000_000_000_000_000
        pair = [Orchestrator(each, store, clock=lambda: now) for each in (ORDER, SESSION)]
        for each in pair:
            each.create_entity("u-1", {})
        now += 61_000_000
        assert [result.target_state for result in pair[0].fire_due()] == ["late"]
        assert store.get_state_versioned("u-1", machine_name="session") == ("closed", 1)
        assert [result.target_state for result in pair[1].fire_due()] == ["late"]
        assert store.count_by_state(machine_name="order") == {"late": 1}

    def test_writers_of_several_machines_never_meet(self, drive: Driver) -> None:
        """They write the same id at once, and none of them is stale."""
        for version in range(5):
            calls = [
                ("commit", ([change(machine=f"m{number}", after=version)],)) for number in range(6)
            ]
            answers = drive.together(calls)
            assert [answer[0].kind for answer in answers] == [OutcomeKind.APPLIED] * 6
        loaded = drive.load([lookup(machine=f"m{number}") for number in range(6)])
        assert [each.entity.version for each in loaded] == [5] * 6

    def test_queries_are_of_one_machine_or_of_all(self, drive: Driver) -> None:
        applied(
            drive,
            *[
                change(entity_id, machine=name, state=f"{name}1+both")
                for entity_id in ("e", "f")
                for name in ("a", "b")
            ],
        )
        assert [each.key for each in drive.entities(state="both").items] == [
            ("e", "a"), ("e", "b"), ("f", "a"), ("f", "b"),
        ]  # fmt: skip
        page = drive.entities(state="both", limit=1)
        rest = drive.entities(state="both", after=page.next, limit=2)
        assert [each.key for each in rest.items] == [("e", "b"), ("f", "a")]
        found = drive.entities(state="both", machine_name="b").items
        assert [each.key for each in found] == [("e", "b"), ("f", "b")]
        assert drive.entities(state="a1", machine_name="b").items == []
        assert drive.count_by_state(machine_name="b") == {"b1+both": 2}

"""The public methods of our stores beyond the three: machines, metadata, contexts, refusals."""

from typing import Any

import pytest

from pystator.errors import (
    AmbiguousEntityError,
    EntityNotFoundError,
    IdempotencyConflictError,
    InvalidValueError,
)
from pystator.records import EntryKind
from pystator.testing.building import applied, change, lookup
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["StatesContract"]

BAD_IDS: list[Any] = ["", "x" * 256, "nul\x00", "line\n", "\x85", "\ud800", None, 7, b"x"]


class StatesContract(StoreTests):
    """Machines partition a store; every change of an entity leaves a row."""

    def test_every_change_leaves_one_row(self, drive: Driver) -> None:
        """Whatever path a change takes, history and state never disagree."""
        metadata = {
            "context": {"a": 1, "b": 2},
            "machine_name": "m",
            "machine_version": "1.2",
            "trigger": "fill",
            "source_state": "new",
            "actor": "alice",
            "anything_else": object(),
        }
        drive.set_state("e", "open", metadata=metadata)
        drive.set_context("e", {"b": True})
        drive.set_state("e", "closed")
        drive.set_state_versioned("e", "shut", expected_version=3)
        rows = drive.history("e").items
        assert [(row.version, row.kind) for row in rows] == [
            (version, EntryKind.SET) for version in (1, 2, 3, 4)
        ]
        assert [row.patch for row in rows] == [
            ({"a": 1, "b": 2}, ()),
            ({"b": True}, ("a",)),
            None,
            None,
        ]
        assert [(row.source_state, row.target_state) for row in rows] == [
            ("new", "open"),
            ("open", "open"),
            ("open", "closed"),
            ("closed", "shut"),
        ]
        first = rows[0]
        assert (first.trigger, first.actor, first.machine_version) == ("fill", "alice", "1.2")
        assert drive.get_state_versioned("e") == ("shut", 4)
        assert drive.get_context("e") == {"b": True}

    def test_machines_partition_the_store(self, drive: Driver) -> None:
        drive.set_state("e", "one", metadata={"machine_name": "a", "context": {"n": 1}})
        drive.set_state("e", "two", metadata={"machine_name": "b"})
        drive.set_state("e", "three", machine_name="b")
        assert drive.get_state("e", machine_name="a") == "one"
        assert drive.get_state("e", machine_name="b") == "three"
        assert drive.get_context("e", machine_name="a") == {"n": 1}
        assert drive.get_state_versioned("e", machine_name="b") == ("three", 2)
        assert drive.get_state("e", machine_name="c") is None
        assert drive.machines("e") == ["a", "b"]
        assert drive.machines("nobody") == []

    def test_without_a_machine_the_only_one_is_meant(self, drive: Driver) -> None:
        drive.set_state("e", "one", metadata={"machine_name": "a"})
        drive.set_state("e", "two")
        drive.set_context("e", {"n": 1})
        assert (drive.get_state("e"), drive.get_context("e")) == ("two", {"n": 1})
        assert drive.machines("e") == ["a"]

    def test_several_machines_are_an_error_that_names_them(self, drive: Driver) -> None:
        """Reading or writing one of two entities by chance would be the worst of answers."""
        drive.set_state("e", "one", metadata={"machine_name": "a"})
        drive.set_state("e", "two", metadata={"machine_name": "b"})
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("get_state", ("e",)),
            ("get_context", ("e",)),
            ("get_state_versioned", ("e",)),
            ("set_state", ("e", "x")),
            ("set_context", ("e", {})),
            ("history", ("e",)),
        ]
        for name, arguments in calls:
            with pytest.raises(AmbiguousEntityError, match="'a', 'b'"):
                getattr(drive, name)(*arguments)

    def test_an_entity_of_no_machine_has_the_empty_name(self, drive: Driver) -> None:
        drive.set_state("e", "open")
        assert drive.machines("e") == [""]
        assert drive.get_state("e", machine_name="") == "open"

    def test_the_stores_own_machine_is_the_default(self, drive: Driver) -> None:
        drive.set_state("e", "one", metadata={"machine_name": "a"})
        drive.store.machine_name = "b"
        assert drive.get_state("e") is None
        drive.set_state("e", "two")
        assert (drive.get_state("e"), drive.get_state("e", machine_name="a")) == ("two", "one")
        assert [entity.machine_name for entity in drive.list_entities()] == ["b"]
        assert drive.count_by_state() == {"two": 1}
        assert drive.count_by_state(machine_name="a") == {"one": 1}

    def test_a_context_needs_an_entity(self, drive: Driver) -> None:
        with pytest.raises(EntityNotFoundError, match="'e'"):
            drive.set_context("e", {"a": 1})
        assert drive.get_state("e") is None

    def test_a_set_state_cancels_timers(self, drive: Driver) -> None:
        """The engine did not enter that state, so nothing it armed before may fire in it."""
        applied(drive, change(timers={"t": (50, 1)}))
        drive.set_context("e", {"a": 1})
        assert drive.due(50, 9) == [("e", "m")]
        drive.set_state("e", "closed")
        assert drive.due(50, 9) == []
        assert drive.load([lookup()])[0].entity.timers == {}

    def test_an_event_id_makes_a_set_state_idempotent(self, drive: Driver) -> None:
        metadata = {"event_id": "x-1", "context": {"n": 1}}
        drive.set_state("e", "open", metadata=metadata)
        drive.set_state("e", "open", metadata=metadata)
        assert drive.get_state_versioned("e") == ("open", 1)
        assert drive.set_state_versioned("e", "open", expected_version=0, metadata=metadata) == 1
        for state, other in (("shut", metadata), ("open", metadata | {"context": {"n": 2}})):
            with pytest.raises(IdempotencyConflictError, match="x-1"):
                drive.set_state("e", state, metadata=other)
        assert drive.get_state_versioned("e") == ("open", 1)

    @pytest.mark.parametrize("entity_id", BAD_IDS, ids=ascii)
    def test_an_id_that_cannot_be_stored_is_refused(self, drive: Driver, entity_id: Any) -> None:
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("set_state", (entity_id, "open")),
            ("set_context", (entity_id, {})),
            ("get_state", (entity_id,)),
            ("get_context", (entity_id,)),
        ]
        for name, arguments in calls:
            with pytest.raises(InvalidValueError, match="entity id"):
                getattr(drive, name)(*arguments)
        assert drive.list_entities() == []

    @pytest.mark.parametrize(
        ("state", "metadata"),
        [
            ("", {}),
            ("a\x00b", {}),
            (None, {}),
            ("open", {"machine_name": "\ud800"}),
            ("open", {"machine_name": "x" * 256}),
            ("open", {"context": {"a": {1, 2}}}),
            ("open", {"context": [1]}),
            ("open", {"trigger": "x" * 256}),
            ("open", {"event_id": ""}),
            ("open", {"actor": "\x00"}),
            ("open", {"source_state": "\n"}),
        ],
        ids=ascii,
    )
    def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, drive: Driver, state: Any, metadata: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidValueError):
            drive.set_state("e", state, metadata=metadata)
        assert drive.get_state("e") is None
        assert drive.list_entities() == []

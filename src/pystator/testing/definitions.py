"""Definitions of machines: kept version by version, and never changed.

For stores that have ``save_machine``; the others skip it.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from pystator.errors import ConfigurationError, InvalidValueError
from pystator.records import OutcomeKind, StoredMachine
from pystator.testing.building import applied, change
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["MachineStoreContract"]


def machine(name: str = "order", version: str = "1.0", **fields: Any) -> StoredMachine:
    """A machine as a store keeps it."""
    given: dict[str, Any] = {
        "fingerprint": f"{name}-{version}",
        "description": None,
        "definition": json.dumps({"meta": {"machine_name": name}}),
        "created_at": 1_000,
    }
    return StoredMachine(name=name, version=version, **(given | fields))


class MachineStoreContract(StoreTests):
    """``save_machine``, ``stored_machine``, ``stored_machines`` and ``delete_machine``."""

    @pytest.fixture(autouse=True)
    def _keeps_machines(self, request: pytest.FixtureRequest) -> None:
        """Of a class with more topics, the other ones are none of its business."""
        if not request.function.__qualname__.startswith("MachineStoreContract."):
            return
        if not hasattr(request.getfixturevalue("store"), "save_machine"):
            pytest.skip("this store keeps no machines")

    def test_a_machine_is_kept_as_it_is(self, drive: Driver) -> None:
        given = machine(
            "é %{}", "2.0-β+1", description="two\nlines",
            definition='{ "a" : [1.0, "\\u0000\U0001f600"],\n "b": {} }', created_at=-7,
        )  # fmt: skip
        assert drive.save_machine(given) is True
        assert drive.stored_machine(given.name, given.version) == given
        assert drive.stored_machine(given.name) == given
        assert drive.stored_machines().items == [given]

    def test_a_machine_that_is_not_there_is_none(self, drive: Driver) -> None:
        drive.save_machine(machine())
        for name, version in (("other", None), ("order", "2.0"), ("", None), ("\ud800", "1.0")):
            assert drive.stored_machine(name, version) is None
        assert drive.stored_machine("order", "1.0") is not None

    def test_a_version_never_changes(self, drive: Driver) -> None:
        given = machine()
        assert drive.save_machine(given) is True
        again = replace(given, description="another", created_at=5_000)
        assert drive.save_machine(again) is False
        with pytest.raises(ConfigurationError, match="order"):
            drive.save_machine(replace(given, fingerprint="changed"))
        assert drive.stored_machines().items == [given]

    def test_the_newest_is_the_one_that_was_stored_last(self, drive: Driver) -> None:
        for version, at in (("10.0", 3_000), ("9.0", 4_000), ("2.0", 4_000), ("11.0", 1_000)):
            drive.save_machine(machine(version=version, created_at=at))
        drive.save_machine(machine("payment", "1.0", created_at=9_000))
        assert drive.stored_machine("order").version == "9.0"
        assert drive.stored_machine("order", "2.0").version == "2.0"

    def test_pages_go_over_all_machines_in_order(self, drive: Driver) -> None:
        names = [("b", "1"), ("a", "2"), ("a", "10"), ("A", "1"), ("é", "1"), ("a+", "1")]
        for name, version in names:
            drive.save_machine(machine(name, version))
        found: list[tuple[str, str]] = []
        cursor = None
        for _ in range(4):
            page = drive.stored_machines(after=cursor, limit=2)
            found += [(each.name, each.version) for each in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert cursor is None
        assert found == sorted(names)
        assert drive.stored_machines(limit=0).items == []
        with pytest.raises(InvalidValueError, match="not a cursor"):
            drive.stored_machines(after="x")

    def test_a_machine_that_cannot_be_stored_is_refused(self, drive: Driver) -> None:
        good = machine()
        for bad in (
            replace(good, name=""),
            replace(good, name="x" * 256),
            replace(good, version="\n"),
            replace(good, fingerprint="\ud800"),
            replace(good, description="\x00"),
            replace(good, definition="[]"),
            replace(good, definition="{"),
            replace(good, created_at=2**63),
        ):
            with pytest.raises(InvalidValueError):
                drive.save_machine(bad)
        assert drive.stored_machines().items == []

    def test_a_deleted_machine_is_gone(self, drive: Driver) -> None:
        self._deletes(drive)
        for name, version in (("m", "1.0"), ("m", "2.0"), ("m", "3.0"), ("x", "1.0")):
            drive.save_machine(machine(name, version, created_at=int(version[0])))
        for nothing in (("y",), ("m", "4.0"), ("", None), ("\ud800",), ("m", "a\x00")):
            assert drive.delete_machine(*nothing) == 0
        assert drive.delete_machine("m", "2.0") == 1
        assert drive.stored_machine("m", "2.0") is None
        assert drive.stored_machine("m").version == "3.0"
        assert drive.delete_machine("m") == 2
        assert drive.stored_machine("m") is None
        assert [each.name for each in drive.stored_machines().items] == ["x"]
        assert drive.save_machine(machine("m", "2.0", fingerprint="another")) is True

    def test_a_machine_that_an_entity_lives_by_stays(self, drive: Driver) -> None:
        """The newest version is every entity's; an earlier one is theirs who were last in it."""
        self._deletes(drive)
        for version in ("1.0", "2.0", "3.0"):
            drive.save_machine(machine("m", version, created_at=int(version[0])))
        applied(drive, change("a"), change("b"), change("other", machine="x"))
        applied(drive, replace(change("b", after=1), machine_version="2.0"))
        refused = {None: 2, "3.0": 2, "2.0": 1, "1.0": 1}
        for which, live in refused.items():
            with pytest.raises(ConfigurationError) as raised:
                drive.delete_machine("m", which)
            assert raised.value.context["live"] == live
        assert len(drive.stored_machines().items) == 3
        applied(drive, change("a", after=1, archived_at=5))
        assert drive.delete_machine("m", "1.0") == 1
        with pytest.raises(ConfigurationError, match="1 live"):
            drive.delete_machine("m")
        applied(drive, change("b", after=2, archived_at=5))
        assert drive.delete_machine("m") == 2

    def test_an_entity_that_is_made_meanwhile_is_made(self, drive: Driver) -> None:
        """It was there in time, and the machine stays, or it was not."""
        self._deletes(drive)
        for number in range(4):
            drive.save_machine(machine("m"))
            commits = [change(f"e{number}")]
            deleted, outcomes = drive.together([("delete_machine", ("m",)), ("commit", (commits,))])
            assert [each.kind for each in outcomes] == [OutcomeKind.APPLIED]
            is_there = drive.stored_machine("m") is not None
            assert is_there == isinstance(deleted, ConfigurationError), deleted
            applied(drive, change(f"e{number}", after=1, archived_at=5))

    def _deletes(self, drive: Driver) -> None:
        if not hasattr(drive.store, "delete_machine"):
            pytest.skip("this store deletes no machines")

    def test_of_many_at_once_one_is_told_that_it_was_new(self, store: Any, face: str) -> None:
        with Driver(store, face) as drive:
            answers = drive.together([("save_machine", (machine(),))] * 8)
            assert sorted(answers) == [False] * 7 + [True]

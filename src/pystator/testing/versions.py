"""Compare-and-set: versions count changes, and nobody overwrites what it did not see."""

import pytest

from pystator.errors import StaleVersionError
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["VersionsContract"]


class VersionsContract(StoreTests):
    """``get_state_versioned`` and ``set_state_versioned``."""

    def test_an_unknown_entity_is_at_version_0(self, drive: Driver) -> None:
        assert drive.get_state_versioned("nobody") == (None, 0)

    def test_versions_count_changes_from_1(self, drive: Driver) -> None:
        assert drive.set_state_versioned("e", "a", expected_version=0) == 1
        assert drive.set_state_versioned("e", "b", expected_version=1) == 2
        drive.set_state("e", "c")
        assert drive.get_state_versioned("e") == ("c", 3)

    @pytest.mark.parametrize("expected", [0, 1, 3, 99])
    def test_another_version_is_stale_and_writes_nothing(
        self, drive: Driver, expected: int
    ) -> None:
        drive.set_state("e", "a", metadata={"context": {"n": 1}})
        drive.set_state("e", "b")
        with pytest.raises(StaleVersionError, match=f"not at {expected}"):
            drive.set_state_versioned(
                "e", "x", expected_version=expected, metadata={"context": {"n": 2}}
            )
        assert drive.get_state_versioned("e") == ("b", 2)
        assert drive.get_context("e") == {"n": 1}
        assert len(drive.history("e").items) == 2

    def test_a_missing_entity_is_stale_for_every_other_version(self, drive: Driver) -> None:
        with pytest.raises(StaleVersionError):
            drive.set_state_versioned("e", "x", expected_version=1)
        assert drive.get_state_versioned("e") == (None, 0)

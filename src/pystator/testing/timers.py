"""Timers: an entity is due when its earliest deadline has come."""

from pystator.testing.building import applied, change, lookup
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["TimersContract"]


class TimersContract(StoreTests):
    """``due``."""

    def test_the_earliest_deadline_counts_and_the_earliest_entity_is_first(
        self, drive: Driver
    ) -> None:
        applied(
            drive,
            change("a", timers={"t": (300, 1), "u": (30, 1)}),
            change("b", timers={"t": (20, 1)}),
            change("c", timers={"t": (40, 1)}),
            change("d"),
            change("e", timers={}),
        )
        assert drive.due(19, 9) == []
        assert drive.due(20, 9) == [("b", "m")]
        assert drive.due(39, 9) == [("b", "m"), ("a", "m")]
        assert drive.due(1_000, 2) == [("b", "m"), ("a", "m")]
        assert drive.due(1_000, 9) == [("b", "m"), ("a", "m"), ("c", "m")]

    def test_asking_takes_nothing_away(self, drive: Driver) -> None:
        applied(drive, change(timers={"t": (20, 1)}))
        assert [drive.due(20, 9) for _ in range(3)] == [[("e", "m")]] * 3

    def test_a_deadline_moves_with_the_commit(self, drive: Driver) -> None:
        applied(drive, change(timers={"t": (20, 1)}))
        applied(drive, change(after=1, timers={"t": (50, 2)}))
        assert (drive.due(49, 9), drive.due(50, 9)) == ([], [("e", "m")])
        applied(drive, change(after=2, timers={"t": (20, 3)}))
        assert drive.due(20, 9) == [("e", "m")]
        applied(drive, change(after=3))
        assert drive.due(20, 9) == [("e", "m")]
        assert drive.load([lookup()])[0].entity.timers == {"t": (20, 3)}
        applied(drive, change(after=4, timers={}))
        assert drive.due(10**15, 9) == []

    def test_machines_are_due_apart(self, drive: Driver) -> None:
        applied(
            drive,
            change("a", machine="x", timers={"t": (20, 1)}),
            change("a", machine="y", timers={"t": (10, 1)}),
        )
        assert drive.due(50, 9, machine_name="x") == [("a", "x")]
        assert drive.due(50, 9) == [("a", "y"), ("a", "x")]
        assert drive.due(50, 9, machine_name="z") == []

    def test_a_deadline_may_be_long_past_or_far_away(self, drive: Driver) -> None:
        applied(drive, change("a", timers={"t": (-(10**15), 1)}))
        applied(drive, change("b", timers={"t": (10**17, 1)}))
        assert drive.due(0, 9) == [("a", "m")]
        assert drive.due(10**17, 9) == [("a", "m"), ("b", "m")]

"""Event ids: found by the load, guarded by the commit, in the scope of one entity."""

from pystator.records import OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["IdempotencyContract"]


class IdempotencyContract(StoreTests):
    """``Lookup.event_ids`` and ``DUPLICATE``."""

    def test_a_load_finds_the_rows_of_known_ids(self, drive: Driver) -> None:
        applied(drive, change(event_id="a", request_hash="h"), change("f", event_id="c"))
        applied(drive, note(event_id="b", error_code="guard_rejected"))
        [loaded] = drive.load([lookup("e", "a", "b", "c", "d")])
        assert loaded.entity.version == 1
        assert set(loaded.known) == {"a", "b"}
        assert (loaded.known["a"].request_hash, loaded.known["a"].version) == ("h", 1)
        assert loaded.known["b"].error_code == "guard_rejected"
        assert loaded.known["b"].success is False
        assert drive.load([lookup("e", "b")])[0].known.keys() == {"b"}
        assert drive.load([lookup("e")])[0].known == {}

    def test_a_rejection_of_nobody_is_known(self, drive: Driver) -> None:
        applied(drive, note("nobody", version=0, event_id="a"))
        [loaded] = drive.load([lookup("nobody", "a")])
        assert (loaded.entity, loaded.known.keys()) == (None, {"a"})

    def test_a_known_id_is_a_duplicate_and_writes_nothing(self, drive: Driver) -> None:
        applied(drive, change(event_id="a"), change("f"))
        applied(drive, note(event_id="b"))
        for again in (
            change(after=1, state="x", event_id="a"),
            change(after=1, state="x", event_id="b"),
            change(after=1, steps=3, state="x", event_id="b"),
            note(event_id="a"),
            note(event_id="b"),
        ):
            assert drive.commit([again])[0].kind is OutcomeKind.DUPLICATE
        assert drive.load([lookup()])[0].entity.state == "open"
        assert len(drive.history("e").items) == 2

    def test_a_duplicate_that_is_also_late_is_not_applied(self, drive: Driver) -> None:
        """A retry of what was applied finds the version moved and the id there: either says so."""
        again = change(event_id="a")
        applied(drive, again)
        assert drive.commit([again])[0].kind in {OutcomeKind.DUPLICATE, OutcomeKind.STALE}
        assert drive.load([lookup()])[0].entity.version == 1

    def test_the_scope_of_an_id_is_one_entity_of_one_machine(self, drive: Driver) -> None:
        applied(
            drive,
            change(event_id="a"),
            change("f", event_id="a"),
            change(machine="other", event_id="a"),
        )
        assert drive.load([lookup("f", "a")])[0].known["a"].entity_id == "f"
        assert drive.load([lookup("e", "a", machine="other")])[0].known["a"].machine_name == "other"

    def test_two_of_one_batch_are_one(self, drive: Driver) -> None:
        outcomes = drive.commit([note("nobody", version=0, event_id="a") for _ in range(2)])
        assert sorted(outcome.kind for outcome in outcomes) == ["applied", "duplicate"]
        assert len(drive.history("nobody", machine_name="m").items) == 1

    def test_many_ids_are_found_at_once(self, drive: Driver) -> None:
        applied(drive, change(steps=300, event_id="i"))
        wanted = ["i", *[f"i-{step}" for step in range(2, 301)], "unknown"]
        [loaded] = drive.load([lookup("e", *wanted)])
        assert loaded.known.keys() == set(wanted[:-1])
        assert [loaded.known[name].version for name in wanted[:-1]] == list(range(1, 301))

"""Configurations of several leaves, and what is recorded of history states beside the context."""

from pathlib import Path
from typing import Any

import pytest

from pystator.records import OutcomeKind
from pystator.testing.building import applied, change, lookup
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["ConfigurationsContract", "HistoryStatesContract"]

RECORDED = {"fulfilment": ["picking", "unpaid"], "region:payment": ["unpaid"], "a": []}


class ConfigurationsContract(StoreTests):
    """States that are several leaves joined by ``+``."""

    def test_a_configuration_is_kept_as_it_is_written(self, drive: Driver) -> None:
        """In the order of the document, which no store knows; so none may sort it."""
        state = "z_9+a_1+" + "+".join(f"leaf_{number}" for number in range(300))
        applied(drive, change(state=state))
        assert drive.get_state("e") == state
        assert drive.load([lookup()])[0].entity.state == state
        assert drive.history("e").items[0].target_state == state
        assert drive.count_by_state() == {state: 1}
        for leaf in ("z_9", "a_1", "leaf_299", state):
            assert [each.entity_id for each in drive.list_entities(state=leaf)] == ["e"]

    def test_an_entity_is_found_by_the_leaves_it_has_now(self, drive: Driver) -> None:
        applied(drive, change("a", state="x+y"), change("b", state="y+x"))
        applied(drive, change("a", after=1, state="x+z"))
        applied(drive, change("b", after=1, state=None))

        def found(state: str) -> list[str]:
            return [each.entity_id for each in drive.list_entities(state=state)]

        assert found("x") == ["a", "b"]
        assert found("y") == ["b"]
        assert found("z") == ["a"]
        assert found("x+y") == []
        assert drive.count_by_state() == {"x+z": 1, "y+x": 1}

    @pytest.mark.parametrize("limit", [1, 7, 100])
    def test_pages_by_leaf_meet_over_many_configurations(self, drive: Driver, limit: int) -> None:
        """Every entity is in a configuration of its own, and half of them have the leaf."""
        applied(
            drive,
            *[
                change(f"e{n:02}", state=f"{'even' if n % 2 == 0 else 'odd'}+own_{n}")
                for n in range(40)
            ],
        )
        found: list[str] = []
        after = None
        while True:
            page = drive.entities(state="even", machine_name="m", after=after, limit=limit)
            found += [entity.entity_id for entity in page.items]
            after = page.next
            if after is None:
                break
        assert found == [f"e{n:02}" for n in range(0, 40, 2)]
        assert len(drive.count_by_state()) == 40


class HistoryStatesContract(StoreTests):
    """``history`` of an entity: the leaves that compound states had when they were left."""

    def test_what_is_recorded_comes_back_as_it_was(self, drive: Driver) -> None:
        applied(drive, change(history=RECORDED, context={"n": 1}))
        entity = drive.load([lookup()])[0].entity
        assert entity.history == RECORDED
        assert entity.context == drive.get_context("e") == {"n": 1}
        assert drive.list_entities()[0].history == RECORDED

    def test_it_is_replaced_whole_or_left(self, drive: Driver) -> None:
        applied(drive, change(history=RECORDED))
        applied(drive, change(after=1, context={"n": 1}, timers={"t": (9, 2)}))
        assert drive.load([lookup()])[0].entity.history == RECORDED
        applied(drive, change(after=2, history={"a": ["x"]}))
        assert drive.load([lookup()])[0].entity.history == {"a": ["x"]}
        applied(drive, change(after=3, state=None, history={"a": ["y", "x"]}))
        assert drive.load([lookup()])[0].entity.history == {"a": ["y", "x"]}

    def test_an_entity_that_never_left_a_compound_has_none(self, drive: Driver) -> None:
        applied(drive, change("a"), change("b", history={}))
        loaded = drive.load([lookup("a"), lookup("b")])
        assert [each.entity.history or None for each in loaded] == [None, None]

    def test_entities_have_records_of_their_own(self, drive: Driver) -> None:
        keys = [("a", "m"), ("a", "n"), ("b", "m")]
        applied(
            drive,
            *[change(key[0], machine=key[1], history={"p": ["_".join(key)]}) for key in keys],
        )
        applied(drive, change("a", machine="m", after=1, history={"p": ["other"]}))
        loaded = drive.load([lookup(key[0], machine=key[1]) for key in keys])
        records = [each.entity.history["p"] for each in loaded]
        assert records == [["other"], ["a_n"], ["b_m"]]

    def test_public_writes_leave_it(self, drive: Driver) -> None:
        """Nobody left a state by them: where the entity was before is as true as it was."""
        applied(drive, change(history=RECORDED))
        drive.set_state("e", "elsewhere", metadata={"context": {"n": 1}})
        drive.set_context("e", {"n": 2})
        entity = drive.load([lookup()])[0].entity
        assert (entity.version, entity.state, entity.history) == (3, "elsewhere", RECORDED)

    def test_a_commit_that_is_not_applied_leaves_it(self, drive: Driver) -> None:
        applied(drive, change(history=RECORDED, event_id="i"))
        wrong: dict[str, list[str]] = {"wrong": []}
        outcomes = drive.commit([change(after=7, history=wrong)])
        outcomes += drive.commit([change(after=1, history=wrong, event_id="i")])
        outcomes += drive.commit([change(after=1, history=wrong, payload={"p": {1}})])
        assert [each.kind for each in outcomes] == [
            OutcomeKind.STALE,
            OutcomeKind.DUPLICATE,
            OutcomeKind.REFUSED,
        ]
        assert drive.load([lookup()])[0].entity.history == RECORDED

    def test_it_survives_with_the_entity(self, tmp_path: Path) -> None:
        with self.make_store(tmp_path) as store:
            applied(store, change(history=RECORDED))
            stored: Any = store.load_one("e", "m")
            assert stored.history == RECORDED
            if not store.durable:
                return
        with self.make_store(tmp_path) as store:
            assert store.load_one("e", "m").history == RECORDED

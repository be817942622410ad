"""Events that expect a version, and archived entities, through an `Orchestrator`."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pystator.engine.machine import StateMachine
from pystator.errors import EntityExistsError, StaleVersionError
from pystator.orchestrator import Orchestrator
from pystator.records import EventRequest
from pystator.testing.clock import FakeClock
from pystator.testing.drivers import StoreTests
from pystator.testing.lost_answers import TALLY
from pystator.testing.statecharts import Entities

__all__ = ["ConditionalContract"]

WHY = {"reason": "closed for good", "actor": "ada"}

CLIENTS, CALLS = 3, 5


class ConditionalContract(StoreTests):
    """``expected_version`` and ``archive``, as callers meet them."""

    def test_what_was_read_is_written_on_or_refused(
        self, store: Any, face: str, tmp_path: Path
    ) -> None:
        """Clients that read, add one and expect what they read: together they count."""
        other = self.make_store(tmp_path) if store.durable else store
        other.connect()
        machine = StateMachine.from_dict(TALLY)
        made = [Orchestrator(machine, (store, other)[each % 2]) for each in range(CLIENTS)]
        made[0].create_entity("e", {"sum": 0})
        if face == "async":
            versions = asyncio.run(_add_in_tasks(made))
        else:
            with ThreadPoolExecutor(CLIENTS) as pool:
                versions = [each for found in pool.map(_add, made) for each in found]
        total = CLIENTS * CALLS
        assert sorted(versions) == list(range(2, total + 2))
        assert store.load_one("e", "tally").context["sum"] == total
        if other is not store:
            other.disconnect()

    def test_events_of_one_call_expect_what_those_before_make(self, store: Any, face: str) -> None:
        with Entities(store, face, FakeClock()) as entities:
            asked = [
                ("c-1", "begin", 0),
                ("c-1", "next", 1),
                ("c-1", "next", 1),
                ("c-2", "next", 3),
            ]
            requests = [
                EventRequest(entity_id, trigger, expected_version=version)
                for entity_id, trigger, version in asked
            ]
            told = entities.call("process_events", requests)
            assert [each.version if each.success else each.reason for each in told] == [
                1, 2, "stale_version", "stale_version",
            ]  # fmt: skip
            assert entities.stored("c-2") is None
            with pytest.raises(StaleVersionError) as caught:
                entities.call("process_event", "c-1", "next", expected_version=1)
            assert (caught.value.context["expected"], caught.value.context["actual"]) == (1, 2)
            assert entities.stored("c-1").version == 2
            entities.agree("c-1")

    def test_a_known_event_id_is_replayed_whatever_it_expects(self, store: Any, face: str) -> None:
        if not store.idempotent:
            pytest.skip("this store keeps no event ids")
        with Entities(store, face, FakeClock()) as entities:
            options = {"event_id": "i-1", "expected_version": 0}
            first = entities.call("process_event", "c-1", "begin", **options)
            again = entities.call("process_event", "c-1", "begin", **options)
            assert (first.replayed, again.replayed, again.version) == (False, True, 1)

    def test_an_archived_entity_takes_part_in_nothing(self, store: Any, face: str) -> None:
        if not getattr(store, "archives", True):
            pytest.skip("this store has no archive")
        clock = FakeClock()
        with Entities(store, face, clock) as entities:
            entities.send("c-1", "begin")
            assert entities.call("archive", "c-1", **WHY, expected_version=1).version == 2
            clock.advance(4_000)
            for call, given in (("process_event", "next"), ("apply_data", {"n": 1})):
                assert entities.call(call, "c-1", given).reason == "entity_archived"
            assert entities.call("fire_due") == []
            with pytest.raises(EntityExistsError):
                entities.call("create_entity", "c-1")
            entity = entities.stored("c-1")
            assert (entity.state, entity.version, entity.context) == ("prepare", 2, {})
            assert entities.call("archive", "c-1", **WHY).ignored
            assert entities.call("unarchive", "c-1", **WHY).version == 3
            [fired] = entities.call("fire_due")
            assert fired.source_state == "prepare"
            assert entities.stored("c-1").version == 4
            entities.agree("c-1")
            if store.keeps_history:
                rows = store.history("c-1", machine_name="chart").items
                kinds = [row.kind for row in rows if row.kind != "rejected"]
                assert kinds == ["event", "archived", "unarchived", "timer"]
                assert sum(row.error_code == "entity_archived" for row in rows) == 2


def _add(orchestrator: Orchestrator) -> list[int]:
    versions: list[int] = []
    while len(versions) < CALLS:
        entity: Any = orchestrator.get_entity("e")
        total = {"sum": entity.context["sum"] + 1}
        try:
            result = orchestrator.process_event("e", "add", total, expected_version=entity.version)
        except StaleVersionError:
            continue
        versions.append(result.raise_for_error().written)
    return versions


async def _add_in_tasks(orchestrators: list[Orchestrator]) -> list[int]:
    versions: list[int] = []

    async def add(orchestrator: Orchestrator) -> None:
        done = 0
        while done < CALLS:
            entity: Any = await orchestrator.async_get_entity("e")
            total = {"sum": entity.context["sum"] + 1}
            try:
                result = await orchestrator.async_process_event(
                    "e", "add", total, expected_version=entity.version
                )
            except StaleVersionError:
                continue
            versions.append(result.raise_for_error().written)
            done += 1

    async with asyncio.TaskGroup() as group:
        for each in orchestrators:
            group.create_task(add(each))
    return versions

"""A whole statechart through an `Orchestrator`, on any store: three methods are enough.

::

    draft --begin--> work { prepare --next--> build { cut --next--> sew } --next--> (made) }
                      |                                                   |
                      | 1 h: late                                         v  done
                      v                                                  review
    paused <--pause-- work, review               [ legal: reading > asking > (cleared) ]
    paused --resume--> H(work)                   [ price: open > (agreed)              ]
    paused --resume_deep--> H*(work)                                      |
    paused --review_again--> H*(review)                                   v  done
                                                                      (shipped)
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest

from pystator.engine.machine import StateMachine
from pystator.orchestrator import Orchestrator
from pystator.testing.clock import FakeClock
from pystator.testing.drivers import StoreTests
from pystator.testing.retrace import retrace

__all__ = ["CHART", "Entities", "StatechartsContract"]

CHART: Final[dict[str, Any]] = {
    "meta": {"machine_name": "chart", "version": "1.0"},
    "states": [
        {"name": "draft", "type": "initial"},
        {
            "name": "work",
            "timeout": {"seconds": 3_600, "destination": "late"},
            "on_done": "review",
        },
        {"name": "prepare", "parent": "work"},
        {"name": "build", "parent": "work"},
        {"name": "cut", "parent": "build"},
        {"name": "sew", "parent": "build"},
        {"name": "made", "parent": "work", "type": "terminal"},
        {
            "name": "review",
            "type": "parallel",
            "on_done": "shipped",
            "regions": [
                {
                    "name": "legal",
                    "initial": "reading",
                    "states": [
                        {
                            "name": "reading",
                            "timeout": {"seconds": 60, "destination": "asking"},
                        },
                        {"name": "asking"},
                        {
                            "name": "cleared",
                            "type": "terminal",
                            "when": {"expr": "clear == true"},
                        },
                    ],
                },
                {
                    "name": "price",
                    "initial": "open",
                    "states": [{"name": "open"}, {"name": "agreed", "type": "terminal"}],
                },
            ],
        },
        {"name": "paused"},
        {"name": "late"},
        {"name": "shipped", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "begin", "source": "draft", "dest": "work"},
        {"trigger": "next", "source": "prepare", "dest": "build"},
        {"trigger": "next", "source": "cut", "dest": "sew", "actions": [{"increment": "cuts"}]},
        {"trigger": "next", "source": "sew", "dest": "made"},
        {"trigger": "ask", "source": "reading", "dest": "asking"},
        {"trigger": "clear", "source": ["reading", "asking"], "dest": "cleared"},
        {"trigger": "agree", "source": "open", "dest": "agreed"},
        {"trigger": "pause", "source": ["work", "review"], "dest": "paused"},
        {"trigger": "resume", "source": "paused", "dest": "H(work)"},
        {"trigger": "resume_deep", "source": "paused", "dest": "H*(work)"},
        {"trigger": "review_again", "source": "paused", "dest": "H*(review)"},
        {"trigger": "note", "source": "*", "internal": True, "actions": [{"increment": "notes"}]},
    ],
}
"""The machine of the picture above."""


class Entities:
    """Entities of `CHART` in a store, through one face of an orchestrator.

    Args:
        store: The store.
        face: ``"sync"`` or ``"async"``.
        clock: The orchestrator's.
    """

    def __init__(self, store: Any, face: str, clock: FakeClock) -> None:
        self.orchestrator = Orchestrator(StateMachine.from_dict(CHART), store, clock=clock)
        self._runner = asyncio.Runner() if face == "async" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner is not None:
            self._runner.close()

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the orchestrator, or its twin."""
        if self._runner is None:
            return getattr(self.orchestrator, name)(*arguments, **options)
        twin = getattr(self.orchestrator, f"async_{name}")
        return self._runner.run(twin(*arguments, **options))

    def send(self, entity_id: str, *triggers: str) -> str | None:
        """Send events that all have to be applied; where the entity is then."""
        state: str | None = None
        for trigger in triggers:
            state = self.call("process_event", entity_id, trigger).raise_for_error().target_state
        return state

    def stored(self, entity_id: str) -> Any:
        """The entity as stored."""
        return self.call("get_entity", entity_id)

    def agree(self, *names: str) -> None:
        """History leads to what is stored, where the store keeps history."""
        store = self.orchestrator.state_store
        if not getattr(store, "keeps_history", False):
            return
        for entity_id in names:
            entity = self.stored(entity_id)
            rows = store.history(entity_id, machine_name="chart").items
            assert retrace(self.orchestrator.machine, rows) == (entity.state, entity.engine_context)


class StatechartsContract(StoreTests):
    """Nested states, regions, history states, timers and data, event by event."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The time."""
        return FakeClock()

    @pytest.fixture
    def entities(self, store: Any, face: str, clock: FakeClock) -> Iterator[Entities]:
        """Entities of the machine in a fresh store."""
        with Entities(store, face, clock) as made:
            yield made

    @pytest.fixture
    def later(self, store: Any, face: str, clock: FakeClock, tmp_path: Path) -> Iterator[Entities]:
        """The same entities as another process sees them."""
        again = self.make_store(tmp_path) if getattr(store, "durable", False) else store
        if again is not store:
            again.connect()
        with Entities(again, face, clock) as made:
            yield made
        if again is not store:
            again.disconnect()

    def test_history_states_are_where_they_were(self, entities: Entities, later: Entities) -> None:
        assert entities.send("e", "begin", "next", "next") == "sew"
        assert entities.send("e", "pause") == "paused"
        assert later.send("e", "resume") == "cut"
        assert entities.send("e", "next", "pause") == "paused"
        assert later.send("e", "resume_deep") == "sew"
        assert later.send("e", "next") == "reading+open"
        assert entities.send("e", "agree", "ask", "pause") == "paused"
        assert later.send("e", "review_again") == "asking+agreed"
        entities.agree("e")

    def test_entities_of_one_machine_never_see_each_other(
        self, entities: Entities, later: Entities
    ) -> None:
        """Each remembers its own, however their events alternate."""
        ways = {
            "a": ("begin", "pause", "resume_deep"),
            "b": ("begin", "next", "pause", "resume_deep"),
            "c": ("begin", "next", "next", "pause", "resume_deep"),
        }
        reached: dict[str, str | None] = {}
        for number in range(5):
            for entity_id, triggers in ways.items():
                if number < len(triggers):
                    turn = later if number % 2 else entities
                    reached[entity_id] = turn.send(entity_id, triggers[number])
        assert reached == {"a": "prepare", "b": "cut", "c": "sew"}
        records = [entities.stored(each).history for each in ways]
        assert records == [{"work": ["prepare"]}, {"work": ["cut"]}, {"work": ["sew"]}]
        entities.agree(*ways)

    def test_regions_go_their_own_ways_and_finish_together(
        self, entities: Entities, later: Entities
    ) -> None:
        assert entities.send("e", "begin", "next", "next", "next") == "reading+open"
        assert later.send("e", "agree") == "reading+agreed"
        assert entities.send("e", "note") == "reading+agreed"
        assert later.send("e", "clear") == "shipped"
        refused = entities.call("process_event", "e", "note")
        assert (refused.success, refused.reason) == (False, "terminal_state")

    def test_timers_of_all_that_is_active_are_kept(
        self, entities: Entities, later: Entities, clock: FakeClock
    ) -> None:
        entities.send("e", "begin")
        clock.advance(1_800)
        assert entities.send("e", "next") == "cut"
        deadline = clock() + 1_800_000_000
        assert [each[0] for each in later.stored("e").timers.values()] == [deadline]
        clock.advance(1_801)
        assert later.send("e", "note") == "late"
        assert later.stored("e").timers == {}

    def test_a_timer_is_armed_again_by_a_return(
        self, entities: Entities, later: Entities, clock: FakeClock
    ) -> None:
        entities.send("e", "begin", "next", "next", "next", "pause")
        assert entities.stored("e").timers == {}
        clock.advance(7_200)
        assert later.send("e", "review_again") == "reading+open"
        clock.advance(61)
        assert [each.target_state for each in later.call("fire_due")] == ["asking+open"]
        entities.agree("e")

    def test_data_leads_where_the_machine_says(self, entities: Entities, later: Entities) -> None:
        entities.send("e", "begin", "next", "next", "next", "agree")
        nowhere = later.call("apply_data", "e", {"clear": False, "n": 1})
        assert (nowhere.success, nowhere.target_state) == (True, "reading+agreed")
        assert nowhere.trigger is None
        moved = entities.call("apply_data", "e", {"clear": True})
        assert (moved.source_state, moved.target_state) == ("reading+agreed", "shipped")
        assert later.stored("e").context == {"cuts": 1, "clear": True, "n": 1}
        entities.agree("e")

    def test_nobody_sees_what_the_engine_remembers(self, entities: Entities) -> None:
        entities.send("e", "begin", "pause")
        for trigger in ("resume", "note", "nonsense", "pause"):
            result = entities.call("process_event", "e", trigger)
            assert not [key for key in result.context if key.startswith("_")], trigger
        assert entities.stored("e").context == {"notes": 1}
        assert entities.stored("e").history == {"work": ["prepare"]}

    def test_a_forced_entity_keeps_what_it_remembers(
        self, entities: Entities, later: Entities
    ) -> None:
        """And the timers of everything it is in, for a part is completed by defaults."""
        entities.send("e", "begin", "next", "pause")
        entities.call("force_state", "e", "agreed", reason="agreed by phone", actor="ada")
        stored = later.stored("e")
        assert (stored.state, stored.history) == ("reading+agreed", {"work": ["cut"]})
        assert list(stored.timers) == ["reading:after:60000:asking"]
        later.call("force_state", "e", "build", reason="wrong entity", actor="ada")
        assert later.stored("e").state == "cut"
        assert list(later.stored("e").timers) == ["work:after:3600000:late"]
        entities.call("force_state", "e", "paused", reason="wrong entity", actor="ada")
        assert entities.send("e", "resume_deep") == "cut"

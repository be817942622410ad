"""Lost answers: what became of a commit is found out, and sending it again never doubles it."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, TypeVar, cast

import pytest

from pystator.engine.machine import StateMachine
from pystator.errors import FSMError
from pystator.orchestrator.orchestrator import Orchestrator
from pystator.orchestrator.replay import replay
from pystator.records import Commit, Entity, EventRequest, Loaded, Outcome, OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["LosingStore", "LostAnswersContract"]

T = TypeVar("T")

TALLY: dict[str, Any] = {
    "meta": {"machine_name": "tally"},
    "states": [{"name": "even", "type": "initial"}, {"name": "odd"}],
    "transitions": [
        {"trigger": "add", "source": "even", "dest": "odd", "actions": [{"increment": "n"}]},
        {"trigger": "add", "source": "odd", "dest": "even", "actions": [{"increment": "n"}]},
    ],
}
"""Each event is one increment."""


class LosingStore:
    """A native store behind a line that drops: requests do not arrive, or answers do not.

    Args:
        store: The store.
        fates: What happens to each commit, in order: ``"well"``, ``"lost"`` (it never arrives) or
            ``"mute"`` (it is written, and nobody hears of it). At their end all is well.
    """

    def __init__(self, store: Any, fates: Iterable[str]) -> None:
        self.store = store
        self._fates = iter(fates)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def load(self, lookups: Any) -> list[Loaded]:
        """`NativeStore.load`; loads get through."""
        return cast("list[Loaded]", self.store.load(lookups))

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`NativeStore.load_one`."""
        return cast("Entity | None", self.store.load_one(entity_id, machine_name))

    def commit(self, commits: Any) -> list[Outcome]:
        """`NativeStore.commit`, if the line holds."""
        fate = next(self._fates, "well")
        if fate == "lost":
            raise ConnectionError("the line dropped")
        outcomes: list[Outcome] = self.store.commit(commits)
        if fate == "mute":
            raise ConnectionError("the line dropped")
        return outcomes

    async def acommit(self, commits: Any) -> list[Outcome]:
        """`commit` for asyncio."""
        fate = next(self._fates, "well")
        if fate == "lost":
            raise ConnectionError("the line dropped")
        outcomes: list[Outcome] = await self.store.acommit(commits)
        if fate == "mute":
            raise ConnectionError("the line dropped")
        return outcomes


NOT_NOW = {OutcomeKind.STALE, OutcomeKind.DUPLICATE}
"""What a commit may be told when it is sent a second time."""


class LostAnswersContract(StoreTests):
    """Commit ids and event ids, as those need them who got no answer."""

    def test_the_last_commit_is_known_by_its_id(self, drive: Driver) -> None:
        first = change(event_id="i")
        drive.commit([first])  # nobody reads the answer
        assert drive.load([lookup()])[0].entity.commit_id == first.commit_id
        second = change(after=1, steps=3)
        drive.commit([second])
        assert drive.load([lookup()])[0].entity.commit_id == second.commit_id
        assert _rows(drive, first) == [1]
        assert _rows(drive, second) == [2, 3, 4]

    def test_an_earlier_commit_is_known_by_its_rows_and_event_ids(self, drive: Driver) -> None:
        """Others have gone on since: the entity tells of the last commit only, history of all."""
        lost = change(steps=2, event_id="i")
        drive.commit([lost])
        for version in range(2, 12):
            applied(drive, change(after=version))
        [loaded] = drive.load([lookup("e", "i", "i-2")])
        assert loaded.entity.commit_id != lost.commit_id
        assert {row.commit_id for row in loaded.known.values()} == {lost.commit_id}
        assert [loaded.known[name].version for name in ("i", "i-2")] == [1, 2]
        assert _rows(drive, lost) == [1, 2]
        newest = drive.history("e", limit=5, newest_first=True).items
        assert lost.commit_id not in {row.commit_id for row in newest}

    def test_what_was_not_written_is_nowhere(self, drive: Driver) -> None:
        applied(drive, change(event_id="first"))
        for commit in (
            change(event_id="i"),
            change(after=7, event_id="i"),
            change(after=1, event_id="first"),
            change(after=1, event_id="i", context={"bad": {1}}),
        ):
            drive.commit([commit])
            [loaded] = drive.load([lookup("e", "i")])
            assert (loaded.entity.version, loaded.known) == (1, {})
            assert loaded.entity.commit_id != commit.commit_id
            assert _rows(drive, commit) == []

    def test_a_rejection_is_known_by_its_event_id_and_its_row(self, drive: Driver) -> None:
        lost = note("nobody", version=0, event_id="i", error_code="terminal_state")
        drive.commit([lost])
        [loaded] = drive.load([lookup("nobody", "i")])
        assert loaded.entity is None
        assert loaded.known["i"].commit_id == lost.commit_id
        assert drive.commit([lost])[0].kind is OutcomeKind.DUPLICATE
        assert len(drive.history("nobody", machine_name="m").items) == 1

    @pytest.mark.parametrize("event_id", [None, "i"], ids=["plain", "event_id"])
    def test_what_was_written_is_not_written_again(
        self, drive: Driver, event_id: str | None
    ) -> None:
        """The same commit as it was, at once or after others went on."""
        for number, (after, steps, others) in enumerate(product((0, 2), (1, 3), (0, 1, 4))):
            name = f"e{number}"
            if after:
                applied(drive, change(name, steps=after, context={"n": 0}))
            lost = change(name, after=after, steps=steps, context={"n": 1}, event_id=event_id)
            applied(drive, lost)
            version = after + steps
            for _ in range(others):
                applied(drive, change(name, after=version, context={"n": 2}))
                version += 1
            for _ in range(3):
                assert drive.commit([lost])[0].kind in NOT_NOW
            entity = drive.load([lookup(name)])[0].entity
            assert (entity.version, entity.context) == (version, {"n": 2 if others else 1})
            rows = drive.history(name).items
            assert [row.version for row in rows] == list(range(1, version + 1))

    def test_a_batch_is_sent_again_as_it_was(self, drive: Driver) -> None:
        """Half of it is there, half is not: each is decided by itself."""
        batch = [change(f"e{number}", context={"n": number}) for number in range(10)]
        applied(drive, *batch[::2])
        kinds = [outcome.kind for outcome in drive.commit(batch)]
        assert [kind in NOT_NOW for kind in kinds] == [True, False] * 5
        assert kinds[1::2] == [OutcomeKind.APPLIED] * 5
        loaded = drive.load([lookup(f"e{number}") for number in range(10)])
        assert [each.entity.context["n"] for each in loaded] == list(range(10))
        assert {each.entity.version for each in loaded} == {1}

    @pytest.mark.parametrize("event_id", [None, "i"], ids=["plain", "event_id"])
    def test_one_of_many_senders_of_a_commit_writes_it(
        self, drive: Driver, event_id: str | None
    ) -> None:
        """A request that was given up may still be under way when it is sent again."""
        commit = change(steps=2, event_id=event_id)
        answers = drive.together([("commit", ([commit],)) for _ in range(8)])
        kinds = Counter(answer[0].kind in NOT_NOW for answer in answers)
        assert kinds == {True: 7, False: 1}
        assert _rows(drive, commit) == [1, 2]

    @pytest.mark.parametrize("fate", ["lost", "mute"])
    def test_an_event_is_applied_once_however_often_the_line_drops(
        self, store: Any, face: str, fate: str
    ) -> None:
        """Retried under one event id until it is answered."""
        for times in (1, 2, 3):
            name = f"e{times}"
            fates = [*[fate] * times, "well", fate, "well"]
            with Driver(_Tally(LosingStore(store, fates)), face) as tally:
                for number in (1, 2):
                    result = _insist(tally.send, name, f"i-{number}")
                    assert (result.success, result.version) == (True, number)
                again = tally.send(name, "i-1")
                assert (again.version, again.replayed) == (1, True)
            assert store.get_context(name) == {"n": 2}

    def test_neighbours_of_a_lost_batch_are_each_applied_once(self, store: Any, face: str) -> None:
        names = [f"e{number}" for number in range(6)]
        with Driver(_Tally(LosingStore(store, ["lost", "mute", "mute", "lost"])), face) as tally:
            items = [(name, f"{name}-{turn}") for turn in (1, 2) for name in names]
            results = _insist(tally.send_all, items)
            assert [result.success for result in results] == [True] * 12
        for name in names:
            rows = store.history(name).items
            assert [row.event_id for row in rows] == [f"{name}-1", f"{name}-2"]
            assert replay(rows) == ("even", {"n": 2})
            assert store.get_context(name) == {"n": 2}


class _Tally:
    """An orchestrator with the names a `Driver` calls."""

    def __init__(self, store: Any) -> None:
        self._orchestrator = Orchestrator(StateMachine.from_dict(TALLY), store)

    def send(self, entity_id: str, event_id: str) -> Any:
        return self._orchestrator.process_event(entity_id, "add", event_id=event_id)

    async def asend(self, entity_id: str, event_id: str) -> Any:
        return await self._orchestrator.async_process_event(entity_id, "add", event_id=event_id)

    def send_all(self, items: Any) -> Any:
        results = self._orchestrator.process_events(_requests(items))
        return [result.raise_for_error() for result in results]

    async def asend_all(self, items: Any) -> Any:
        results = await self._orchestrator.async_process_events(_requests(items))
        return [result.raise_for_error() for result in results]


def _requests(items: Any) -> list[EventRequest]:
    return [EventRequest(entity_id, "add", None, event_id) for entity_id, event_id in items]


def _insist(call: Callable[..., Any], *arguments: Any) -> Any:
    for _ in range(20):
        try:
            return call(*arguments)
        except (ConnectionError, FSMError):
            continue
    raise AssertionError("it is never answered")


def _rows(drive: Driver, commit: Commit) -> list[int]:
    """Versions of the rows that a commit wrote."""
    rows = drive.history(commit.entity_id, machine_name=commit.machine_name, limit=1_000).items
    return [row.version for row in rows if row.commit_id == commit.commit_id]

"""A store against a model, over random histories, with Hypothesis.

::

    from pystator.testing.stateful import StoreComparison

    class MyComparison(StoreComparison):
        def make_store(self, path):
            return MyStore(path / "data")

    TestMyComparison = MyComparison.TestCase

The model is `InMemoryStateStore`. Whatever is done to one is done to the other: batches of commits
with right and wrong versions, runs of events, rejections, event ids that come again, contexts that
cannot be stored, history states, configurations of several leaves, timers, the archive, public
writes, pruning, parcels of another store, closing and opening. Outcomes must be the same, and after
every step everything that can be read.
"""

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pystator.errors import FSMError
from pystator.orchestrator.replay import replay
from pystator.records import (
    UNARCHIVE,
    Commit,
    Entity,
    EntryKind,
    HistoryEntry,
    Key,
    Lookup,
    OutcomeKind,
    Parcel,
)
from pystator.stores.columns import make_patch
from pystator.stores.memory import InMemoryStateStore
from pystator.testing.building import change, note
from pystator.testing.drivers import Driver
from pystator.testing.retention import moment

__all__ = ["StoreComparison", "contexts", "values"]

KEYS: Final[list[Key]] = [("a", "m"), ("a", "n"), ("b", "m"), ("é %", "")]
STATES: Final = ["new", "open", "left+right", "left", "right+up+down", "up"]
STATES_ASKED: Final = (None, "left", "left+right", "up", "right")
EVENT_IDS: Final = ["i1", "i2", "i3", "i4"]

RECENT: Final = 10**12
"""After the times of commits and before those of public writes, which are the clock's."""

Strategy = st.SearchStrategy[Any]

scalars: Strategy = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.dates()
    | st.uuids()
    | st.binary(max_size=6)
)
names: Strategy = st.sampled_from(["x", "y", "$t", ""]) | st.text(max_size=4)
values: Strategy = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
"""What a store keeps."""

contexts: Strategy = st.dictionaries(names, values, max_size=4)
"""Contexts of what a store keeps."""

refused: Strategy = st.sampled_from([(1,), {1}, float("nan"), "\ud800", object(), {1: 2}])
some_contexts: Strategy = (
    st.none() | contexts | st.fixed_dictionaries({"bad": st.tuples(refused).map(list)})
)
timers: Strategy = st.none() | st.dictionaries(
    st.sampled_from(["t", "u"]), st.tuples(st.integers(1, 60), st.integers(1, 9)), max_size=2
)
records: Strategy = st.none() | st.dictionaries(
    st.sampled_from(["box", "region:box", "par"]),
    st.lists(st.sampled_from(["left", "right", "up"]), max_size=3, unique=True),
    max_size=2,
)
"""What is recorded of history states."""
event_ids: Strategy = st.none() | st.sampled_from(EVENT_IDS)
keys: Strategy = st.sampled_from(KEYS)


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    """One commit's worth of choices; its version is relative to the current one."""
    return {
        "key": draw(keys),
        "note": draw(st.booleans()) and draw(st.booleans()),
        "off": draw(st.sampled_from([0, 0, 0, 0, -1, 1])),
        "steps": draw(st.integers(1, 3)),
        "state": draw(st.sampled_from(STATES)),
        "context": draw(some_contexts),
        "payload": draw(st.none() | contexts),
        "history": draw(records),
        "timers": draw(timers),
        "event_id": draw(event_ids),
        "now": draw(st.integers(1, 10**6)),
        "archived_at": draw(st.sampled_from([None, None, None, None, 7, UNARCHIVE])),
        "trace": draw(st.sampled_from([None, None, "00-4bf9-00f0-01"])),
    }


class StoreComparison(RuleBasedStateMachine):
    """Does the same to a store and to a model, and looks at both."""

    face: ClassVar[str] = "sync"
    """``"sync"`` or ``"async"``."""

    def make_store(self, path: Path) -> Any:
        """The store under test, over the data in this folder."""
        raise AssertionError(f"{type(self).__name__} has no make_store(path): one over {path}")

    def make_model(self) -> Any:
        """The store it is compared with."""
        return InMemoryStateStore()

    def __init__(self) -> None:
        super().__init__()
        self._moments: list[datetime] = []
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)

    @initialize()
    def open(self) -> None:
        """Make both."""
        self.model = self.make_model()
        self.store = self.make_store(self.path)
        self.store.connect()
        self.drive = Driver(self.store, self.face)

    def teardown(self) -> None:
        """Close the store, and take its data away."""
        if hasattr(self, "drive"):
            self.drive.__exit__(None, None, None)
            self.store.disconnect()
        self._folder.cleanup()

    # What is done ---------------------------------------------------------------------------------

    @rule(batch=st.lists(steps(), min_size=1, max_size=4, unique_by=lambda step: step["key"]))
    def commit(self, batch: list[dict[str, Any]]) -> None:
        """A batch, at most one commit for an entity."""
        self._moments.append(moment())
        commits = [self._commit(step) for step in batch]
        expected = self.model.commit(commits)
        outcomes = self.drive.commit(commits)
        assert len(outcomes) == len(expected)
        for commit, mine, model in zip(commits, outcomes, expected, strict=True):
            assert _verdict(mine.kind) == _verdict(model.kind), (commit, mine, model)
            if model.kind is OutcomeKind.REFUSED:
                assert str(mine.error) == str(model.error)
        self._compare()

    def _commit(self, step: dict[str, Any], store: Any = None) -> Commit:
        """The commit of a step; the version is that of the model, or of another store."""
        entity_id, machine = step["key"]
        [loaded] = (store or self.model).load([Lookup(entity_id, machine)])
        version = loaded.entity.version if loaded.entity else 0
        if step["note"]:
            return note(
                entity_id,
                machine=machine,
                version=version,
                event_id=step["event_id"],
                payload=step["payload"],
                now=step["now"],
                trace=step["trace"],
            )
        context = step["context"]
        before: dict[str, Any] = loaded.entity.context if loaded.entity else {}
        return change(
            entity_id,
            machine=machine,
            after=max(0, version + step["off"]),
            steps=step["steps"],
            state=step["state"],
            context=context,
            payload=step["payload"],
            patch=None if context is None or "bad" in context else make_patch(before, context),
            history=step["history"],
            timers=step["timers"],
            event_id=step["event_id"],
            now=step["now"],
            archived_at=step["archived_at"],
            trace=step["trace"],
        )

    @rule(key=keys, kind=st.sampled_from([EntryKind.ACTION, EntryKind.REJECTED]))
    def append_later(self, key: Key, kind: EntryKind) -> None:
        """Rows that may wait, then a flush."""
        [loaded] = self.model.load([Lookup(*key)])
        version = loaded.entity.version if loaded.entity else 0
        commits = [note(key[0], machine=key[1], version=version, kind=kind, ref=version)]
        self.model.append_later(commits)
        self.store.append_later(commits)
        self.drive.flush()
        self._compare()

    @rule(
        key=keys,
        named=st.booleans(),
        state=st.sampled_from(STATES),
        context=some_contexts,
        event_id=event_ids,
        expected=st.none() | st.integers(0, 4),
    )
    def set_state(
        self,
        key: Key,
        named: bool,
        state: str,
        context: Any,
        event_id: str | None,
        expected: int | None,
    ) -> None:
        """The public writes, with and without a machine's name and a version."""
        options: dict[str, Any] = {"metadata": {"event_id": event_id, "context": context}}
        if named:
            options["metadata"]["machine_name"] = key[1]
        if expected is None:
            self._both("set_state", key[0], state, **options)
        else:
            self._both("set_state_versioned", key[0], state, expected_version=expected, **options)

    @rule(key=keys, context=contexts)
    def set_context(self, key: Key, context: dict[str, Any]) -> None:
        """The other public write."""
        self._both("set_context", key[0], context, machine_name=key[1])

    @rule(key=keys)
    def read_by_id(self, key: Key) -> None:
        """The public reads, by id alone."""
        for name in ("get_state", "get_context", "get_state_versioned", "machines"):
            self._both(name, key[0])

    def _both(self, name: str, *arguments: Any, **options: Any) -> None:
        expected = _answer(getattr(self.model, name), arguments, options)
        answer = _answer(getattr(self.drive, name), arguments, options)
        assert answer == expected, (name, arguments, options)
        self._compare()

    @precondition(lambda self: hasattr(getattr(self, "store", None), "prune_history"))
    @rule(
        back=st.integers(0, 3),
        days=st.sampled_from([0, 30]),
        batch=st.sampled_from([1, 2, 1_000]),
        machine=st.none() | st.sampled_from(["m", ""]),
    )
    def prune(self, back: int, days: int, batch: int, machine: str | None) -> None:
        """History up to one of the last commits; what is left leads to the entities."""
        self._both(
            "prune_history",
            timedelta(0),
            dedup_window=timedelta(days=days),
            machine_name=machine,
            now=([moment()] * 4 + self._moments)[-1 - back],
            batch=batch,
        )
        for key in KEYS:
            [loaded] = self.model.load([Lookup(*key)])
            rows = self.model.history(key[0], machine_name=key[1], limit=10_000).items
            entity = loaded.entity
            expected: Any = (entity.state, entity.context) if entity is not None else (None, {})
            assert replay(rows) == expected

    @precondition(
        lambda self: all(
            hasattr(getattr(self, each, None), "restore") for each in ("store", "model")
        )
    )
    @rule(batch=st.lists(steps(), min_size=1, max_size=3), off=st.sampled_from([0, 0, 0, 1]))
    def restore(self, batch: list[dict[str, Any]], off: int) -> None:
        """What an entity came to in another store, which had it from here."""
        key = batch[0]["key"]
        other = InMemoryStateStore()
        other.restore([_parcel(self.model, self.model, key)])
        for step in batch:
            other.commit([self._commit(step | {"key": key, "off": 0}, other)])
        [mine, model] = [
            store.restore([_parcel(other, store, key, off)])[0]
            for store in (self.drive, self.model)
        ]
        assert mine.kind is model.kind, (mine, model)
        self._compare()

    @precondition(lambda self: hasattr(self, "store") and self.store.durable)
    @rule()
    def reopen(self) -> None:
        """Close the store and go on with another over the same data."""
        self.drive.__exit__(None, None, None)
        self.store.disconnect()
        self.store = self.make_store(self.path)
        self.store.connect()
        self.drive = Driver(self.store, self.face)
        self._compare()

    # What is seen ---------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Everything that can be read is the same."""
        lookups = [Lookup(*key, tuple(EVENT_IDS)) for key in KEYS]
        for mine, model in zip(self.drive.load(lookups), self.model.load(lookups), strict=True):
            assert _entity(mine.entity) == _entity(model.entity)
            assert _known(mine.known) == _known(model.known)
        for which in ({}, {"machine_names": ["n", ""]}):
            assert self.drive.count_by_state(**which) == self.model.count_by_state(**which)
        asked: list[dict[str, Any]] = [{"state": each} for each in STATES_ASKED]
        for given in (*asked, {"archived": True}):
            found = [_entity(each) for each in self.drive.entities(**given).items]
            assert found == [_entity(each) for each in self.model.entities(**given).items]
        longer: dict[str, Any] = {"in_state_longer_than": timedelta(hours=1)}
        for state in (None, "left"):
            found = [each.key for each in self.drive.entities(state=state, **longer).items]
            assert found == [each.key for each in self.model.entities(state=state, **longer).items]
        for now, limit in ((20, 1), (60, 9)):
            mine, model = self.drive.due(now, limit), self.model.due(now, limit)
            assert (len(mine), set(mine)) == (len(model), set(model)) or limit == 1
            assert bool(mine) is bool(model)
        for entity_id, machine in KEYS:
            mine = self.drive.history(entity_id, machine_name=machine, limit=1_000).items
            model = self.model.history(entity_id, machine_name=machine, limit=1_000).items
            assert [_row(row) for row in mine] == [_row(row) for row in model]
        for chosen in ({}, {"machine_names": ["m", ""]}):
            feeds = [
                _by_key(each.feed(None, 10_000, **chosen).items)
                for each in (self.drive, self.model)
            ]
            assert feeds[0] == feeds[1]


def _parcel(source: Any, target: Any, key: Key, off: int = 0) -> Parcel:
    """What the source has of a key that the target has not; ``off`` makes it unfit."""
    rows, there = (_rows_of(store, key) for store in (source, target))
    if source is target:
        there = []
    after = (there[-1].version, there[-1].commit_id) if there else None
    [mine], [theirs] = (store.load([Lookup(*key)]) for store in (source, target))
    base = 0 if source is target or theirs.entity is None else theirs.entity.version
    return Parcel(*key, mine.entity, tuple(rows[len(there) :]), base + off, after)


def _rows_of(store: Any, key: Key) -> list[HistoryEntry]:
    rows: list[HistoryEntry] = store.history(key[0], machine_name=key[1], limit=10_000).items
    return rows


def _verdict(kind: OutcomeKind) -> str:
    """A commit that is late and a duplicate may be told so either way."""
    return "not now" if kind in {OutcomeKind.STALE, OutcomeKind.DUPLICATE} else str(kind)


def _answer(method: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    try:
        return ascii(method(*arguments, **options))
    except FSMError as error:
        return type(error).__name__, error.message


def _entity(entity: Entity | None) -> Any:
    """Without the clock and the ids that each store makes for itself in public writes."""
    if entity is None:
        return None
    own: dict[str, Any] = {"created_at": 0, "updated_at": 0, "commit_id": ""}
    if entity.state_since > RECENT:
        own["state_since"] = RECENT
    return ascii(replace(entity, history=entity.history or None, **own)), entity.context


def _row(row: HistoryEntry) -> Any:
    own: dict[str, Any] = {"id": 0, "recorded_at": 0}
    if row.kind in {EntryKind.SET, EntryKind.SNAPSHOT}:  # a snapshot has its row's
        own |= {"now": 0, "commit_id": ""}
    return replace(row, **own)


def _known(known: Any) -> dict[str, Any]:
    return {event_id: _row(row) for event_id, row in known.items()}


def _by_key(rows: list[HistoryEntry]) -> dict[Key, list[Any]]:
    """Commits of one batch may be written in any order; those of one entity may not."""
    found: dict[Key, list[Any]] = {}
    for row in rows:
        found.setdefault((row.entity_id, row.machine_name), []).append(_row(row))
    return found

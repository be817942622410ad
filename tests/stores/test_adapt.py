"""Users' stores behind the native protocol: called as little as promised, and honest about the rest."""

import asyncio

import pytest

from pystator import errors
from pystator.records import Commit, Entry, EntryKind, Lookup, OutcomeKind
from pystator.stores import adapt
from pystator.stores.adapt import RESERVED, lift
from pystator.stores.memory import InMemoryStateStore
from pystator.stores.protocols import AsyncStateStore, StateStore, VersionedStateStore


class Three:
    """As in the specification, with a record of the calls."""

    def __init__(self):
        self.states = {}
        self.contexts = {}
        self.calls = []

    def get_state(self, entity_id):
        self.calls.append("get_state")
        return self.states.get(entity_id)

    def set_state(self, entity_id, state, *, metadata=None):
        self.calls.append("set_state")
        if state == "broken":
            raise OSError("the disk is full")
        self.metadata = metadata
        self.states[entity_id] = state
        if metadata and "context" in metadata:
            self.contexts[entity_id] = metadata["context"]

    def get_context(self, entity_id):
        self.calls.append("get_context")
        return self.contexts.get(entity_id, {})


class AsyncThree:
    def __init__(self):
        self.inner = Three()

    async def aget_state(self, entity_id):
        await asyncio.sleep(0)
        return self.inner.get_state(entity_id)

    async def aset_state(self, entity_id, state, *, metadata=None):
        await asyncio.sleep(0)
        self.inner.set_state(entity_id, state, metadata=metadata)

    async def aget_context(self, entity_id):
        await asyncio.sleep(0)
        return self.inner.get_context(entity_id)


class Versioned(Three):
    def __init__(self):
        super().__init__()
        self.versions = {}

    def get_state_versioned(self, entity_id):
        return self.states.get(entity_id), self.versions.get(entity_id, 0)

    def set_state_versioned(self, entity_id, state, *, expected_version, metadata=None):
        if self.versions.get(entity_id, 0) != expected_version:
            raise errors.StaleVersionError("somebody was first")
        self.set_state(entity_id, state, metadata=metadata)
        self.versions[entity_id] = expected_version + 1
        return expected_version + 1


def event(
    version, *, state="open", context=None, timers=None, history=None, entity_id="a", rejected=False
):
    kind = EntryKind.REJECTED if rejected else EntryKind.EVENT
    new = version if rejected else version + 1
    entry = Entry(new, kind, "go", None, 1, None, "new", None if rejected else state)
    return Commit(
        entity_id, "m", version, new, state, context, history, timers, "1.0", "f", 1, (entry,), "c"
    )  # fmt: skip


class Sync:
    def __init__(self, store):
        self.store = lift(store)

    def load(self, entity_id="a"):
        return self.store.load([Lookup(entity_id, "m")])[0].entity

    def commit(self, *commits):
        return self.store.commit(commits)


class Async(Sync):
    def load(self, entity_id="a"):
        return asyncio.run(self.store.aload([Lookup(entity_id, "m")]))[0].entity

    def commit(self, *commits):
        return asyncio.run(self.store.acommit(commits))


@pytest.fixture(params=["sync", "async", "sync store from asyncio"])
def lifted(request):
    if request.param == "sync":
        store = Three()
        return Sync(store), store
    store = AsyncThree() if request.param == "async" else Three()
    return Async(store), getattr(store, "inner", store)


def test_each_method_is_called_once_for_an_event(lifted):
    drive, inner = lifted
    assert drive.load() is None
    assert [o.kind for o in drive.commit(event(0, context={"n": 1}))] == [OutcomeKind.APPLIED]
    assert inner.calls == ["get_state", "get_context", "set_state"]
    assert inner.metadata == {
        "context": {"n": 1}, "machine_name": "m", "machine_version": "1.0", "trigger": "go", "source_state": "new"
    }  # fmt: skip
    entity = drive.load()
    assert (
        entity.state,
        entity.context,
        entity.timers,
        entity.history,
    ) == ("open", {"n": 1}, {}, None)
    entity.context["n"] = 2
    assert drive.load().context == {"n": 1}


def test_a_rejection_touches_nothing(lifted):
    drive, inner = lifted
    assert OutcomeKind.APPLIED is drive.commit(event(1, rejected=True))[0].kind
    assert inner.calls == []


def test_an_unchanged_context_is_left_to_the_store(lifted):
    drive, inner = lifted
    drive.commit(event(0, context={"n": 1}))
    drive.commit(event(1, state="closed"))
    assert "context" not in inner.metadata
    assert (drive.load().state, drive.load().context) == ("closed", {"n": 1})


def test_an_error_of_the_store_reaches_who_sent_the_event_and_no_neighbour(lifted):
    drive, inner = lifted
    outcomes = drive.commit(
        event(0, context={}),
        event(0, state="broken", context={}, entity_id="b"),
        event(0, context={}, entity_id="c"),
    )
    assert [outcome.kind for outcome in outcomes] == ["applied", "refused", "applied"]
    assert str(outcomes[1].error) == "the disk is full"
    assert inner.states == {"a": "open", "c": "open"}


def test_engine_data_lives_in_a_reserved_key_that_only_the_store_sees(lifted):
    drive, inner = lifted
    drive.commit(event(0, context={"n": 1}, timers={"t": (50, 1)}, history={"p": ["x"]}))
    assert inner.contexts["a"] == {
        "n": 1,
        RESERVED: {"timers": {"t": [50, 1]}, "history": {"p": ["x"]}},
    }
    entity = drive.load()
    assert (
        entity.context,
        entity.timers,
        entity.history,
    ) == ({"n": 1}, {"t": (50, 1)}, {"p": ["x"]})
    drive.commit(event(1, context={"n": 2}))
    assert drive.load().timers == {"t": (50, 1)}
    drive.commit(event(2, timers={}))
    assert inner.contexts["a"] == {"n": 2, RESERVED: {"history": {"p": ["x"]}}}
    drive.commit(event(3, context={"n": 3}, history={}))
    assert inner.contexts["a"] == {"n": 3}


def test_engine_data_survives_when_memory_of_it_was_given_up(lifted, monkeypatch):
    """The memory is bounded; what it forgot is read from the store before it is written again."""
    monkeypatch.setattr(adapt, "REMEMBERED", 1)
    drive, _ = lifted
    drive.commit(event(0, context={"n": 1}, timers={"t": (50, 1)}))
    drive.commit(event(0, context={"n": 1}, timers={"t": (60, 1)}, entity_id="b"))
    drive.commit(event(1, context={"n": 2}))
    assert drive.load().timers == {"t": (50, 1)}


def test_due_entities_are_those_this_process_has_seen(lifted):
    drive, _ = lifted
    for entity_id, at in (("a", 50), ("b", 40), ("c", 60)):
        drive.commit(event(0, context={}, timers={"t": (at, 1), "u": (99, 1)}, entity_id=entity_id))
    assert drive.store.due(50, 10) == [("b", "m"), ("a", "m")]
    assert drive.store.due(99, 1, machine_name="m") == [("b", "m")]
    assert drive.store.due(99, 1, machine_name="other") == []


def test_compare_and_set_is_used_where_there_is_one():
    store = Versioned()
    drive = Sync(store)
    assert OutcomeKind.APPLIED is drive.commit(event(0, context={}))[0].kind
    assert drive.load().version == 1
    store.set_state_versioned("a", "elsewhere", expected_version=1)
    assert OutcomeKind.STALE is drive.commit(event(1))[0].kind
    assert (drive.load().state, drive.load().version) == ("elsewhere", 2)


def test_a_blocking_call_on_an_async_store_says_what_to_call():
    store = lift(AsyncThree())
    assert (store.sync, store.has_async) == (False, True)
    with pytest.raises(
        TypeError, match="AsyncThree has only async methods: call async_process_event"
    ):
        store.load([Lookup("a", "m")])
    with pytest.raises(TypeError, match="async_process_event"):
        store.commit([event(0)])


def test_what_is_no_store_is_said_with_what_is_missing():
    class Half:
        def get_state(self, entity_id):
            return None

    with pytest.raises(TypeError, match="Half is no state store: it has no set_state, get_context"):
        lift(Half())
    with pytest.raises(TypeError, match="no state store"):
        lift(object())


def test_coroutine_functions_under_blocking_names_are_found_out():
    class Wrong(Three):
        async def get_state(self, entity_id):
            return "open"

    with pytest.raises(TypeError, match="name it aget_state"):
        Sync(Wrong()).load()


def test_a_wrong_answer_names_the_method():
    class Wrong(Three):
        def get_context(self, entity_id):
            return [1]

    with pytest.raises(TypeError, match="get_context of Wrong gave list"):
        Sync(Wrong()).load()


def test_what_such_a_store_cannot_do_is_a_clear_error():
    store = lift(Three())
    for ask in (
        lambda: store.history("a"), store.entities, store.count_by_state, lambda: store.feed(None),
        lambda: store.machines("a"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="Three does not offer"):
            ask()
    store.append_later([event(1, rejected=True)])
    store.flush()
    assert store.connect() is store
    store.disconnect()


def test_native_stores_come_back_unchanged():
    store = InMemoryStateStore()
    assert lift(store) is store


def test_the_protocols_recognise_what_implements_them():
    assert isinstance(Three(), StateStore)
    assert isinstance(AsyncThree(), AsyncStateStore)
    assert isinstance(Versioned(), VersionedStateStore)
    assert not isinstance(Three(), AsyncStateStore | VersionedStateStore)
    for protocol in (StateStore, AsyncStateStore, VersionedStateStore):
        assert isinstance(InMemoryStateStore(), protocol)

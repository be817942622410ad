"""Users' stores, lifted to the native protocol, so that the orchestrator knows only that one.

Laws:

- A three-method store is called ``get_state`` once, ``get_context`` once and ``set_state`` once per
  applied event, and nothing else. Batches are sequential.
- It has a single writer: the last write wins. A store with compare-and-set is safe for many.
- What the engine needs beside the context (armed timers, history states) sits in the context under
  the key ``_pystator``, only when there is any, and nobody but the store sees it there.
- Rejections and outcomes of actions leave no trace: such a store has no place for them.
- Ids and names are checked as for our own stores; what a context may hold is the store's affair.
- Methods are bound once, when the store is lifted.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from inspect import iscoroutine
from typing import Any, ClassVar, Final, Self, TypeVar, cast

from pystator.errors import StaleVersionError
from pystator.records import (
    Commit,
    Entity,
    Entry,
    Key,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Timers,
    record,
)
from pystator.stores.columns import next_due
from pystator.stores.keys import check_commit
from pystator.stores.protocols import NativeStore, lack
from pystator.stores.unlisted import UnlistedStore

__all__ = ["RESERVED", "LiftedStore", "lift"]

RESERVED: Final = "_pystator"
"""The context key of the engine's data in a store that has no other place for it."""

REMEMBERED: Final = 10_000
"""Entities whose engine data is kept in memory between load and commit."""

T = TypeVar("T")

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)

_NATIVE: Final = ("load", "commit", "aload", "acommit", "due", "history", "feed")
_THREE: Final = ("get_state", "set_state", "get_context")
_VERSIONED: Final = ("get_state_versioned", "set_state_versioned", "get_context")


def lift(store: Any) -> NativeStore:
    """The store as the native protocol: itself if it is native, else an adapter around it.

    Args:
        store: A native store, or one with the methods of `StateStore`, `AsyncStateStore` or
            `VersionedStateStore` (blocking, ``a``-twins, or both).

    Raises:
        TypeError: It is no store; the message names what is missing.
    """
    if isinstance(store, type):
        raise TypeError(f"{store.__name__} is a class: make a store of it, {store.__name__}(...)")
    if _has(store, _NATIVE):
        return cast("NativeStore", store)
    faces = [_face(store, ""), _face(store, "a")]
    if faces == [None, None]:
        lacking = [name for name in _THREE if not _has(store, (name,))]
        raise TypeError(
            f"{type(store).__name__} is no state store: it has no {', '.join(lacking)}; implement "
            "the three methods of pystator.StateStore, or those of pystator.AsyncStateStore"
        )
    return LiftedStore(store, *faces)


def _has(store: Any, names: Sequence[str], prefix: str = "") -> bool:
    return all(callable(getattr(store, prefix + name, None)) for name in names)


@record
class _Face:
    """Bound methods of one face: ``read`` gives state and version, ``write`` takes the version."""

    read: Callable[[str], Any]
    context: Callable[[str], Any]
    write: Callable[[str, str, int, dict[str, Any]], Any]
    versioned: bool


def _face(store: Any, prefix: str) -> _Face | None:
    if _has(store, _VERSIONED, prefix):
        write = getattr(store, f"{prefix}set_state_versioned")
        return _Face(
            getattr(store, f"{prefix}get_state_versioned"),
            getattr(store, f"{prefix}get_context"),
            lambda entity_id, state, expected, metadata: write(
                entity_id, state, expected_version=expected, metadata=metadata
            ),
            versioned=True,
        )
    if _has(store, _THREE, prefix):
        keep = getattr(store, f"{prefix}set_state")
        return _Face(
            getattr(store, f"{prefix}get_state"),
            getattr(store, f"{prefix}get_context"),
            lambda entity_id, state, _, metadata: keep(entity_id, state, metadata=metadata),
            versioned=False,
        )
    return None


# Requests of the programs below -------------------------------------------------------------------


@record
class _Read:
    entity_id: str


@record
class _ReadContext:
    entity_id: str


@record
class _Write:
    entity_id: str
    state: str
    expected: int
    metadata: dict[str, Any]


_Program = Generator[_Read | _ReadContext | _Write, Any, T]


@record
class _Engine:
    """The engine's data of an entity."""

    timers: Timers
    history: dict[str, list[str]] | None


_EMPTY: Final = _Engine({}, None)


class LiftedStore(UnlistedStore):
    """A user's store behind the native protocol; made by `lift`.

    Blocking methods that are called from asyncio run in the event loop's own thread, as any
    blocking function called there does: give the store ``a``-twins if they wait for a network.
    """

    durable: ClassVar[bool] = False
    idempotent: ClassVar[bool] = False
    keeps_history: ClassVar[bool] = False
    has_feed: ClassVar[bool] = False
    archives: ClassVar[bool] = False
    combines: ClassVar[bool] = False
    in_flight: ClassVar[int] = 1

    def __init__(self, store: Any, blocking: _Face | None, twins: _Face | None) -> None:
        self.store = store
        self.name = type(store).__name__
        self._blocking = blocking
        self._twins = twins
        self._engines: dict[Key, _Engine] = {}
        self._forgot = False

    @property
    def sync(self) -> bool:
        """It has the blocking methods."""
        return self._blocking is not None

    @property
    def has_async(self) -> bool:
        """It can be driven from asyncio, by its twins or by its blocking methods."""
        return True

    @property
    def keeps_versions(self) -> bool:
        """The versions it gives are the entities' own: it compares them, too."""
        return all(face.versioned for face in (self._blocking, self._twins) if face is not None)

    # Decisions ------------------------------------------------------------------------------------

    def _load(self, lookups: Sequence[Lookup], *, versioned: bool) -> _Program[list[Loaded]]:
        loaded: list[Loaded] = []
        for lookup in lookups:
            answer = yield _Read(lookup.entity_id)
            state, version = answer if versioned else (answer, 1)
            self._check("get_state", state, str)
            context = yield _ReadContext(lookup.entity_id)
            self._check("get_context", context, Mapping)
            entity = None if state is None else self._entity(lookup, state, version, context)
            loaded.append(Loaded(entity, {}))
        return loaded

    def _check(self, method: str, value: Any, kind: type) -> None:
        if value is None or isinstance(value, kind):
            return
        if iscoroutine(value):
            value.close()
            raise TypeError(
                f"{method} of {self.name} is a coroutine function: "
                f"name it a{method}, as pystator.AsyncStateStore does"
            )
        raise TypeError(f"{method} of {self.name} gave {type(value).__name__}, not {kind.__name__}")

    def _entity(self, lookup: Lookup, state: str, version: int, context: Any) -> Entity:
        fields = _fields(context)
        engine = _parse(fields.pop(RESERVED, None))
        self._remember((lookup.entity_id, lookup.machine_name), engine)
        return Entity(
            entity_id=lookup.entity_id,
            machine_name=lookup.machine_name,
            version=version,
            state=state,
            context=fields,
            history=None if engine.history is None else dict(engine.history),
            timers=dict(engine.timers),
            machine_version="",
            fingerprint="",
            created_at=0,
            updated_at=0,
            commit_id="",
            state_since=0,
        )

    def _commit(self, commits: Sequence[Commit], *, versioned: bool) -> _Program[list[Outcome]]:
        outcomes: list[Outcome] = []
        for commit in commits:
            if commit.new_version == commit.expected_version:
                outcomes.append(_APPLIED)  # only rows, and there is no place for rows
                continue
            try:
                yield from self._commit_one(commit, versioned=versioned)
            except StaleVersionError:
                outcomes.append(_STALE)
            except Exception as error:  # noqa: BLE001 - the user's own: it goes to who sent the event
                outcomes.append(Outcome(OutcomeKind.REFUSED, error))
            else:
                outcomes.append(_APPLIED)
        return outcomes

    def _commit_one(self, commit: Commit, *, versioned: bool) -> _Program[None]:
        check_commit(commit)
        key = (commit.entity_id, commit.machine_name)
        entry = commit.entries[-1]
        state = commit.state or entry.target_state
        if state is None:
            answer = yield _Read(commit.entity_id)
            state = answer[0] if versioned else answer
        context = commit.context
        before = self._engines.get(key, _EMPTY)
        if self._forgot and key not in self._engines:
            before = _parse(_fields((yield _ReadContext(commit.entity_id))).get(RESERVED))
        engine = _Engine(
            before.timers if commit.timers is None else dict(commit.timers),
            before.history if commit.history is None else commit.history,
        )
        if context is None and engine != before:
            context = _fields((yield _ReadContext(commit.entity_id)))
        metadata = _metadata(commit, entry)
        if context is not None:
            metadata["context"] = _with_engine(context, engine)
        yield _Write(commit.entity_id, state or "", commit.expected_version, metadata)
        self._remember(key, engine)

    def _remember(self, key: Key, engine: _Engine) -> None:
        """What a commit that leaves timers as they are must write again; also what `due` knows."""
        if not engine.timers and not engine.history:
            self._engines.pop(key, None)
            return
        if len(self._engines) >= REMEMBERED and key not in self._engines:
            self._engines.clear()
            self._forgot = True
        self._engines[key] = engine

    # Drivers --------------------------------------------------------------------------------------

    def _run(self, face: _Face, program: _Program[T]) -> T:
        answer: Any = None
        failure: Exception | None = None
        while True:
            try:
                request = program.send(answer) if failure is None else program.throw(failure)
            except StopIteration as end:
                return cast("T", end.value)
            failure = None
            try:
                answer = _ask(face, request)
            except Exception as error:  # noqa: BLE001 - the program decides
                failure = error

    async def _arun(self, face: _Face, program: _Program[T]) -> T:
        answer: Any = None
        failure: Exception | None = None
        while True:
            try:
                request = program.send(answer) if failure is None else program.throw(failure)
            except StopIteration as end:
                return cast("T", end.value)
            failure = None
            try:
                answer = await cast("Awaitable[Any]", _ask(face, request))
            except Exception as error:  # noqa: BLE001 - the program decides
                failure = error

    def _need_sync(self) -> _Face:
        if self._blocking is None:
            raise TypeError(
                f"{self.name} has only async methods: call async_process_event, "
                "or the async_ twin of what you called, from a coroutine"
            )
        return self._blocking

    # The native protocol --------------------------------------------------------------------------

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """Entities, one `Loaded` for each lookup; event ids are never known."""
        face = self._need_sync()
        if not lookups:
            return []
        return self._run(face, self._load(lookups, versioned=face.versioned))

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Write one after the other; what the store raised is the outcome's ``error``."""
        return self._finish(commits, self._need_sync())

    def _finish(self, commits: Sequence[Commit], face: _Face) -> list[Outcome]:
        if not _writes(commits):
            return [_APPLIED] * len(commits)
        return self._run(face, self._commit(commits, versioned=face.versioned))

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`load` for asyncio."""
        face = self._twins
        if face is None:
            return self.load(lookups)
        if not lookups:
            return []
        return await self._arun(face, self._load(lookups, versioned=face.versioned))

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`commit` for asyncio."""
        face = self._twins
        if face is None:
            return self.commit(commits)
        if not _writes(commits):
            return [_APPLIED] * len(commits)
        return await self._arun(face, self._commit(commits, versioned=face.versioned))

    def append_later(self, commits: Sequence[Commit]) -> None:
        """Rows have no place in such a store."""

    def flush(self) -> None:
        """Nothing waits here."""

    def due(self, now: int, limit: int, *, machine_name: str | None = None) -> list[Key]:
        """Due entities among those this process has seen: the store cannot be asked for them.

        The timers of the others fire with their next event.
        """
        found = sorted(
            (due, key)
            for key, engine in self._engines.items()
            if (due := next_due(engine.timers)) is not None
            and due <= now
            and machine_name in {None, key[1]}
        )
        return [key for _, key in found[:limit]]

    def within(self, connection: object, *, reading: bool = False) -> NativeStore:
        """A `ConfigurationError`: the store knows no transactions."""
        del connection, reading
        lack(self.name)

    def connect(self, *, auto_initialize: bool = True, validate_schema: bool = True) -> Self:
        """The store is opened by whoever made it."""
        del auto_initialize, validate_schema
        return self

    def disconnect(self) -> None:
        """The store is closed by whoever made it."""


def _ask(face: _Face, request: _Read | _ReadContext | _Write) -> Any:
    if isinstance(request, _Read):
        return face.read(request.entity_id)
    if isinstance(request, _ReadContext):
        return face.context(request.entity_id)
    return face.write(request.entity_id, request.state, request.expected, request.metadata)


def _writes(commits: Sequence[Commit]) -> bool:
    return any(commit.new_version != commit.expected_version for commit in commits)


def _metadata(commit: Commit, entry: Entry) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "machine_name": commit.machine_name,
        "machine_version": commit.machine_version,
        "trigger": entry.trigger,
        "source_state": entry.source_state,
    }
    if entry.event_id is not None:
        metadata["event_id"] = entry.event_id
    return metadata


def _with_engine(context: Mapping[str, Any], engine: _Engine) -> dict[str, Any]:
    fields = dict(context)
    fields.pop(RESERVED, None)
    data: dict[str, Any] = {}
    if engine.timers:
        data["timers"] = {key: list(value) for key, value in engine.timers.items()}
    if engine.history:
        data["history"] = {key: list(value) for key, value in engine.history.items()}
    if data:
        fields[RESERVED] = data
    return fields


def _fields(context: Any) -> dict[str, Any]:
    return dict(context) if context else {}


def _parse(data: Any) -> _Engine:
    if not data:
        return _EMPTY
    timers = {key: (value[0], value[1]) for key, value in data.get("timers", {}).items()}
    history = {key: list(value) for key, value in data.get("history", {}).items()}
    return _Engine(timers, history or None)

"""A store that writes down what is asked of it and what it answers, and when.

::

    log: list[Operation[Read | Write]] = []
    store = RecordingStore(MyStore(), log)
    ...                                      # threads, tasks, orchestrators use it
    assert_linearizable(log)

Logs of several processes go through `write_log` and `read_log`.
"""

import asyncio
import json
import threading
from collections.abc import Iterable, Sequence
from time import monotonic_ns as clock
from typing import Any, Final, cast

from pystator.errors import StoreUnavailableError
from pystator.records import (
    Commit,
    Entity,
    EntryKind,
    HistoryEntry,
    Loaded,
    Lookup,
    Outcome,
    OutcomeKind,
    Page,
)
from pystator.stores.codec import encode
from pystator.testing.linearizability import Operation
from pystator.testing.models import Add, Count, Read, Write

__all__ = ["RecordingStore", "clock", "read_log", "write_log"]

Log = list[Operation[Any]]

_SILENT: Final = frozenset({EntryKind.REJECTED, EntryKind.ACTION})
"""Rows that make no version."""

_sorted: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class RecordingStore:
    """A native store as its users see it, recorded: loads, commits, entities and history.

    A commit that raises is one whose answer was lost, unless the error says that nothing was
    written. A read that raises told nobody anything. Other calls are passed on.

    Args:
        store: The store.
        log: What happens is appended here, one operation an entity; threads may share it.
        client: Who uses this one; by default, the thread or the task that calls.
    """

    def __init__(self, store: Any, log: Log, client: str | None = None) -> None:
        self.store = store
        self.log = log
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def load(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`NativeStore.load`."""
        start = clock()
        answer: list[Loaded] = self.store.load(lookups)
        self._loaded(lookups, answer, start)
        return answer

    def load_one(self, entity_id: str, machine_name: str) -> Entity | None:
        """`NativeStore.load_one`."""
        start = clock()
        answer: Entity | None = self.store.load_one(entity_id, machine_name)
        self._loaded([Lookup(entity_id, machine_name)], [Loaded(answer, {})], start)
        return answer

    async def aload(self, lookups: Sequence[Lookup]) -> list[Loaded]:
        """`NativeStore.aload`."""
        start = clock()
        answer: list[Loaded] = await self.store.aload(lookups)
        self._loaded(lookups, answer, start)
        return answer

    def entities(self, **options: Any) -> Page[Entity]:
        """`NativeStore.entities`: a read of each entity on the page."""
        start = clock()
        page: Page[Entity] = self.store.entities(**options)
        self._listed(page, start)
        return page

    async def aentities(self, **options: Any) -> Page[Entity]:
        """`NativeStore.aentities`."""
        start = clock()
        page: Page[Entity] = await self.store.aentities(**options)
        self._listed(page, start)
        return page

    def history(self, entity_id: str, **options: Any) -> Page[HistoryEntry]:
        """`NativeStore.history`: newest first, it tells an entity's version and last commit."""
        start = clock()
        page: Page[HistoryEntry] = self.store.history(entity_id, **options)
        self._retold(entity_id, options, page, start)
        return page

    async def ahistory(self, entity_id: str, **options: Any) -> Page[HistoryEntry]:
        """`NativeStore.ahistory`."""
        start = clock()
        page: Page[HistoryEntry] = await self.store.ahistory(entity_id, **options)
        self._retold(entity_id, options, page, start)
        return page

    def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`NativeStore.commit`."""
        start = clock()
        try:
            answer: list[Outcome] = self.store.commit(commits)
        except BaseException as error:
            self._lost(commits, start, error)
            raise
        self._committed(commits, answer, start)
        return answer

    async def acommit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """`NativeStore.acommit`."""
        start = clock()
        try:
            answer: list[Outcome] = await self.store.acommit(commits)
        except BaseException as error:
            self._lost(commits, start, error)
            raise
        self._committed(commits, answer, start)
        return answer

    # What is written down -------------------------------------------------------------------------

    def _who(self) -> str:
        if self.client is not None:
            return self.client
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        return threading.current_thread().name if task is None else task.get_name()

    def _loaded(self, lookups: Sequence[Lookup], answer: Sequence[Loaded], start: int) -> None:
        end = clock()
        client = self._who()
        for lookup, each in zip(lookups, answer, strict=True):
            key = lookup.entity_id, lookup.machine_name
            self.log.append(Operation(client, key, _read(lookup, each), start, end))

    def _listed(self, page: Page[Entity], start: int) -> None:
        end = clock()
        client = self._who()
        for each in page.items:
            read = _read(Lookup(*each.key), Loaded(each, {}))
            self.log.append(Operation(client, each.key, read, start, end))

    def _retold(
        self, entity_id: str, options: dict[str, Any], page: Page[HistoryEntry], start: int
    ) -> None:
        end = clock()
        machine = options.get("machine_name")
        if machine is None or not options.get("newest_first") or options.get("after") is not None:
            return
        last = next((row for row in page.items if row.kind not in _SILENT), None)
        if last is not None:
            read = Read(last.version, commit_id=last.commit_id)
        elif page.next is None:
            read = Read(0)
        else:
            return
        self.log.append(Operation(self._who(), (entity_id, machine), read, start, end))

    def _committed(self, commits: Sequence[Commit], answer: Sequence[Outcome], start: int) -> None:
        end = clock()
        client = self._who()
        self.log += [
            Operation(client, _key(commit), _write(commit, outcome.kind), start, end)
            for commit, outcome in zip(commits, answer, strict=True)
        ]

    def _lost(self, commits: Sequence[Commit], start: int, error: BaseException) -> None:
        if isinstance(error, StoreUnavailableError) and error.context.get("written") is False:
            return
        client = self._who()
        self.log += [
            Operation(client, _key(commit), _write(commit, None), start, None) for commit in commits
        ]


def _key(commit: Commit) -> tuple[str, str]:
    return commit.entity_id, commit.machine_name


def _read(lookup: Lookup, loaded: Loaded) -> Read:
    entity = loaded.entity
    asked, known = frozenset(lookup.event_ids), frozenset(loaded.known)
    if entity is None:
        return Read(0, asked=asked, known=known)
    return Read(entity.version, entity.state, _text(entity.context), entity.commit_id, asked, known)


def _write(commit: Commit, outcome: OutcomeKind | None) -> Write:
    event_ids = frozenset(each.event_id for each in commit.entries if each.event_id is not None)
    refused = outcome is OutcomeKind.REFUSED
    context = None if commit.context is None or refused else _text(commit.context)
    return Write(
        commit.expected_version,
        commit.new_version,
        commit.state,
        context,
        commit.commit_id,
        event_ids,
        outcome,
    )


def _text(context: dict[str, Any]) -> str:
    """The same for equal contexts, whatever the order of their keys."""
    return _sorted(json.loads(encode(context)))


# Logs as text -------------------------------------------------------------------------------------

_CALLS: Final[dict[str, type[Any]]] = {each.__name__: each for each in (Add, Count, Read, Write)}


def write_log(log: Iterable[Operation[Any]]) -> str:
    """Operations as lines of JSON, for another process to read."""
    return "".join(
        json.dumps([each.client, each.key, each.invoked, each.returned, *_plain(each.call)]) + "\n"
        for each in log
    )


def _plain(call: Any) -> tuple[str, dict[str, Any]]:
    fields = {name: getattr(call, name) for name in call.__dataclass_fields__}
    plain = {
        name: sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value
        for name, value in fields.items()
    }
    return type(call).__name__, plain


def read_log(text: str) -> list[Operation[Any]]:
    """What `write_log` wrote; a last line that is not whole, of a killed process, is left out."""
    found: list[Operation[Any]] = []
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        client, key, invoked, returned, name, fields = json.loads(line)
        for field, value in fields.items():
            if isinstance(value, list):
                fields[field] = frozenset(cast("list[str]", value))
        if fields.get("outcome") is not None:
            fields["outcome"] = OutcomeKind(fields["outcome"])
        found.append(Operation(client, (key[0], key[1]), _CALLS[name](**fields), invoked, returned))
    return found

"""Commits of the MongoDB store as update statements: everything the server needs, nothing sent."""

import os
from collections.abc import Sequence
from itertools import count
from typing import Final

from pystator.errors import FSMError, InvalidValueError
from pystator.records import UNARCHIVE, Commit, Outcome, OutcomeKind
from pystator.stores.codec import encode
from pystator.stores.columns import encode_history, encode_timers, next_due, state_since
from pystator.stores.keys import check_commit
from pystator.stores.mongodb.documents import APART, Document, id_of, leaves_of, row_of

__all__ = ["LARGEST", "Write", "apart", "next_rev", "over", "prepare", "refusal", "too_large"]

ROOM: Final = 50
"""Rows of a tail that has no room: it is relayed first."""

TAIL: Final = 256_000
"""Bytes of such a tail, about: fewer rows of the size of those that are to be added."""

LARGEST: Final = 12_000_000
"""Bytes of texts in one commit: a document of MongoDB has 16 MiB."""

_ROW: Final = 500
"""Bytes of a row besides its long texts, about."""

_TEXTS: Final = ("payload", "context_patch", "actions", "error_message")


class Write:
    """One commit, ready to be sent.

    Attributes:
        key: ``_id`` of the document.
        expected: The version it must have; None when it is not compared.
        version: The version it will have then.
        commit_id: Of the commit.
        made: The document it makes, to be inserted; None when one is changed.
        statement: Of an ``update`` command, when one is changed.
        ids: Its event ids.
        rev: What the document has, and the first of the rows, if this write was applied.
        room: So many rows there may be in the tail.
        size: Bytes of its texts, about.
        refused: The answer, when the commit cannot be stored.
    """

    __slots__ = (
        "commit_id", "expected", "ids", "key", "made", "refused", "rev", "room", "size",
        "statement", "version",
    )  # fmt: skip

    def __init__(self, key: str, version: int, commit_id: str) -> None:
        self.key = key
        self.commit_id = commit_id
        self.expected: int | None = None
        self.version = version
        self.made: Document | None = None
        self.statement: Document = {}
        self.ids: list[str] = []
        self.rev = next(_revs)
        self.room = 0
        self.size = 0
        self.refused: Outcome | None = None


class _Revs:
    """Numbers that no other process gives, as good as surely, and none of this one twice."""

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        self._numbers = count(int.from_bytes(os.urandom(8)) >> 2)

    def __next__(self) -> int:
        return next(self._numbers)


_revs: Final = _Revs()
if hasattr(os, "register_at_fork"):  # a forked child would repeat its parent's
    os.register_at_fork(after_in_child=_revs.reseed)


def next_rev() -> int:
    """A number that no document has as its ``rev``."""
    return next(_revs)


def prepare(commits: Sequence[Commit], recorded_at: int, limit: int) -> list[Write]:
    """Encode commits, in order.

    Args:
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    return [_prepare(commit, recorded_at, limit) for commit in commits]


def _prepare(commit: Commit, recorded_at: int, limit: int) -> Write:
    key = id_of(commit.entity_id, commit.machine_name)
    write = Write(key, commit.new_version, commit.commit_id)
    try:
        changes = commit.new_version != commit.expected_version
        # An entity that is there has a key that was checked; one that is not is stale anyway.
        check_commit(commit, known=changes and commit.expected_version > 0)
        rows = [row_of(entry, commit, recorded_at, limit) for entry in commit.entries]
        write.size = sum([_ROW + sum([_size(row.get(name)) for name in _TEXTS]) for row in rows])
        write.room = min(ROOM - 1, TAIL * len(rows) // (write.size or 1))
        if changes:
            write.expected = commit.expected_version
            _change(write, commit, rows, limit)
        elif rows:
            _note(write, commit, rows)
    except InvalidValueError as error:
        write.refused = refusal(error)
        return write
    if write.size > LARGEST:
        write.refused = too_large(write.size)
    elif len(set(write.ids)) < len(write.ids):
        write.refused = Outcome(OutcomeKind.DUPLICATE)
    return write


def _change(write: Write, commit: Commit, rows: list[Document], limit: int) -> None:
    """A commit that changes its entity, or makes it."""
    values: Document = {
        "version": commit.new_version,
        "machine_version": commit.machine_version,
        "fingerprint": commit.fingerprint,
        "updated_at": commit.now,
        "commit_id": commit.commit_id,
        "rev": write.rev,
        "waiting": True,
    }
    gone: Document = {}
    if commit.state is not None:
        values["state"] = commit.state
        values["leaves"] = leaves_of(commit.state)
    if commit.context is not None:
        context = values["context"] = encode(commit.context, limit=limit)
        write.size += _size(context)
    since = state_since(commit)
    if since is not None:
        values["state_since"] = since
    if commit.history is not None:
        _set(values, gone, "history", encode_history(commit.history))
    if commit.timers is not None:
        _set(values, gone, "timers", encode_timers(commit.timers))
        _set(values, gone, "next_due", next_due(commit.timers))
    query: Document = {"_id": write.key, "version": commit.expected_version}
    moved: Document = {}
    if commit.archived_at is None:
        query["archived_at"] = _NOT_THERE  # or else `apart` changes the statement
    else:
        moved = _archive(values, gone, commit.archived_at)
    if commit.expected_version:
        update: Document = {"$set": values, "$unset": gone} if gone else {"$set": values}
        if moved:
            update["$rename"] = moved
        _append(write, query, update, rows, upsert=False)
        return
    values["entity_id"] = commit.entity_id
    values["machine_name"] = commit.machine_name
    values["created_at"] = commit.now
    _name(write, rows)
    write.made = {"_id": write.key, **values, "seq": len(rows), "tail": rows, "ids": write.ids}


_NOT_THERE: Final[Document] = {"$exists": False}


def _archive(values: Document, gone: Document, archived_at: int) -> Document:
    """Let a change archive its entity, or take it back; what is to be renamed for that."""
    back = archived_at == UNARCHIVE
    if back:
        gone["archived_at"] = ""
    else:
        values["archived_at"] = archived_at
    moved: Document = {}
    for name, kept in APART.items():
        before, after = (kept, name) if back else (name, kept)
        if name in values:
            values[after] = values.pop(name)
            gone[before] = ""
        elif name in gone:
            gone[before] = gone[after] = ""
        else:
            moved[before] = after
    return moved


def apart(write: Write) -> None:
    """Let a change that does not know of it be one of an entity that is archived, and stays so."""
    query: Document = write.statement.get("q", {})
    if query.get("archived_at") is _NOT_THERE:
        query["archived_at"] = {"$exists": True}
        for part in (write.statement["u"]["$set"], write.statement["u"].get("$unset", {})):
            for name in APART.keys() & part.keys():
                part[APART[name]] = part.pop(name)


def over(write: Write) -> None:
    """Let a write make its entity in a document that is there already: one that only has rows."""
    made, write.made = write.made, None
    if made is not None:
        values = {name: made[name] for name in made if name not in _APPENDED}
        query = {"_id": write.key, "version": 0}
        _append(write, query, {"$set": values}, made["tail"], upsert=True)


_APPENDED: Final = frozenset({"_id", "seq", "tail", "ids"})


def _note(write: Write, commit: Commit, rows: list[Document]) -> None:
    """A commit that only appends."""
    update: Document = {
        "$set": {"rev": write.rev, "waiting": True},
        "$setOnInsert": {
            "version": 0,
            "entity_id": commit.entity_id,
            "machine_name": commit.machine_name,
        },
    }
    query: Document = {"_id": write.key}
    if not any("event_id" in row for row in rows):
        # Nothing else keeps a late one out, if it is sent again because its answer was lost.
        query["tail.rev"] = {"$ne": write.rev}
    _append(write, query, update, rows, upsert=True)


def _name(write: Write, rows: list[Document]) -> None:
    """By what its rows are known again."""
    rows[0]["rev"] = write.rev
    write.ids = [row["event_id"] for row in rows if "event_id" in row]


def _append(
    write: Write, query: Document, update: Document, rows: list[Document], *, upsert: bool
) -> None:
    """The statement, with the rows and what they are guarded by."""
    _name(write, rows)
    query[f"tail.{write.room}"] = {"$exists": False}
    push: Document = {"tail": {"$each": rows}}
    if write.ids:
        query["ids"] = {"$nin": write.ids}
        query["forgotten"] = {"$exists": False}
        push["ids"] = {"$each": write.ids}
    update["$push"] = push
    update["$inc"] = {"seq": len(rows)}
    write.statement = {"q": query, "u": update, "upsert": upsert}


def _set(values: Document, gone: Document, name: str, value: str | int | None) -> None:
    if value is None:
        gone[name] = ""
    else:
        values[name] = value


def _size(text: str | None) -> int:
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def too_large(size: int) -> Outcome:
    """The answer to a commit that no document has room for."""
    return Outcome(
        OutcomeKind.REFUSED,
        InvalidValueError(
            f"the commit has {size:,} bytes of context, payloads and patches, more than the"
            f" {LARGEST:,} that a document of MongoDB has room for; keep large data elsewhere and"
            " store its key",
            context={"reason": "too_large", "size": size, "limit": LARGEST},
        ),
    )


def refusal(error: Exception) -> Outcome:
    """The answer to a commit that cannot be stored."""
    if isinstance(error, FSMError):
        return Outcome(OutcomeKind.REFUSED, error)
    text = str(error).strip().partition("\n")[0]
    return Outcome(
        OutcomeKind.REFUSED,
        InvalidValueError(f"the commit cannot be stored: {text}", context={"reason": "driver"}),
    )

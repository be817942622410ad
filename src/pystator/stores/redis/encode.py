"""Commits of the Redis store as texts: everything its script needs but the names of keys."""

from collections.abc import Sequence
from typing import Final

from pystator.errors import FSMError, InvalidValueError
from pystator.records import UNARCHIVE, Commit, Entry, EntryKind, Key, Outcome, OutcomeKind
from pystator.stores.codec import encode
from pystator.stores.columns import (
    encode_actions,
    encode_history,
    encode_patch,
    encode_payload,
    encode_timers,
    next_due,
    state_since,
)
from pystator.stores.keys import check_commit
from pystator.stores.redis.rows import LARGEST_VERSION, quoted

__all__ = ["Write", "prepare", "prepared", "refusal"]

_KINDS: Final = {kind: f'["{kind.value}"' for kind in EntryKind}


class _Texts(dict[str | None, str]):
    """The text of a trigger or a state in a row: there are few of them, and they come back."""

    def __missing__(self, text: str | None) -> str:
        made = "null" if text is None else quoted(text)
        if len(self) > 4_096:
            self.clear()
        if text is None or len(text) < 256:
            self[text] = made
        return made


_texts: Final = _Texts()

_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)

_BROKEN: Final = (FSMError, UnicodeError, OverflowError)
"""Errors of values that cannot be stored."""


class Write:
    """One commit, ready for the script.

    Attributes:
        expected: The version that is expected; ``""`` when it only appends.
        state: ``""`` stays.
        due: The earliest deadline; ``""`` stays, ``-`` is none. ``@`` and a time archives, ``@``
            alone takes back.
        ids: How many event ids its rows have.
        fields: Values of the entity: five that every change has, then names and values.
        rows: For each history entry its version, its event id or ``""``, and its text.
        answer: The outcome, where it is known without asking: it cannot be stored, has nothing to
            store, or has an event id twice.
    """

    __slots__ = ("answer", "due", "expected", "fields", "ids", "key", "rows", "state")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.expected = ""
        self.state = ""
        self.due = ""
        self.ids = 0
        self.fields: tuple[str, ...] | list[str] = ()
        self.rows: list[str] = []
        self.answer: Outcome | None = None

    def arguments(self) -> list[str]:
        """As the script takes it: see ``lua/write.lua``."""
        fields, rows = self.fields, self.rows
        return [
            self.key[0],
            self.expected,
            self.state,
            self.due,
            str(self.ids),
            str(len(fields)),
            str(len(rows)),
            *fields,
            *rows,
        ]


def prepare(commits: Sequence[Commit], recorded_at: int, limit: int) -> list[Write]:
    """Encode commits, in order.

    Args:
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    return [prepared(commit, recorded_at, limit) for commit in commits]


def prepared(commit: Commit, recorded_at: int, limit: int) -> Write:
    """Encode a commit."""
    write = Write((commit.entity_id, commit.machine_name))
    try:
        changes = commit.new_version != commit.expected_version
        check_commit(commit)
        if changes:
            _entity(write, commit, limit)
        start = (
            f"{quoted(commit.commit_id)},{_texts[commit.machine_version]},"
            f"{_texts[commit.fingerprint]},"
        )
        end = f"{start}{recorded_at}]"
        for entry in commit.entries:
            if entry.event_id is not None:
                write.ids += 1
            write.rows += (
                _version(entry.version),
                entry.event_id or "",
                _row(entry, limit)
                + (end if entry.trace is None else f"{start}{quoted(entry.trace)},{recorded_at}]"),
            )
    except _BROKEN as error:
        write.answer = refusal(error)
    else:
        if not write.rows:
            write.answer = Outcome(OutcomeKind.APPLIED)
        elif write.ids > 1:
            _look_for_twins(write)
    return write


def _look_for_twins(write: Write) -> None:
    ids = [each for each in write.rows[1::3] if each]
    if len(set(ids)) < len(ids):
        write.answer = _DUPLICATE


def _version(version: int) -> str:
    if not 0 <= version <= LARGEST_VERSION:
        raise InvalidValueError(
            f"version {version} cannot be stored: it is not between 0 and {LARGEST_VERSION}",
            context={"version": version},
        )
    return f"{version:012x}"


def _entity(write: Write, commit: Commit, limit: int) -> None:
    write.expected = str(commit.expected_version)
    now = str(commit.now)
    for text in (commit.machine_version, commit.fingerprint, commit.commit_id):
        if not text.isascii():
            text.encode()  # a lone surrogate is refused here
    fields = [
        str(commit.new_version),
        commit.machine_version,
        commit.fingerprint,
        now,
        commit.commit_id,
    ]
    since = state_since(commit)
    if since is not None:
        fields += ("state_since", str(since))
    if commit.state is not None:
        write.state = commit.state
        fields += ("state", commit.state)
    if commit.context is not None:
        fields += ("context", encode(commit.context, limit=limit))
    if commit.history is not None:
        fields += ("history", encode_history(commit.history) or "")
    if commit.timers is not None:
        due = next_due(commit.timers)
        write.due = "-" if due is None else str(due)
        fields += ("timers", encode_timers(commit.timers) or "")
        fields += ("next_due", "" if due is None else write.due)
    if commit.archived_at is not None:
        write.due = "@" if commit.archived_at == UNARCHIVE else f"@{commit.archived_at}"
    if not commit.expected_version:
        fields += ("machine_name", commit.machine_name, "created_at", now)
    write.fields = fields


def _row(entry: Entry, limit: int) -> str:
    """The text of a row up to what it shares with the others of its commit."""
    texts = _texts
    payload, patch = entry.payload, entry.patch
    head = (
        f"{_KINDS[entry.kind]},{texts[entry.trigger]},"
        f"{'null' if payload is None else encode_payload(payload, limit=limit)},{entry.now},"
        f"{'null' if patch is None else encode_patch(patch, limit=limit)},"
        f"{texts[entry.source_state]},{texts[entry.target_state]},"
        f"{encode_actions(entry.actions) if entry.actions else 'null'},"
    )
    if entry.success and entry.error_code is None and entry.error_message is None:
        told = "true,null,null"
    else:
        told = (
            f"{'true' if entry.success else 'false'},{texts[entry.error_code]},"
            f"{_text(entry.error_message)}"
        )
    return (
        f"{head}{told},{_text(entry.event_id)},{_text(entry.request_hash)},{_text(entry.actor)},"
        f"{_number(entry.occurred_at)},{_number(entry.duration_us)},{_number(entry.ref)},"
    )


def _text(text: str | None) -> str:
    return "null" if text is None else quoted(text)


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def refusal(error: Exception) -> Outcome:
    """The answer to a commit that cannot be stored."""
    if isinstance(error, FSMError):
        return Outcome(OutcomeKind.REFUSED, error)
    return Outcome(
        OutcomeKind.REFUSED, InvalidValueError(f"the commit cannot be stored: {error}", context={})
    )

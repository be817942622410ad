"""Commits by hand, with everything that a test does not care about filled in."""

from collections.abc import Mapping
from typing import Any

from pystator.records import Commit, Entry, EntryKind, Lookup, OutcomeKind, Patch, Timers
from pystator.stores.keys import new_commit_id

__all__ = ["applied", "change", "lookup", "note"]


def change(
    entity_id: str = "e",
    *,
    machine: str = "m",
    after: int = 0,
    steps: int = 1,
    state: str | None = "open",
    context: dict[str, Any] | None = None,
    history: dict[str, list[str]] | None = None,
    timers: Timers | None = None,
    kind: EntryKind = EntryKind.EVENT,
    trigger: str | None = "go",
    payload: Mapping[str, Any] | None = None,
    patch: Patch | None = None,
    actions: tuple[Mapping[str, Any], ...] = (),
    event_id: str | None = None,
    now: int = 1_000,
    commit_id: str | None = None,
    archived_at: int | None = None,
    **fields: Any,
) -> Commit:
    """A commit that changes an entity, one history row a step.

    ``after`` is the version it expects: 0 creates the entity, with an empty context if none is
    given. Event ids of later steps are ``event_id`` with a number: ``i``, ``i-2``, ``i-3``.
    ``fields`` are other fields of the rows.
    """
    entries = tuple(
        Entry(
            version=after + step,
            kind=kind,
            trigger=trigger,
            payload=payload,
            now=now,
            patch=patch,
            source_state="new",
            target_state=state,
            actions=actions,
            event_id=event_id if event_id is None or step == 1 else f"{event_id}-{step}",
            **fields,
        )
        for step in range(1, steps + 1)
    )
    return Commit(
        entity_id=entity_id,
        machine_name=machine,
        expected_version=after,
        new_version=after + steps,
        state=state,
        context={} if context is None and after == 0 else context,
        history=history,
        timers=timers,
        machine_version="1.0",
        fingerprint="f" * 16,
        now=now,
        entries=entries,
        commit_id=commit_id or new_commit_id(),
        archived_at=archived_at,
    )


def note(
    entity_id: str = "e",
    *,
    machine: str = "m",
    version: int = 1,
    kind: EntryKind = EntryKind.REJECTED,
    event_id: str | None = None,
    now: int = 1_000,
    **fields: Any,
) -> Commit:
    """A commit that changes nothing and leaves a row: by default, a rejection.

    ``version`` is the one it saw; ``fields`` are other fields of the row.
    """
    row: dict[str, Any] = {
        "version": version,
        "kind": kind,
        "trigger": "go",
        "payload": None,
        "now": now,
        "patch": None,
        "source_state": "open",
        "target_state": None,
        "success": kind is not EntryKind.REJECTED,
        "event_id": event_id,
    }
    return Commit(
        entity_id=entity_id,
        machine_name=machine,
        expected_version=version,
        new_version=version,
        state=None,
        context=None,
        history=None,
        timers=None,
        machine_version="1.0",
        fingerprint="f" * 16,
        now=now,
        entries=(Entry(**(row | fields)),),
        commit_id=new_commit_id(),
    )


def lookup(entity_id: str = "e", *event_ids: str, machine: str = "m") -> Lookup:
    """What to load."""
    return Lookup(entity_id, machine, event_ids)


def applied(drive: Any, *commits: Commit) -> None:
    """Commit, and insist that all of it was written."""
    outcomes = drive.commit(list(commits))
    assert [OutcomeKind.APPLIED] * len(commits) == [outcome.kind for outcome in outcomes], outcomes

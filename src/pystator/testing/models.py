"""What stores and orchestrators do when calls come one at a time, for `find_window`.

::

    Entities    Read, Write: load and compare-and-set commit of a store
    Counting    Add, Count: an event that adds one, through an orchestrator
"""

from typing import NamedTuple

from pystator.records import OutcomeKind, record

__all__ = ["Add", "Count", "Counting", "Entities", "Read", "Stored", "Write"]


# Loads and commits --------------------------------------------------------------------------------


class Stored(NamedTuple):
    """An entity as the model has it.

    Attributes:
        version: 0 for an entity that is not there.
        state: Its configuration.
        context: Its context, as text.
        commit_id: The last commit that changed it.
        event_ids: Ids of its rows, of rejections as well.
    """

    version: int = 0
    state: str = ""
    context: str = ""
    commit_id: str = ""
    event_ids: frozenset[str] = frozenset()


@record
class Read:
    """A load, and what it gave.

    Attributes:
        version: 0 when there was no entity.
        state, context, commit_id: None where nobody looked.
        asked: Event ids that were asked for.
        known: Those that were found.
    """

    version: int
    state: str | None = None
    context: str | None = None
    commit_id: str | None = None
    asked: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()


@record
class Write:
    """A commit, and what became of it.

    Attributes:
        expected: The version it was for; 0 creates.
        new: The version it makes; ``expected`` when it only appends rows.
        state, context: None leaves what is there.
        event_ids: Of its rows.
        outcome: None when the answer was lost.
    """

    expected: int
    new: int
    state: str | None
    context: str | None
    commit_id: str
    event_ids: frozenset[str] = frozenset()
    outcome: OutcomeKind | None = None


class Entities:
    """An entity in a store: a register with versions, and the set of its event ids."""

    start = Stored()

    def step(self, state: Stored, call: Read | Write) -> Stored | None:
        """The entity after a call; None if it cannot have been answered so."""
        if isinstance(call, Read):
            return state if _is_seen(state, call) else None
        changes = call.new != call.expected
        stale = changes and state.version != call.expected
        duplicate = not state.event_ids.isdisjoint(call.event_ids)
        match call.outcome:
            case OutcomeKind.APPLIED:
                return None if stale or duplicate else _written(state, call)
            case OutcomeKind.STALE:
                return state if stale else None
            case OutcomeKind.DUPLICATE:
                return state if duplicate else None
            case OutcomeKind.REFUSED:
                return state
            case None:
                return state if stale or duplicate else _written(state, call)

    def is_silent(self, call: Read | Write) -> bool:
        """Whether it changed nothing."""
        return isinstance(call, Read) or call.outcome not in {None, OutcomeKind.APPLIED}

    def tell(self, call: Read | Write) -> str:
        """The call and its answer."""
        if isinstance(call, Read):
            told = f"read: {_told(call.version, call.state, call.context, call.commit_id)}"
            return told + "".join(
                f", {name!r} {'known' if name in call.known else 'unknown'}"
                for name in sorted(call.asked)
            )
        ids = "".join(f" {name!r}" for name in sorted(call.event_ids))
        if call.new == call.expected:
            what = f"append{ids}"
        else:
            made = _told(call.new, call.state, call.context, call.commit_id)
            what = f"commit{ids} of version {call.expected} -> {made}"
        return f"{what}: {call.outcome or 'the answer was lost'}"

    def tell_state(self, state: Stored) -> str:
        """The entity."""
        return _told(state.version, state.state, state.context, state.commit_id)


def _is_seen(state: Stored, call: Read) -> bool:
    return (
        call.version == state.version
        and call.known == state.event_ids & call.asked
        and call.state in {None, state.state}
        and call.context in {None, state.context}
        and call.commit_id in {None, state.commit_id}
    )


def _written(state: Stored, call: Write) -> Stored:
    event_ids = state.event_ids | call.event_ids if call.event_ids else state.event_ids
    if call.new == call.expected:
        return state._replace(event_ids=event_ids)
    return Stored(
        call.new,
        state.state if call.state is None else call.state,
        state.context if call.context is None else call.context,
        call.commit_id,
        event_ids,
    )


def _told(version: int, state: str | None, context: str | None, commit_id: str | None) -> str:
    if not version:
        return "no entity"
    parts = [f"version {version}", state, context, commit_id and f"({commit_id[-6:]})"]
    return " ".join(part for part in parts if part)


# Events that add one ------------------------------------------------------------------------------


@record
class Add:
    """An event that adds one; ``total`` is what its result said, None when there was none."""

    total: int | None = None


@record
class Count:
    """A read of the total."""

    total: int


class Counting:
    """A counter: an addition answers with a total that no other addition has."""

    start = 0

    def step(self, state: int, call: Add | Count) -> int | None:
        """The total after a call; None if it cannot have been answered so."""
        if isinstance(call, Count):
            return state if call.total == state else None
        return state + 1 if call.total in {None, state + 1} else None

    def is_silent(self, call: Add | Count) -> bool:
        """Whether it changed nothing."""
        return isinstance(call, Count)

    def tell(self, call: Add | Count) -> str:
        """The call and its answer."""
        if isinstance(call, Count):
            return f"count: {call.total}"
        return f"add: {'the answer was lost' if call.total is None else call.total}"

    def tell_state(self, state: int) -> str:
        """The total."""
        return f"{state}"

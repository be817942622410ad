"""Commits over PostgreSQL: which statements, and what their answers mean for each commit.

::

    commits --prepare--> Writes --+--> CHANGE | CREATE | APPEND   one commit of one row
                                  +--> BATCH                      all others, in the order of keys
                                  `--> a stream of BATCHes        many: the next is encoded while
                                                                  the server writes the one before

Laws:

- A statement that fails wrote nothing. A batch that fails because of a value is cut in halves until
  the commit to blame stands alone: its neighbours survive it.
- No statement has two changes of one entity, or one event id twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import psycopg

from pystator.db.index_rows import is_long
from pystator.records import Commit, Key, Outcome, OutcomeKind
from pystator.stores.postgres import sql
from pystator.stores.postgres.encode import LARGEST, Write, prepare, refusal
from pystator.stores.postgres.errors import is_unique
from pystator.stores.postgres.ops import Operation, Request
from pystator.stores.postgres.rows import UNSTORABLE, Value, binary, integers, rows_of, texts
from pystator.stores.postgres.wire import Params, Statement

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["committing", "streaming"]

MOST: Final = 1_000
"""History rows of one statement."""

CHUNK: Final = 250
"""Commits of one statement of a stream."""

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)

_SINGLE: Final = {
    sql.NOTE: sql.APPEND,
    sql.ROLE_CHANGE: sql.CHANGE,
    sql.ROLE_CREATE: sql.CREATE,
}


_Placed = list[tuple[int, Write]]
"""Commits with their places in the call."""


def committing(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    """Write; one `Outcome` for each, in order."""
    if len(writes) == 1:
        return [(yield from _alone(writes[0]))]
    outcomes: dict[int, Outcome] = {}
    waiting = _storable(enumerate(writes), outcomes)
    waiting.sort(key=_key)
    yield from _in_turn(waiting, outcomes)
    return [outcomes[place] for place in range(len(writes))]


def streaming(commits: Sequence[Commit], recorded_at: int, limit: int) -> Operation[list[Outcome]]:
    """`committing`, where commits are encoded while the server writes those before them.

    Args:
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    if len(commits) <= CHUNK + CHUNK // 2:
        return (yield from committing(prepare(commits, recorded_at, limit)))
    stream = _Stream(commits, lambda some: prepare(some, recorded_at, limit))
    yield stream
    outcomes = stream.outcomes
    yield from _in_turn(sorted(stream.left, key=_key), outcomes)
    return [outcomes[place] for place in range(len(commits))]


class _Stream:
    """Commits in the order of their keys, in one statement after the other.

    Attributes:
        outcomes: By place.
        left: Those that cannot be in a stream: an error says that one of them is to blame.
    """

    reads = False

    def __init__(
        self, commits: Sequence[Commit], encode: Callable[[Sequence[Commit]], list[Write]]
    ) -> None:
        self._commits = commits
        self._encode = encode
        self._sent: list[_Placed] = []
        self.outcomes: dict[int, Outcome] = {}
        self.left: _Placed = []

    def requests(self) -> Iterator[tuple[Statement, Params]]:
        """The statements."""
        self._sent = []
        self.outcomes = {}
        self.left = []
        commits = self._commits
        order = sorted(
            range(len(commits)),
            key=lambda place: (commits[place].entity_id, commits[place].machine_name),
        )
        for start in range(0, len(order), CHUNK):
            places = order[start : start + CHUNK]
            writes = self._encode([commits[place] for place in places])
            waiting = _storable(zip(places, writes, strict=True), self.outcomes)
            batch, left = _next_batch(waiting)
            self.left += left
            if batch:
                try:
                    params = _batch_params([write for _, write in batch])
                except UNSTORABLE:
                    self.left += batch
                    continue
                self._sent.append(batch)
                yield sql.BATCH, params

    def take(self, number: int, result: "PGresult | psycopg.Error") -> None:
        """The outcomes of one statement."""
        batch = self._sent[number]
        if isinstance(result, psycopg.Error):
            self.left += batch
        else:
            found = _outcomes([write for _, write in batch], result)
            for (place, _), outcome in zip(batch, found, strict=True):
                self.outcomes[place] = outcome
        self._sent[number] = []  # of a long stream, the rows need not stay


def _key(placed: tuple[int, Write]) -> Key:
    return placed[1].key


def _storable(writes: Iterable[tuple[int, Write]], outcomes: dict[int, Outcome]) -> _Placed:
    """Those that are to be written; the others have their outcomes."""
    waiting: _Placed = []
    for placed in writes:
        place, write = placed
        if write.refused is None and write.rows:
            waiting.append(placed)
        else:
            outcomes[place] = write.refused or _APPLIED
    return waiting


def _in_turn(waiting: _Placed, outcomes: dict[int, Outcome]) -> Operation[None]:
    """Write one batch after the other."""
    while waiting:
        batch, waiting = _next_batch(waiting)
        found = yield from _together([write for _, write in batch])
        for (place, _), outcome in zip(batch, found, strict=True):
            outcomes[place] = outcome


def _next_batch(waiting: _Placed) -> tuple[_Placed, _Placed]:
    """Those that fit into one statement, and the rest; both in the order they came."""
    if len({write.key for _, write in waiting}) == len(waiting) and _fits(waiting):
        return waiting, []
    batch: _Placed = []
    left: _Placed = []
    taken: set[object] = set()
    rows = size = 0
    for index, placed in enumerate(waiting):
        write = placed[1]
        rows += len(write.rows)
        size += write.size
        if batch and (rows > MOST or size > LARGEST):
            left += waiting[index:]
            break
        claims: list[object] = [(write.key, each) for each in write.ids]
        if write.role:
            claims.append(write.key)
        if taken.isdisjoint(claims):
            taken.update(claims)
            batch.append(placed)
        else:
            left.append(placed)
    return batch, left


def _fits(waiting: _Placed) -> bool:
    rows = sum([len(write.rows) for _, write in waiting])
    return rows <= MOST and sum([write.size for _, write in waiting]) <= LARGEST


# One statement ------------------------------------------------------------------------------------


def _alone(write: Write) -> Operation[Outcome]:
    """Write one."""
    if write.refused is not None:
        return write.refused
    if not write.rows:
        return _APPLIED
    if len(write.rows) != 1:
        return (yield from _together([write]))[0]
    try:
        result: PGresult = yield Request(_SINGLE[write.role], binary(write.rows[0]), False)
    except psycopg.Error as error:
        return _DUPLICATE if is_unique(error) else refusal(error)
    except UNSTORABLE as error:
        return refusal(error)
    return _APPLIED if result.command_tuples else _STALE


def _together(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    """Write those of one statement."""
    if len(writes) == 1 and len(writes[0].rows) == 1:
        return [(yield from _alone(writes[0]))]
    try:
        result: PGresult = yield Request(sql.BATCH, _batch_params(writes), False)
    except psycopg.Error as error:
        if len(writes) == 1:
            return [_DUPLICATE if is_unique(error) else refusal(error)]
        if is_unique(error):
            return (yield from _without_known(writes))
    except UNSTORABLE as error:
        if len(writes) == 1:
            return [refusal(error)]
    else:
        return _outcomes(writes, result)
    return (yield from _in_halves(writes))


def _in_halves(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    middle = len(writes) // 2
    first = yield from _together(writes[:middle])
    return first + (yield from _together(writes[middle:]))


def _without_known(writes: Sequence[Write]) -> Operation[list[Outcome]]:
    """An event id was there already: find out whose, and write the others."""
    keys = [(*write.key, each) for write in writes for each in write.ids]
    statement = sql.KNOWN_LONG if any(is_long(key[2]) for key in keys) else sql.KNOWN
    found: PGresult = yield Request(
        statement, [texts(column) for column in zip(*keys, strict=True)], True
    )
    known = set(rows_of(found))
    fresh = [
        place
        for place, write in enumerate(writes)
        if not any((*write.key, each) in known for each in write.ids)
    ]
    if len(fresh) == len(writes):
        return (yield from _in_halves(writes))  # two ids of one commit, or the other one is gone
    outcomes = [_DUPLICATE] * len(writes)
    if fresh:
        written = yield from _together([writes[place] for place in fresh])
        for place, outcome in zip(fresh, written, strict=True):
            outcomes[place] = outcome
    return outcomes


def _batch_params(writes: Sequence[Write]) -> list[bytes | None]:
    roles: list[int] = []
    leads: list[int] = []
    rows: list[tuple[Value, ...]] = []
    for write in writes:
        lead = len(rows) + 1
        count = len(write.rows)
        rows += write.rows
        if count == 1:
            roles.append(write.role)
            leads.append(lead)
        else:
            roles += [write.role, *[write.role and write.role + 2] * (count - 1)]
            leads += [lead] * count
    params = [integers(roles, sql.BIGINT), integers(leads, sql.BIGINT)]
    for column, kind in zip(zip(*rows, strict=True), sql.WRITE_TYPES, strict=True):
        params.append(texts(column) if kind == sql.TEXT else integers(column, kind))
    return params


def _outcomes(writes: Sequence[Write], result: "PGresult") -> list[Outcome]:
    """What a batch's answer says of each: it names those that were stale."""
    outcomes = [_APPLIED] * len(writes)
    if result.ntuples:
        leads = _leads(writes)
        for (lead,) in rows_of(result):
            outcomes[leads[lead]] = _STALE
    return outcomes


def _leads(writes: Sequence[Write]) -> dict[int, int]:
    """Number of a commit's first row -> place of the commit."""
    leads: dict[int, int] = {}
    lead = 1
    for place, write in enumerate(writes):
        leads[lead] = place
        lead += len(write.rows)
    return leads

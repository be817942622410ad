"""Parcels of another store into PostgreSQL, as operations: see `pystator.stores.postgres.ops`.

Laws:

- A statement writes its parcels and changes one mark in `pystator_meta`, if the mark is what was
  said; else it writes nothing. So two that restore at the same time never write a row twice: the
  second one finds the mark changed, and reads again what is there.
- `restore` asks each parcel for itself whether it fits; `restore_marked` writes all or nothing.
"""

from collections.abc import Iterator, Sequence
from os import urandom
from typing import TYPE_CHECKING, Any, Final

import psycopg

from pystator.records import Outcome, OutcomeKind, Parcel
from pystator.stores.parcels import ENTITY_VALUES, ROW_VALUES, RawParcel, raw, unfit
from pystator.stores.postgres.encode import LARGEST, refusal
from pystator.stores.postgres.errors import is_unique
from pystator.stores.postgres.ops import Operation, Request
from pystator.stores.postgres.rows import UNSTORABLE, escaped, integers, rows_of, texts, to_time
from pystator.stores.postgres.sql import ARRAYS, BIGINT, FORGET, TEXT, TIME, column
from pystator.stores.postgres.wire import Statement

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["forgetting", "marks", "restoring", "restoring_marked"]

MOST: Final = 1_000
"""Parcels and rows of one statement of `restoring`."""

TURN: Final = "restore"
"""The mark by which those that restore take turns."""

_TIMES: Final = frozenset(
    {
        "next_due",
        "created_at",
        "updated_at",
        "state_since",
        "archived_at",
        "now",
        "occurred_at",
        "recorded_at",
    }
)
_NUMBERS: Final = frozenset({"number", "base", "version", "success", "duration_us", "ref"})


def _type(name: str) -> int:
    if name in _TIMES:
        return TIME
    return BIGINT if name in _NUMBERS else TEXT


_PARCEL: Final = ("number", "entity_id", "machine_name", "base", "newest", *ENTITY_VALUES)
_ROW: Final = ("number", "entity_id", "machine_name", *ROW_VALUES)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _columns(names: Sequence[str], first: int) -> str:
    return ", ".join(column(place, _type(name)) for place, name in enumerate(names, first))


_SETTINGS: Final = ", ".join(f"{name} = f.{name}" for name in ENTITY_VALUES)
_ENTITY_INTO: Final = f"entity_states (entity_id, machine_name, {', '.join(ENTITY_VALUES)})"
_HISTORY_INTO: Final = f"transition_history (entity_id, machine_name, {_names(ROW_VALUES)})"
_HISTORY_VALUES: Final = ", ".join(
    'r."success" = 1' if name == "success" else f'r."{name}"' for name in ROW_VALUES
)
_KEY: Final = "{0}.entity_id = p.entity_id AND {0}.machine_name = p.machine_name"
_NEWEST: Final = (
    "(SELECT h.version || ' ' || h.commit_id FROM transition_history h"  # noqa: S608 - constants, here and below
    f" WHERE {_KEY.format('h')} ORDER BY h.version DESC, h.id DESC LIMIT 1)"
)


def _restore(name: str, *, fits: str, gate: str, conflict: str, done: str) -> Statement:
    """The statement; it answers the numbers of parcels that it did not write, and 0 for the mark.

    Args:
        name: Its name.
        fits: What a parcel has to fulfil besides its base.
        gate: What has to be true of all of them.
        conflict: What becomes of a new entity that is there by now.
        done: The parcels that are written if the mark is.
    """
    return Statement(
        name,
        f"""WITH p AS MATERIALIZED (
  SELECT * FROM unnest({_columns(_PARCEL, 4)}) AS p ({_names(_PARCEL)}) WHERE number IS NOT NULL
), found AS MATERIALIZED (
  SELECT p.*, x.place FROM p, LATERAL (
    SELECT e.ctid AS place FROM entity_states e WHERE {_KEY.format("e")} AND e.version = p.base
    LIMIT 1 FOR NO KEY UPDATE
  ) x WHERE p.base > 0
), fit AS MATERIALIZED (
  SELECT p.number FROM p WHERE {fits} AND CASE WHEN p.base > 0
  THEN p.number IN (SELECT number FROM found) ELSE
  (SELECT true FROM entity_states e WHERE {_KEY.format("e")} LIMIT 1) IS NULL END
), marked AS MATERIALIZED (
  INSERT INTO pystator_meta AS m (key, value) SELECT $1, $3 WHERE {gate} AND ($2 IS NULL
  OR (SELECT true FROM pystator_meta x WHERE x.key = $1))
  ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE m.value = $2 RETURNING true AS done
), changed AS (
  UPDATE entity_states e SET {_SETTINGS} FROM found f WHERE e.ctid = f.place
  AND f.version IS NOT NULL AND f.number IN (SELECT number FROM fit) AND (SELECT done FROM marked)
), made AS (
  INSERT INTO {_ENTITY_INTO} SELECT p.entity_id, p.machine_name, {", ".join(f"p.{name}" for name in ENTITY_VALUES)}
  FROM p WHERE p.base = 0 AND p.version IS NOT NULL AND p.number IN (SELECT number FROM fit)
  AND (SELECT done FROM marked) ORDER BY p.number {conflict} RETURNING entity_id, machine_name
), written AS MATERIALIZED (
  SELECT p.number FROM p WHERE p.number IN (SELECT number FROM fit)
  AND (p.base > 0 OR p.version IS NULL OR (p.entity_id, p.machine_name) IN (SELECT * FROM made))
), appended AS (
  INSERT INTO {_HISTORY_INTO} SELECT r.entity_id, r.machine_name, {_HISTORY_VALUES}
  FROM unnest({_columns(_ROW, 4 + len(_PARCEL))}) WITH ORDINALITY AS r ({_names(_ROW)}, ord)
  WHERE r.number IN (SELECT number FROM written) AND (SELECT done FROM marked) ORDER BY r.ord
)
SELECT 0::bigint WHERE (SELECT done FROM marked) IS NULL
UNION ALL SELECT p.number FROM p WHERE p.number NOT IN (SELECT number FROM {done})""",  # noqa: S608, E501
        (TEXT, TEXT, TEXT, *[ARRAYS[_type(name)] for name in (*_PARCEL, *_ROW)]),
        many=True,
    )


RESTORE: Final = _restore(
    "restore",
    fits=f"p.newest IS NOT DISTINCT FROM {_NEWEST}",
    gate="true",
    conflict="ON CONFLICT (entity_id, machine_name) DO NOTHING",
    done="written",
)
RESTORE_MARKED: Final = _restore(
    "restore_marked",
    fits="true",
    gate="(SELECT count(*) FROM fit) = (SELECT count(*) FROM p)",
    conflict="",  # an error undoes the whole statement
    done="fit",
)
MARKS: Final = Statement(
    "marks", "SELECT key, value FROM pystator_meta WHERE starts_with(key, $1)", (TEXT,)
)


def marks(prefix: str) -> Operation[dict[str, str]]:
    """The marks whose names begin so."""
    found: PGresult = yield Request(MARKS, [prefix.encode()], True)
    return dict(rows_of(found))


def forgetting(ids: Sequence[tuple[str, str, str]]) -> Operation[None]:
    """Forget event ids: their rows stay, without them."""
    if ids:
        yield Request(FORGET, [texts(column) for column in zip(*ids, strict=True)], False)


# All or nothing -----------------------------------------------------------------------------------


def restoring_marked(
    parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
) -> Operation[bool]:
    """All of them and the mark, or nothing; False when the mark is another one."""
    ordered = sorted(parcels, key=_key)
    left: set[int] = set(range(len(ordered) + 1))
    try:
        params = _params(ordered, mark, before, after)
        found: PGresult = yield Request(RESTORE_MARKED, params, False)
        left = {row[0] for row in rows_of(found)}
    except (psycopg.Error, *UNSTORABLE) as error:
        if not isinstance(error, psycopg.Error) or not is_unique(error):
            raise refusal(error).error or error from error
    # Who was first has changed the mark, too: then it is the mark that is another one.
    if left <= {0} or (yield from marks(mark)).get(mark) != before:
        return not left
    raise unfit([parcel.key for number, parcel in enumerate(ordered, 1) if number in left])


# Each for itself ----------------------------------------------------------------------------------

_Placed = list[tuple[int, RawParcel]]
"""Parcels with their places in the call."""

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)


def restoring(parcels: Sequence[Parcel]) -> Operation[list[Outcome]]:
    """Write; one `Outcome` for each, in order."""
    outcomes: dict[int, Outcome] = {}
    waiting: _Placed = []
    for place, parcel in enumerate(parcels):
        try:
            waiting.append((place, raw(parcel)))
        except UNSTORABLE as error:
            outcomes[place] = refusal(error)
    waiting.sort(key=lambda placed: _key(placed[1]))
    for batch in _batches(waiting):
        found = yield from _together([parcel for _, parcel in batch])
        outcomes.update(zip([place for place, _ in batch], found, strict=True))
    return [outcomes[place] for place in range(len(parcels))]


def _batches(waiting: _Placed) -> Iterator[_Placed]:
    """What one statement takes."""
    batch: _Placed = []
    rows = size = 0
    for placed in waiting:
        parcel = placed[1]
        rows += 1 + len(parcel.rows)
        size += parcel.size
        if batch and (rows > MOST or size > LARGEST):
            yield batch
            batch, rows, size = [], 1 + len(parcel.rows), parcel.size
        batch.append(placed)
    if batch:
        yield batch


def _together(parcels: Sequence[RawParcel]) -> Operation[list[Outcome]]:
    try:
        left = yield from _in_turn(parcels)
    except (psycopg.Error, *UNSTORABLE) as error:
        if len(parcels) == 1:
            unique = isinstance(error, psycopg.Error) and is_unique(error)
            return [_STALE if unique else refusal(error)]
    else:
        return [_STALE if number in left else _APPLIED for number in range(1, len(parcels) + 1)]
    middle = len(parcels) // 2
    first = yield from _together(parcels[:middle])
    return first + (yield from _together(parcels[middle:]))


def _in_turn(parcels: Sequence[RawParcel]) -> Operation[set[int]]:
    """The numbers of those that do not fit."""
    while True:
        turn = (yield from marks(TURN)).get(TURN)
        params = _params(parcels, TURN, turn, urandom(8).hex())
        found: PGresult = yield Request(RESTORE, params, False)
        left = {row[0] for row in rows_of(found)}
        if 0 not in left:
            return left


# Encoding -----------------------------------------------------------------------------------------

_NOTHING: Final = (None,) * len(ENTITY_VALUES)


def _key(parcel: RawParcel) -> tuple[str, str]:
    return parcel.key


def _params(
    parcels: Sequence[RawParcel], mark: str, before: str | None, after: str
) -> list[bytes | None]:
    heads = [
        (
            number,
            parcel.entity_id,
            parcel.machine_name,
            parcel.base,
            None if parcel.after is None else f"{parcel.after[0]} {parcel.after[1]}",
            *(parcel.entity or _NOTHING),
        )
        for number, parcel in enumerate(parcels, 1)
    ]
    rows = [
        (number, parcel.entity_id, parcel.machine_name, *row)
        for number, parcel in enumerate(parcels, 1)
        for row in parcel.rows
    ]
    names = [each if each is None else each.encode() for each in (mark, before, after)]
    return [*names, *_arrays(heads, _PARCEL), *_arrays(rows, _ROW)]


def _arrays(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> Iterator[bytes | None]:
    if not rows:
        yield from [None] * len(names)
        return
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        kind = _type(name)
        if kind == TEXT:
            yield texts([escaped(each) for each in values] if name == "error_message" else values)
        elif kind == TIME:
            yield integers([None if each is None else to_time(each) for each in values], kind)
        else:
            yield integers([None if each is None else int(each) for each in values], kind)

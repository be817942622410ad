"""The constant statements of the PostgreSQL store.

Every one is a whole transaction and a single round trip. Facts that shape them:

- A batch's rows come as one text or array a column. The planner guesses ten rows whatever their
  number, so nothing may join them to a table by its choice: entities are looked up one by one
  (``LATERAL ... LIMIT 1``) and changed by their place, and what was won is asked of hashed sets
  (``IN`` and ``NOT IN`` below an ``OR``).
- Rows are locked in the order of the batch, which is the order of keys, and all that change before
  any is made (``made`` asks for ``changed`` only for that): two batches never wait for each other
  in a circle.
- A batch's row is one history row; the first one of a commit brings what becomes of its entity.
"""

from typing import Final

from pystator.db.index_rows import same_event, same_long_event
from pystator.stores.columns import ENTITY_COLUMNS, HISTORY_COLUMNS
from pystator.stores.postgres.wire import Statement

__all__ = [
    "APPEND",
    "ARRAYS",
    "BATCH",
    "BIGINT",
    "BIGINTS",
    "CHANGE",
    "CREATE",
    "FORGET",
    "KNOWN",
    "KNOWN_LONG",
    "LOAD",
    "LOAD_KNOWING",
    "LOAD_KNOWING_LONG",
    "LOAD_MANY",
    "LOAD_MANY_KNOWING",
    "LOAD_MANY_KNOWING_LONG",
    "NOTE",
    "ROLE_CHANGE",
    "ROLE_CREATE",
    "TEXT",
    "TIME",
    "WRITE_NAMES",
    "WRITE_TYPES",
    "column",
]

BIGINT: Final = 20
TEXT: Final = 25
TIME: Final = 1184
BIGINTS: Final = 1016
TIMES: Final = 1185

_ENTITY: Final = (
    ("entity_id", TEXT),
    ("machine_name", TEXT),
    ("expected", BIGINT),
    ("new", BIGINT),
    ("state", TEXT),
    ("context", TEXT),
    ("history", TEXT),
    ("timers", TEXT),
    ("next_due", TIME),
    ("machine_version", TEXT),
    ("fingerprint", TEXT),
    ("updated", TIME),
    ("commit_id", TEXT),
    ("since", TIME),
    ("archived", TIME),
)
"""What a row says of its entity. An empty history or no timers are ``''``, unchanged ones NULL;
``archived`` is NULL when nothing changes, and the beginning of time when it is taken back."""

_ENTRY: Final = (
    ("version", BIGINT),
    ("kind", TEXT),
    ("trigger", TEXT),
    ("payload", TEXT),
    ("now", TIME),
    ("context_patch", TEXT),
    ("source_state", TEXT),
    ("target_state", TEXT),
    ("actions", TEXT),
    ("failed", BIGINT),
    ("error_code", TEXT),
    ("error_message", TEXT),
    ("event_id", TEXT),
    ("request_hash", TEXT),
    ("actor", TEXT),
    ("occurred_at", TIME),
    ("duration_us", BIGINT),
    ("ref", BIGINT),
    ("recorded_at", TIME),
    ("trace", TEXT),
)
"""The rest of a history row. A row that failed has a 1 there, else NULL."""

_WRITE: Final = (*_ENTITY, *_ENTRY)

WRITE_TYPES: Final = tuple(kind for _, kind in _WRITE)
"""The types of a row's values, see `pystator.stores.postgres.encode`."""

WRITE_NAMES: Final = tuple([name for name, _ in _WRITE])
"""The names of a row's values."""

_HISTORY_INTO: Final = (
    'transition_history (entity_id, machine_name, version, kind, "trigger", payload, now,'
    " context_patch, source_state, target_state, actions, success, error_code, error_message,"
    " event_id, request_hash, actor, occurred_at, duration_us, ref, commit_id, machine_version,"
    " fingerprint, recorded_at, trace)"
)
_HISTORY_VALUES: Final = (
    "{entity_id}, {machine_name}, {version}, {kind}, {trigger}, {payload}, {now}, {context_patch},"
    " {source_state}, {target_state}, {actions}, {failed} IS NULL, {error_code}, {error_message},"
    " {event_id}, {request_hash}, {actor}, {occurred_at}, {duration_us}, {ref}, {commit_id},"
    " {machine_version}, {fingerprint}, {recorded_at}, {trace}"
)
_SETTINGS: Final = (
    "version = {new}, state = coalesce({state}, e.state), context = coalesce({context}, e.context),"
    " history = CASE WHEN {history} IS NULL THEN e.history ELSE nullif({history}, '') END,"
    " timers = CASE WHEN {timers} IS NULL THEN e.timers ELSE nullif({timers}, '') END,"
    " next_due = CASE WHEN {timers} IS NULL THEN e.next_due ELSE {next_due} END,"
    " machine_version = {machine_version}, fingerprint = {fingerprint}, updated_at = {updated},"
    " commit_id = {commit_id}, state_since = coalesce({since}, e.state_since),"
    " archived_at = nullif(coalesce({archived}, e.archived_at), '-infinity')"
)
_ENTITY_INTO: Final = (
    "entity_states (entity_id, machine_name, version, state, context, history, timers, next_due,"
    " machine_version, fingerprint, created_at, updated_at, commit_id, state_since,"
    " archived_at)"
)
_ENTITY_VALUES: Final = (
    "{entity_id}, {machine_name}, {new}, {state}, {context}, nullif({history}, ''),"
    " nullif({timers}, ''), {next_due}, {machine_version}, {fingerprint}, {updated}, {updated},"
    " {commit_id}, {since}, nullif({archived}, '-infinity')"
)

# One commit of one history row --------------------------------------------------------------------

_PLACES: Final = {name: f"${place}" for place, (name, _) in enumerate(_WRITE, 1)}


def _single(template: str) -> str:
    return template.format(**_PLACES)


CHANGE: Final = Statement(
    "change",
    _single(
        f"WITH put AS (UPDATE entity_states e SET {_SETTINGS} WHERE e.entity_id = {{entity_id}}"
        " AND e.machine_name = {machine_name} AND e.version = {expected} RETURNING 1)"
        f" INSERT INTO {_HISTORY_INTO} SELECT {_HISTORY_VALUES} FROM put"
    ),
    WRITE_TYPES,
)
CREATE: Final = Statement(
    "create",
    _single(
        f"WITH put AS (INSERT INTO {_ENTITY_INTO} VALUES ({_ENTITY_VALUES})"
        " ON CONFLICT (entity_id, machine_name) DO NOTHING RETURNING 1)"
        f" INSERT INTO {_HISTORY_INTO} SELECT {_HISTORY_VALUES} FROM put"
    ),
    WRITE_TYPES,
)
APPEND: Final = Statement(
    "append", _single(f"INSERT INTO {_HISTORY_INTO} VALUES ({_HISTORY_VALUES})"), WRITE_TYPES
)

# Many ---------------------------------------------------------------------------------------------

NOTE: Final = 0
ROLE_CHANGE: Final = 1
ROLE_CREATE: Final = 2
"""The role of a commit's first row; further rows of a change or a creation have 3 or 4."""

ARRAYS: Final = {BIGINT: BIGINTS, TIME: TIMES, TEXT: TEXT}
"""The type that a column of values comes as."""


def column(place: int, kind: int) -> str:
    """A parameter as an array, see `pystator.stores.postgres.rows`."""
    if kind == TEXT:
        return f"string_to_array(${place}, E'\\x1f', E'\\x1e')"
    return f"${place}"


_ROWS: Final = (("role", BIGINT), ("lead", BIGINT), *_WRITE)
_OF_I: Final = {name: f'i."{name}"' for name, _ in _ROWS}
_OF_F: Final = {name: f'f."{name}"' for name, _ in _ROWS}
_NAMES: Final = ", ".join(f'"{name}"' for name, _ in _ROWS)
_COLUMNS: Final = ", ".join(column(place, kind) for place, (_, kind) in enumerate(_ROWS, 1))

BATCH: Final = Statement(
    "batch",
    f"""WITH i AS MATERIALIZED (
  SELECT * FROM unnest({_COLUMNS}) WITH ORDINALITY AS i ({_NAMES}, ord) WHERE role IS NOT NULL
), found AS MATERIALIZED (
  SELECT i.*, x.place FROM i, LATERAL (
    SELECT e.ctid AS place FROM entity_states e WHERE e.entity_id = i.entity_id
    AND e.machine_name = i.machine_name AND e.version = i.expected LIMIT 1 FOR NO KEY UPDATE
  ) x WHERE i.role = 1
), changed AS (
  UPDATE entity_states e SET {_SETTINGS.format(**_OF_F)} FROM found f WHERE e.ctid = f.place
  RETURNING f.lead
), made AS (
  INSERT INTO {_ENTITY_INTO} SELECT {_ENTITY_VALUES.format(**_OF_I)} FROM i WHERE i.role = 2
  AND (SELECT count(*) FROM changed) IS NOT NULL
  ORDER BY i.ord ON CONFLICT (entity_id, machine_name) DO NOTHING RETURNING entity_id, machine_name
), written AS (
  INSERT INTO {_HISTORY_INTO} SELECT {_HISTORY_VALUES.format(**_OF_I)} FROM i WHERE i.role = 0
  OR (i.role IN (1, 3) AND i.lead IN (SELECT lead FROM changed))
  OR (i.role IN (2, 4) AND (i.entity_id, i.machine_name) IN (SELECT * FROM made)) ORDER BY i.ord
)
SELECT i.lead FROM i WHERE (i.role = 1 AND i.lead NOT IN (SELECT lead FROM changed))
  OR (i.role = 2 AND (i.entity_id, i.machine_name) NOT IN (SELECT * FROM made))""",
    [ARRAYS[kind] for _, kind in _ROWS],
    many=True,
)

# Loads --------------------------------------------------------------------------------------------


def _of(alias: str, columns: str) -> str:
    return ", ".join(f"{alias}.{name.strip()}" for name in columns.split(","))


def _nulls(columns: str, types: str) -> str:
    kinds = types.split()
    return ", ".join(f"NULL::{kind}" for kind, _ in zip(kinds, columns.split(","), strict=True))


_ENTITY_TYPES: Final = (
    "text text bigint text text text text text text timestamptz timestamptz text timestamptz"
    " timestamptz"
)
_HISTORY_TYPES: Final = (
    "bigint text text bigint text text text timestamptz text text text text boolean text text text"
    " text text timestamptz bigint bigint text text text timestamptz text"
)
_KEY: Final = "{0}.entity_id = {1} AND {0}.machine_name = {2}"

LOAD: Final = Statement(
    "load",
    f"SELECT {ENTITY_COLUMNS} FROM entity_states WHERE entity_id = $1 AND machine_name = $2",
    (TEXT, TEXT),
)


def _entry(columns: str, entity_id: str, machine: str, event_id: str, *, long: bool) -> str:
    """The row of an event id; ``long`` looks into the index of long ones as well."""
    key = _KEY.format("h", entity_id, machine)
    look = f"SELECT {columns} FROM transition_history h WHERE {key} AND"
    short = f"{look} {same_event('h.event_id', event_id)}"
    if not long:
        return short
    return f"{short} UNION ALL {look} {same_long_event('h.event_id', event_id)}"


def _load_knowing(name: str, *, long: bool) -> Statement:
    return Statement(
        name,
        f"SELECT {_of('e', ENTITY_COLUMNS)}, h.* FROM (SELECT) nothing"
        f" LEFT JOIN entity_states e ON {_KEY.format('e', '$1', '$2')}"
        f" LEFT JOIN ({_entry(HISTORY_COLUMNS, '$1', '$2', '$3', long=long)}) h ON true",
        (TEXT, TEXT, TEXT),
    )


LOAD_KNOWING: Final = _load_knowing("load_knowing", long=False)
LOAD_KNOWING_LONG: Final = _load_knowing("load_knowing_long", long=True)
"""For event ids that are not in the index of the others."""

_WANTED: Final = f"unnest({column(1, TEXT)}, {column(2, TEXT)}, $3) AS k (id, machine, ord)"
_ONE_ENTITY: Final = (
    f"LATERAL (SELECT {ENTITY_COLUMNS} FROM entity_states e"
    f" WHERE {_KEY.format('e', 'k.id', 'k.machine')} LIMIT 1) e"
)
_WANTED_IDS: Final = (
    f"unnest({column(4, TEXT)}, {column(5, TEXT)}, {column(6, TEXT)}, $7)"
    " AS k (id, machine, event_id, ord)"
)
LOAD_MANY: Final = Statement(
    "load_many",
    f"SELECT k.ord, {_of('e', ENTITY_COLUMNS)} FROM {_WANTED}, {_ONE_ENTITY}",
    (TEXT, TEXT, BIGINTS),
    many=True,
)


def _load_many_knowing(name: str, *, long: bool) -> Statement:
    return Statement(
        name,
        f"SELECT k.ord, {_of('e', ENTITY_COLUMNS)}, {_nulls(HISTORY_COLUMNS, _HISTORY_TYPES)}"
        f" FROM {_WANTED}, {_ONE_ENTITY}"
        f" UNION ALL SELECT k.ord, {_nulls(ENTITY_COLUMNS, _ENTITY_TYPES)}, h.*"
        f" FROM {_WANTED_IDS}, LATERAL ("
        f"{_entry(HISTORY_COLUMNS, 'k.id', 'k.machine', 'k.event_id', long=long)} LIMIT 1) h",
        (TEXT, TEXT, BIGINTS, TEXT, TEXT, TEXT, BIGINTS),
        many=True,
    )


LOAD_MANY_KNOWING: Final = _load_many_knowing("load_many_knowing", long=False)
LOAD_MANY_KNOWING_LONG: Final = _load_many_knowing("load_many_knowing_long", long=True)


def _known(name: str, *, long: bool) -> Statement:
    return Statement(
        name,
        f"SELECT k.id, k.machine, k.event_id FROM unnest({column(1, TEXT)}, {column(2, TEXT)},"
        f" {column(3, TEXT)}) AS k (id, machine, event_id), LATERAL ("
        f"{_entry('1', 'k.id', 'k.machine', 'k.event_id', long=long)} LIMIT 1) h",
        (TEXT, TEXT, TEXT),
        many=True,
    )


KNOWN: Final = _known("known", long=False)
KNOWN_LONG: Final = _known("known_long", long=True)

FORGET: Final = Statement(
    "forget",
    "UPDATE transition_history SET event_id = NULL WHERE id = ANY(ARRAY("
    f"SELECT f.id FROM unnest({column(1, TEXT)}, {column(2, TEXT)}, {column(3, TEXT)})"
    " AS k (id, machine, event_id), LATERAL ("
    f"{_entry('h.id', 'k.id', 'k.machine', 'k.event_id', long=True)} LIMIT 1) f))",
    (TEXT, TEXT, TEXT),
    many=True,
)

"""Entities of PostgreSQL in the order of their keys, however they are chosen: one statement a page.

::

    pair      machines and short states in use: a look into the index for each
    wanted    those that fit, and whether few of their entities are long enough there
    found     the next keys of each, in order, from an index alone
              + the next keys among entities with a long state, which no index holds whole
    page      the first of all these
              -> the rows, by key

Laws:

- No part reads more than it gives, so that a page costs the same at the start and at the end, and
  whether one entity in ten fits or one in a million. There are two exceptions: of entities that are
  few enough (`FEW`), the keys are sorted; and those with a long state are walked to see which fit.
- No part leaves the planner a choice. It knows nothing of parameters, guesses the same share for
  every inequality, and would sort a million rows where an index has them sorted. So a condition is
  spelled in a way that one index alone has an answer to: see the comments.
- What is seen is one moment: an entity that moves from a state that fits to another one is there.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

from pystator.db.index_rows import ALIVE, ARCHIVED
from pystator.stores.columns import ENTITY_COLUMNS
from pystator.stores.postgres.sql import BIGINT, TEXT, TIME, column
from pystator.stores.postgres.wire import Statement

__all__ = ["ALL", "FEW", "IS_ANY_ARCHIVED", "statement"]

FEW: Final = 10_000
"""So many entities are quicker sorted than sought among all that are in the same state."""


_AFTER: Final = "($1, $2)"

ALL: Final = Statement(
    "entities",
    f"SELECT {ENTITY_COLUMNS} FROM entity_states WHERE (entity_id, machine_name) > {_AFTER}"  # noqa: S608 - constants, here and below
    f" AND {ALIVE} ORDER BY entity_id, machine_name LIMIT $3",
    (TEXT, TEXT, BIGINT),
)
"""A page of all, where none or few are archived; else those would be read and passed by."""

IS_ANY_ARCHIVED: Final = Statement(
    "is_any_archived",
    f"SELECT 1 FROM entity_states WHERE octet_length(state) <= 512 AND {ARCHIVED}"  # noqa: S608
    " ORDER BY machine_name, state, entity_id LIMIT 1",
    (),
)


@cache
def statement(
    *,
    state: bool = False,
    machine: bool = False,
    machines: bool = False,
    since: bool = False,
    archived: bool = False,
) -> Statement:
    """The statement of a page.

    Its parameters are the key it comes after, how many rows are wanted, and, where they are asked
    for, the state, the machine, machines, and the moment since before which entities are in their
    state.

    Args:
        state: Only entities in a state: an active leaf or a whole configuration.
        machine: Only those of a machine.
        machines: Only those of several.
        since: Only those that have been in their state for long.
        archived: Those that are archived, not those that live.
    """
    places: dict[str, str] = {}
    types = [TEXT, TEXT, BIGINT]
    for name, asked, kind in (
        ("state", state, TEXT),
        ("machine", machine, TEXT),
        ("machines", machines, TEXT),
        ("since", since, TIME),
    ):
        if asked:
            types.append(kind)
            places[name] = column(len(types), kind) if name == "machines" else f"${len(types)}"
    if archived:
        places["archived"] = ARCHIVED
    name = "_".join(["entities", *(places or ["alive"])])
    return Statement(name, _text(places.get), types)


_Get = Callable[[str], str | None]
"""The parameter of a condition, None where it is not asked for."""


def _short(alias: str, get: _Get) -> str:
    """In the words of the indexes, see `pystator.db.index_rows`."""
    return f"octet_length({alias}.state) <= 512 AND {alias}.{get('archived') or ALIVE}"


def _long(alias: str, get: _Get) -> str:
    """The same; their index has those that are archived, too."""
    return f"octet_length({alias}.state) > 512 AND {alias}.{get('archived') or ALIVE}"


def _text(get: _Get) -> str:
    return f"""WITH RECURSIVE {_pairs(get)}, wanted AS MATERIALIZED (
  SELECT p.machine_name, p.state{_few(get)} FROM pair p WHERE {_fits("p", get)}
), page AS MATERIALIZED (
  SELECT * FROM (
    SELECT f.entity_id, w.machine_name FROM wanted w CROSS JOIN LATERAL ({_found(get)}) f
      WHERE (f.entity_id, w.machine_name) > {_AFTER}
    UNION ALL
    ({_found_long(get)})
  ) every ORDER BY entity_id, machine_name LIMIT $3
)
SELECT e.* FROM page k CROSS JOIN LATERAL (
  SELECT {ENTITY_COLUMNS} FROM entity_states e
  WHERE e.entity_id = k.entity_id AND e.machine_name = k.machine_name LIMIT 1
) e ORDER BY k.entity_id, k.machine_name"""  # noqa: S608


def _pairs(get: _Get) -> str:
    """Machines and states in use. Only one index has them in this order, with ids within."""
    machine = get("machine")
    columns = "e.machine_name, e.state FROM entity_states e WHERE " + _short("e", get)
    if machine is None:
        order = "ORDER BY e.machine_name, e.state, e.entity_id LIMIT 1"
        later = "(e.machine_name, e.state) > (p.machine_name, p.state)"
    else:
        columns = f"{columns} AND e.machine_name = {machine}"
        order = "ORDER BY e.state, e.entity_id LIMIT 1"
        later = "e.state > p.state"
    return f"""pair AS (
  (SELECT {columns} {order})
  UNION ALL
  SELECT n.* FROM pair p CROSS JOIN LATERAL (SELECT {columns} AND {later} {order}) n
)"""  # noqa: S608


def _fits(alias: str, get: _Get) -> str:
    state, machines = get("state"), get("machines")
    if machines is not None:
        among = f"{alias}.machine_name = ANY ({machines})"
        return among if state is None else f"{among} AND {_is_in(alias, state)}"
    if state is None:
        # It is true. The planner takes a recursion for a hundred rows and would compile the
        # statement, for longer than it runs; of this it thinks that it holds for few.
        return f"{alias}.state = {alias}.state || ''"
    return _is_in(alias, state)


def _is_in(alias: str, state: str) -> str:
    return f"({alias}.state = {state} OR {state} = ANY (string_to_array({alias}.state, '+')))"


def _in_pair(alias: str, get: _Get) -> str:
    same = f"e.machine_name = {alias}.machine_name AND e.state = {alias}.state"
    return f"{same} AND {_short('e', get)}"


def _few(get: _Get) -> str:
    since = get("since")
    if since is None or get("archived") is not None:
        return ""
    return f""", (
    SELECT count(*) FROM (
      SELECT FROM entity_states e WHERE {_in_pair("p", get)} AND e.state_since < {since}
      LIMIT {FEW + 1}
    ) long_there
  ) <= {FEW} AS few"""  # noqa: S608


def _found(get: _Get) -> str:
    since = get("since")
    keys = f"SELECT e.entity_id FROM entity_states e WHERE {_in_pair('w', get)}"  # noqa: S608
    # One row more: of those with the very id, one may be of a machine that comes before.
    in_order = "e.entity_id >= $1 ORDER BY e.entity_id LIMIT $3 + 1"
    if since is None:
        return f"{keys} AND {in_order}"
    if get("archived") is not None:  # they have no index by time
        return f"{keys} AND e.state_since < {since} AND {in_order}"
    # Few: found by their time, which ids that are no column leave as the only index. Many: walked
    # in order of ids; that index is partial, and this condition does not say that it covers it.
    return f"""
      ({keys} AND w.few AND e.state_since < {since} AND e.entity_id || '' >= $1
        ORDER BY e.entity_id || '' LIMIT $3 + 1)
      UNION ALL
      ({keys} AND NOT w.few AND coalesce(e.state_since, 'infinity') < {since} AND {in_order})"""


def _found_long(get: _Get) -> str:
    """Their index has ids that are no column, so that no other one has this order."""
    conditions = [_long("e", get), f"(e.entity_id || '', e.machine_name) > {_AFTER}"]
    machine, since = get("machine"), get("since")
    if machine is not None:
        conditions.append(f"e.machine_name = {machine}")
    if get("state") is not None or get("machines") is not None:
        conditions.append(_fits("e", get))
    if since is not None:
        conditions.append(f"e.state_since < {since}")
    return (
        f"SELECT e.entity_id, e.machine_name FROM entity_states e WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY e.entity_id || '', e.machine_name LIMIT $3"
    )

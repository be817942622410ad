"""Events as people keep them: JSON Lines or CSV, one event a line.

::

    {"entity_id": "order-1", "trigger": "pay", "event_id": "e-7",
     "at": "2026-03-02T08:00:00Z", "context": {"amount": 5}}            (on one line)

    entity_id,trigger,event_id,at,amount
    order-1,pay,e-7,2026-03-02T08:00:00Z,5

A line that is no event is a `Line` with a ``problem``, not an exception: one bad line never stops
a file.

Keys that begin with ``_`` are ours: ``_rejected`` is written beside an event that was rejected, and
when such a file is fed back, the event gets the id ``<event_id>~2``, ``~3``..., because under its
own id the store would (rightly) give the first answer again.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal, cast

from pystator.cli.feed import MAX_LINE, Feed
from pystator.errors import ConfigurationError
from pystator.records import EventRequest, record
from pystator.service.jsons import parse
from pystator.service.times import aware

__all__ = ["FORMATS", "Format", "Line", "Rules", "format_of", "read_lines"]

Format = Literal["jsonl", "csv"]

FORMATS: tuple[Format, ...] = ("jsonl", "csv")

FIELDS = ("entity_id", "trigger", "context", "event_id", "at", "actor")
KNOWN = frozenset(FIELDS)


@record
class Rules:
    """How lines become events.

    Attributes:
        event_time: ``at`` is the step's now, not only kept.
        id_prefix: An event without an id gets ``<prefix>:<line>``; None gives it none.
    """

    event_time: bool = False
    id_prefix: str | None = None


@record
class Line:
    """One line of a file: an event, or a problem.

    Attributes:
        data: The event's fields as they were read, to write them again.
        attempt: How often it has been rejected before.
        raw: The text of a line that is no event.
    """

    number: int
    request: EventRequest | None
    problem: str | None = None
    data: Mapping[str, Any] | None = None
    attempt: int = 0
    raw: str | None = None


class _NoEventError(Exception):
    """This line is no event; the message says why."""


def format_of(name: str) -> Format:
    """The format by a file's name: ``.csv`` and ``.csv.gz`` are CSV, the rest is JSON Lines."""
    return "csv" if name.lower().removesuffix(".gz").endswith(".csv") else "jsonl"


def read_lines(feed: Feed, form: Format, rules: Rules) -> Iterator[Line]:
    """The events of a feed, one by one; empty lines are left out."""
    return _read_csv(feed, rules) if form == "csv" else _read_json(feed, rules)


# JSON Lines -------------------------------------------------------------------------------------


def _read_json(feed: Feed, rules: Rules) -> Iterator[Line]:
    for raw in feed:
        if raw and not raw.isspace():
            yield _json_line(raw, feed.number, rules)


def _json_line(raw: bytes, number: int, rules: Rules) -> Line:
    try:
        data = _parse(raw.removeprefix(b"\xef\xbb\xbf"))
        return _line(data, number, rules)
    except _NoEventError as error:
        text = raw[:MAX_LINE].decode("utf-8", "backslashreplace").rstrip("\r")
        return Line(number, None, str(error), raw=text)


def _parse(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_LINE:
        raise _NoEventError(f"longer than {MAX_LINE} bytes")
    try:
        data = parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _NoEventError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except ValueError as error:
        raise _NoEventError(f"not JSON: {error}{_like_a_list(raw)}") from error
    if not isinstance(data, dict):
        raise _NoEventError(f"not a JSON object but {json.dumps(data)[:40]}{_like_a_list(raw)}")
    return cast("dict[str, Any]", data)


def _like_a_list(raw: bytes) -> str:
    """One list of all events is what people have most, when they have no lines."""
    text = raw.strip()
    listed = text.startswith(b"[") or text == b"]" or text.endswith(b"},")
    return "; write one object a line, without '[' and ']' and commas between" if listed else ""


# CSV --------------------------------------------------------------------------------------------


def _read_csv(feed: Feed, rules: Rules) -> Iterator[Line]:
    texts: list[str] = []  # of the row that is read
    rows = csv.reader(_texts(feed, texts), strict=True)
    columns: list[str] | None = None
    while True:
        texts.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield _no_row(texts, feed.number, error)
            continue
        if not row:
            continue
        if columns is None:
            columns = _columns(row, feed.name)
        else:
            yield _csv_line(row, columns, feed.number, rules)


def _texts(feed: Feed, texts: list[str]) -> Iterator[str]:
    """Lines for the CSV reader, also noted in a list of the caller.

    Bytes that are not UTF-8 become surrogates, which no event has.
    """
    for raw in feed:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape") + "\n"
        texts.append(text)
        yield text


def _no_row(texts: list[str], number: int, error: csv.Error) -> Line:
    """What is no CSV, all of it: a quotation that is not closed takes the lines after it along."""
    said = str(error)
    if "unexpected end" in said:
        said = f"a quotation is not closed, from line {number - len(texts) + 1} to the end"
    return Line(number, None, f"not CSV: {said}", raw=_shown("".join(texts)[:MAX_LINE]).rstrip())


def _shown(text: str) -> str:
    """With bytes that are not UTF-8 as escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _columns(row: list[str], name: str) -> list[str]:
    columns = [cell.strip() for cell in row]
    missing = [field for field in ("entity_id", "trigger") if field not in columns]
    if missing:
        other = next((mark for mark in ";\t|" if len(row) == 1 and mark in row[0]), None)
        raise ConfigurationError(
            f"{name}: the first line names no column {' and no '.join(missing)}; "
            f"it has: {', '.join(columns)}. A CSV file begins with a line of column names"
            + (f", and has commas between them, not {other!r}." if other else ".")
        )
    double = next((column for column in columns if columns.count(column) > 1), None)
    if double is not None:
        raise ConfigurationError(f"{name}: two columns are named {double!r}")
    return columns


def _csv_line(row: list[str], columns: list[str], number: int, rules: Rules) -> Line:
    text = ",".join(row)
    try:
        return _line(_fields(_cells(row, columns)), number, rules)
    except _NoEventError as error:
        return Line(number, None, str(error), raw=_shown(text))


def _cells(row: list[str], columns: list[str]) -> dict[str, str]:
    if len(row) != len(columns):
        raise _NoEventError(f"{len(row)} cells, and the first line names {len(columns)} columns")
    try:
        "".join(row).encode()
    except UnicodeEncodeError as error:
        raise _NoEventError("not UTF-8") from error
    return dict(zip(columns, row, strict=True))


def _fields(cells: dict[str, str]) -> dict[str, Any]:
    """A row as an event: a column that is no field of events is a key of the context.

    Empty cells are not there.
    """
    data: dict[str, Any] = {name: cell for name, cell in cells.items() if name in KNOWN and cell}
    context: Any = _cell(data.pop("context", "{}"))
    if not isinstance(context, dict):
        raise _NoEventError("the column context is no JSON object")
    own = {name: _scalar(cell) for name, cell in cells.items() if name not in KNOWN and cell}
    merged = {**cast("dict[str, Any]", context), **own}
    return {**data, "context": merged} if merged else data


def _cell(text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise _NoEventError(f"the column context is not JSON: {error}") from error


def _scalar(cell: str) -> Any:
    """Numbers, true, false and null as JSON has them; everything else is text."""
    try:
        value = parse(cell)
    except ValueError:
        return cell
    return cell if isinstance(value, str | list | dict) else value


# Both -------------------------------------------------------------------------------------------


def _line(data: dict[str, Any], number: int, rules: Rules) -> Line:
    attempt = 0
    if not data.keys() <= KNOWN:
        attempt = _ours(data)
        data = {key: value for key, value in data.items() if not key.startswith("_")}
    entity_id, trigger = data.get("entity_id"), data.get("trigger")
    if not isinstance(entity_id, str):
        entity_id = _text(entity_id, "entity_id")
    if not isinstance(trigger, str):
        raise _missing("trigger", trigger)
    context = data.get("context")
    if context is not None and not isinstance(context, dict):
        raise _NoEventError(f"context is no object but {json.dumps(context)[:40]}")
    event_id = _event_id(data, number, rules)
    if event_id is not None and "event_id" not in data:
        data = {**data, "event_id": event_id}
    at = _moment(data.get("at"), rules)
    request = EventRequest(
        entity_id,
        trigger,
        cast("dict[str, Any] | None", context),
        f"{event_id}~{attempt + 1}" if attempt and event_id is not None else event_id,
        at,
        at if rules.event_time else None,
        _actor(data.get("actor")),
    )
    return Line(number, request, None, data, attempt)


def _ours(data: Mapping[str, Any]) -> int:
    """Check the keys; how often a fed back event was rejected before."""
    for key in data:
        if key not in KNOWN and not key.startswith("_"):
            near = get_close_matches(key, FIELDS, 1)
            hint = (
                f" (did you mean {near[0]!r}?)" if near else f"; an event has {', '.join(FIELDS)}"
            )
            raise _NoEventError(f"unknown key {key!r}{hint}")
    if "_raw" in data:
        raise _NoEventError("damaged when first read: write the event's fields in place of _raw")
    mark = data.get("_rejected")
    attempt = cast("dict[str, Any]", mark).get("attempt") if isinstance(mark, dict) else None
    return attempt if isinstance(attempt, int) and attempt > 0 else 0


def _missing(field: str, value: Any) -> _NoEventError:
    return _NoEventError(
        f"no {field}" if value is None else f"{field} is no text but {json.dumps(value)[:40]}"
    )


def _text(value: Any, field: str) -> str:
    """An id; logs often have numbers for it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _missing(field, value)


def _event_id(data: Mapping[str, Any], number: int, rules: Rules) -> str | None:
    event_id = data.get("event_id")
    if event_id is None:
        return None if rules.id_prefix is None else f"{rules.id_prefix}:{number}"
    return event_id if isinstance(event_id, str) else _text(event_id, "event_id")


def _actor(actor: Any) -> str | None:
    if actor is None or isinstance(actor, str):
        return actor
    raise _missing("actor", actor)


def _moment(at: Any, rules: Rules) -> datetime | None:
    if at is None:
        if rules.event_time:
            raise _NoEventError("no at, and --event-time takes the time of each step from it")
        return None
    try:
        return aware(at)
    except ValueError as error:
        raise _NoEventError(f"at {error}") from error

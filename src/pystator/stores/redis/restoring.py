"""Parcels of another store into the Redis store: see `pystator.stores.redis.ops`."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pystator.errors import FSMError, InvalidValueError
from pystator.records import Outcome, OutcomeKind, Parcel
from pystator.stores.parcels import ENTITY_VALUES, ROW_VALUES, RawParcel, raw
from pystator.stores.redis.ops import Command, Operation, Request
from pystator.stores.redis.rows import LARGEST_VERSION, quoted
from pystator.stores.redis.scripts import Script
from pystator.stores.redis.writing import Terms

__all__ = ["restore"]

RESTORE: Final = Script("restore", "names", "apart")

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)

HEAVY: Final = 8_000_000
"""Characters of the parcels that are on the way at once, about."""

_BROKEN: Final = (FSMError, UnicodeError, OverflowError)
"""Errors of values that cannot be stored."""

_TEXTS: Final = frozenset({"payload", "context_patch", "actions"})
"""Values of a row that are texts of the codec."""


def restore(terms: Terms, parcels: Sequence[Parcel]) -> Operation[list[Outcome]]:
    """Write each that fits, in one script; one `Outcome` for each, in order."""
    outcomes: list[Outcome] = [_APPLIED] * len(parcels)
    commands: list[Command] = []
    whose: list[int] = []
    size = 0
    for at, parcel in enumerate(parcels):
        try:
            packed = raw(parcel)
            if _has_twins(packed):
                outcomes[at] = _STALE
                continue
            commands.append(_command(terms, packed))
        except _BROKEN as error:
            outcomes[at] = _refusal(error)
            continue
        whose.append(at)
        size += packed.size
        if size > HEAVY:
            yield from _send(terms, commands, whose, outcomes)
            commands, whose, size = [], [], 0
    yield from _send(terms, commands, whose, outcomes)
    return outcomes


def _has_twins(parcel: RawParcel) -> bool:
    ids = [row[_EVENT_ID] for row in parcel.rows if row[_EVENT_ID] is not None]
    return len(set(ids)) < len(ids)


_EVENT_ID: Final = ROW_VALUES.index("event_id")


def _send(
    terms: Terms, commands: list[Command], whose: list[int], outcomes: list[Outcome]
) -> Operation[None]:
    if commands:
        replies: Sequence[Any] = yield Request(commands, reads=False, blames=True)
        for at, outcome in zip(whose, terms.outcomes(replies), strict=True):
            outcomes[at] = outcome


def _command(terms: Terms, parcel: RawParcel) -> Command:
    layout = terms.layout
    entity_id, machine = parcel.key
    part = layout.partition(entity_id)
    state, due, fields = _entity(parcel)
    after = ("", "") if parcel.after is None else (_digits(parcel.after[0]), parcel.after[1])
    rows: list[str] = []
    for row in parcel.rows:
        values: dict[str, Any] = dict(zip(ROW_VALUES, row, strict=True))
        rows += (_digits(values["version"]), values["event_id"] or "", _row(values))
    keys = layout.whole(
        part,
        layout.entity(entity_id),
        layout.other(entity_id, machine),
        layout.history(entity_id, machine),
        layout.ids(entity_id, machine),
    )
    arguments: Iterable[str | int] = (
        layout.pres[part], entity_id, machine, terms.epoch or "", parcel.base, *after,
        layout.in_index(machine), state, due, len(fields), *fields, *rows,
    )  # fmt: skip
    return part, RESTORE.call(keys, arguments)


def _entity(parcel: RawParcel) -> tuple[str, str, list[str]]:
    """State, deadline, and what the entity's hash says; empty when none comes."""
    if parcel.entity is None:
        return "", "-", []
    values: dict[str, Any] = dict(zip(ENTITY_VALUES, parcel.entity, strict=True))
    _digits(values["version"])
    archived_at, due = values.pop("archived_at", None), values["next_due"]
    if archived_at is not None:
        values["version"] = f"{values['version']}@{archived_at}"
    fields = ["machine_name", parcel.machine_name]
    for name, value in values.items():
        fields += (name, "" if value is None else str(value))
    deadline = "-" if due is None else str(due)
    return values["state"], deadline if archived_at is None else "@", fields


def _row(values: dict[str, Any]) -> str:
    """The text of a row, as `pystator.stores.redis.encode` writes it."""
    texts = [_field(name, values[name]) for name in _ROW]
    if values.get("trace") is not None:
        texts.insert(-1, quoted(values["trace"]))
    return f"[{','.join(texts)}]"


_ROW: Final = tuple([name for name in ROW_VALUES if name not in {"version", "trace"}])


def _field(name: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text: str = value if name in _TEXTS else quoted(value)
    return text


def _digits(version: int) -> str:
    if not 0 <= version <= LARGEST_VERSION:
        raise InvalidValueError(
            f"version {version} cannot be stored: it is not between 0 and {LARGEST_VERSION}",
            context={"version": version},
        )
    return f"{version:012x}"


def _refusal(error: Exception) -> Outcome:
    if not isinstance(error, FSMError):
        error = InvalidValueError(f"the parcel cannot be stored: {error}", context={})
    return Outcome(OutcomeKind.REFUSED, error)

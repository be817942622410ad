"""Definitions of machines in the Redis store, as operations: see `pystator.stores.redis.ops`.

They are the fields ``name NUL version`` of one hash. There are few, and one is set once.
"""

import json
from typing import Final

from pystator.records import Page, StoredMachine
from pystator.stores.definitions import (
    check_machine,
    is_same,
    machine_page,
    machines_after,
    values_of,
)
from pystator.stores.keys import is_storable, rows_asked
from pystator.stores.redis.layout import Layout, key_of, member_of
from pystator.stores.redis.ops import Operation, Request, pack

__all__ = ["machine", "machines", "save"]

_HOME: Final = 0
"""The partition that has them."""


def save(layout: Layout, given: StoredMachine) -> Operation[bool]:
    """Keep a version; False when it was there.

    Raises:
        ConfigurationError: It was there with another fingerprint.
        InvalidValueError: It cannot be stored.
    """
    check_machine(given)
    key, field = layout.shared("machines", _HOME), member_of(given.name, given.version)
    text = json.dumps(values_of(given)[2:], ensure_ascii=False)
    commands = [(_HOME, pack(("HSETNX", key, field, text))), (_HOME, pack(("HGET", key, field)))]
    was_new, kept = yield Request(commands, reads=False)
    return bool(was_new) or is_same(given, _machine_of(field, kept).fingerprint)


def machine(layout: Layout, name: str, version: str | None) -> Operation[StoredMachine | None]:
    """A version, or the one that was stored last."""
    if not is_storable(name, version):
        return None
    if version is None:
        fields = [field for field in (yield from _fields(layout)) if key_of(field)[0] == name]
    else:
        fields = [member_of(name, version)]
    found = yield from _read(layout, fields)
    return max(found, key=lambda each: (each.created_at, each.version)) if found else None


def machines(layout: Layout, after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
    """All versions in the order ``(name, version)``."""
    place = machines_after(after)
    limit = rows_asked(limit)
    fields = sorted((yield from _fields(layout)), key=key_of)
    rest = [field for field in fields if key_of(field) > place]
    return machine_page((yield from _read(layout, rest[: limit + 1])), limit)


def _fields(layout: Layout) -> Operation[list[str]]:
    command = pack(("HKEYS", layout.shared("machines", _HOME)))
    [fields] = yield Request([(_HOME, command)], reads=True)
    return list(fields)


def _read(layout: Layout, fields: list[str]) -> Operation[list[StoredMachine]]:
    if not fields:
        return []
    command = pack(("HMGET", layout.shared("machines", _HOME), *fields))
    [texts] = yield Request([(_HOME, command)], reads=True)
    pairs = zip(fields, texts, strict=True)
    return [_machine_of(field, text) for field, text in pairs if text is not None]


def _machine_of(field: str, text: str) -> StoredMachine:
    return StoredMachine(*key_of(field), *json.loads(text))

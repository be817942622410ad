"""Definitions of machines in the Redis store, as operations: see `pystator.stores.redis.ops`.

They are the fields ``name NUL version`` of one hash. There are few, and one is set once.
"""

import json
from typing import Final

from pystator.records import Page, StoredMachine
from pystator.stores.definitions import (
    age,
    check_deletion,
    check_machine,
    is_same,
    machine_page,
    machines_after,
    values_of,
)
from pystator.stores.keys import is_storable, rows_asked
from pystator.stores.redis.layout import Layout, key_of, member_of
from pystator.stores.redis.ops import Operation, Request, pack
from pystator.stores.redis.scripts import Script

__all__ = ["delete", "machine", "machines", "save"]

DELETE: Final = Script("delete", "names", "states")

LOOKED: Final = 5_000
"""Entities that are looked at in one script, to see which version wrote them."""

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
        fields = yield from _fields_of(layout, name)
    else:
        fields = [member_of(name, version)]
    found = yield from _read(layout, fields)
    return max(found, key=age, default=None)


def machines(layout: Layout, after: str | None, limit: int) -> Operation[Page[StoredMachine]]:
    """All versions in the order ``(name, version)``."""
    place = machines_after(after)
    limit = rows_asked(limit)
    fields = sorted((yield from _fields(layout)), key=key_of)
    rest = [field for field in fields if key_of(field) > place]
    return machine_page((yield from _read(layout, rest[: limit + 1])), limit)


def delete(layout: Layout, name: str, version: str | None) -> Operation[int]:
    """Delete a version, or all of them; how many there were.

    On one server it is one script that counts the entities and deletes, but where a version that is
    not the newest one goes: then entities are looked at one by one, `LOOKED` in a script, and the
    last script deletes. A cluster counts partition by partition before that: an entity that comes
    meanwhile in another partition than the first is not seen.

    Raises:
        ConfigurationError: Entities of this machine are alive.
    """
    if not is_storable(name, version):
        return 0
    while True:
        found = yield from _read(layout, (yield from _fields_of(layout, name)))
        gone = [member_of(name, each.version) for each in found if version in {None, each.version}]
        if not gone:
            return 0
        newest = max(found, key=age)
        of_version = version if version != newest.version else None
        stays = "" if of_version is None else member_of(name, newest.version)
        count = _Count(layout, name, of_version)
        for partition in layout.partitions[1:]:
            yield from count.run(partition)
        deleted = yield from count.run(_HOME, stays, *gone)
        check_deletion(name, version, count.alive)
        if deleted >= 0:
            return deleted


class _Count:
    """Entities of a machine that are alive.

    Args:
        layout: The names of keys.
        name: The machine.
        version: Only those that were written last by this version.

    Attributes:
        alive: So many were found.
    """

    def __init__(self, layout: Layout, name: str, version: str | None) -> None:
        self.alive = 0
        self._layout = layout
        self._which = (name, "", "") if version is None else (name, "1", version)

    def run(self, partition: int, *versions: str) -> Operation[int]:
        """Count those of a partition; where none was found at all, versions are deleted.

        Args:
            partition: Its number.
            versions: What must be there then, or ``""``, and what is deleted.

        Returns how many were deleted; -1 when what must be there is not.
        """
        layout = self._layout
        keys = layout.whole(
            partition, layout.shared("machines", partition), layout.shared("entities", partition)
        )
        place, is_over = "", False
        deleted = 0
        while not is_over:
            arguments: tuple[str | int, ...] = (
                layout.pres[partition], *self._which, layout.opening(partition), place, LOOKED,
                self.alive, *versions,
            )  # fmt: skip
            [reply] = yield Request([(partition, DELETE.call(keys, arguments))], reads=False)
            self.alive, place, deleted = reply
            is_over = not place
        return deleted


def _fields_of(layout: Layout, name: str) -> Operation[list[str]]:
    return [field for field in (yield from _fields(layout)) if key_of(field)[0] == name]


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

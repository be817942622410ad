"""The replication stream of a hot Redis: one entry a commit, with the entity after it and its rows.

An entry is a flat list of names and values, all of them texts: ``id``, ``machine``, ``base`` (the
version before), ``rows`` (as in the history's sorted set, a row a line), and, when the entity
changed, the fields of its hash. Nothing of it is decoded but the frame of each row.

Laws:

- The last entry that was applied stays in the stream, until a later one is: an anchor. A Redis
  that has lost what was applied already has lost it, too.
- ``P:replicated`` says up to where the stream was trimmed. A durable store that is behind it has
  lost something itself.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pystator.records import Key, record
from pystator.stores.codec import rewrite
from pystator.stores.parcels import EntityRow, HistoryRow, RawParcel
from pystator.stores.redis.ops import Command, Operation, Request, pack
from pystator.stores.redis.rows import DIGITS, archived_of, version_of
from pystator.stores.redis.scripts import Script

if TYPE_CHECKING:
    from pystator.stores.redis.layout import Layout
    from pystator.stores.redis.link import Link

__all__ = ["Batch", "Head", "Stream", "asking_epochs", "parcels_of"]

TRIM: Final = Script("trim")
FENCE: Final = Script("fence")

_Entry = Sequence[Any]

_SHARED: Final = (
    "entities",
    "archived",
    "histories",
    "states",
    "archived-states",
    "feed",
    "machines",
    "epoch",
    "replication",
    "replicated",
    "joining",
)
"""The keys of a whole partition."""

_WILD: Final = re.compile(r"[\\*?\[\]]")


@record
class Batch:
    """What was read of one partition.

    Attributes:
        epoch: The epoch of the hot store when it was read.
        entries: Ids, each with names and values.
    """

    partition: int
    epoch: str | None
    entries: Sequence[_Entry]

    @property
    def last(self) -> str:
        """The id of the last entry."""
        last: str = self.entries[-1][0]
        return last

    @property
    def size(self) -> int:
        """Characters of its entries: each has the whole entity, also where they are of one."""
        return sum([sum(map(len, values)) for _, values in self.entries])


@record
class Head:
    """A partition's stream as a whole.

    Attributes:
        last: The id of its newest entry that is there; None when there is none.
        length: Entries, the anchor among them.
        oldest: The id of the oldest one that is not applied.
        anchored: The entry that was applied last is there.
        trimmed: Up to where it was trimmed; None when it never was.
        epoch: The epoch of the hot store.
    """

    last: str | None
    length: int
    oldest: str | None
    anchored: bool
    trimmed: str | None
    epoch: str | None


class Stream:
    """The streams of all partitions.

    Args:
        link: The way to the hot store.
    """

    def __init__(self, link: "Link") -> None:
        self._link = link

    @property
    def partitions(self) -> range:
        """Their numbers."""
        return self._link.layout.partitions

    @property
    def changes(self) -> int:
        """It grows when a connection is made or lost: the server may be another one."""
        return self._link.changes

    def now(self) -> int:
        """The clock of the hot store, in milliseconds."""
        [(seconds, micros)] = self._run([(0, pack(("TIME",)))], reads=True)
        return int(seconds) * 1_000 + int(micros) // 1_000

    def read(self, places: Mapping[int, str], count: int) -> list[Batch]:
        """The next entries of each partition.

        Args:
            places: Behind which; only these partitions are read.
            count: At most so many of each.
        """
        commands: list[Command] = []
        for partition, place in places.items():
            stream = self._name("replication", partition)
            commands += (
                (partition, pack(("GET", self._name("epoch", partition)))),
                (partition, pack(("XRANGE", stream, f"({place}", "+", "COUNT", count))),
            )
        replies = self._run(commands, reads=True)
        return [
            Batch(partition, replies[2 * number], replies[2 * number + 1])
            for number, partition in enumerate(places)
        ]

    def trim(self, places: Mapping[int, str]) -> None:
        """Delete what is applied, but for the anchor; nothing where that is missing.

        Then somebody else was here later, or the stream has lost it, which `heads` tells.
        """
        names = ("replication", "replicated")
        commands = [
            (partition, TRIM.call(self._names(partition, *names), (place,)))
            for partition, place in places.items()
        ]
        self._run(commands, reads=False)

    def heads(self, places: Mapping[int, str]) -> dict[int, Head]:
        """Each partition's stream as a whole.

        Args:
            places: How far each of them is applied.
        """
        commands: list[Command] = []
        for partition, place in places.items():
            stream = self._name("replication", partition)
            asked: tuple[tuple[str, ...], ...] = (
                ("XREVRANGE", stream, "+", "-", "COUNT", "1"),
                ("XLEN", stream),
                ("XRANGE", stream, f"({place}", "+", "COUNT", "1"),
                ("XRANGE", stream, place, place),
                ("GET", self._name("replicated", partition)),
                ("GET", self._name("epoch", partition)),
            )
            commands += [(partition, pack(words)) for words in asked]
        replies = iter(self._run(commands, reads=True))
        found: dict[int, Head] = {}
        for partition in places:
            last, length, oldest, anchor, trimmed, epoch = (next(replies) for _ in range(6))
            found[partition] = Head(
                last[0][0] if last else None,
                length,
                oldest[0][0] if oldest else None,
                bool(anchor),
                trimmed,
                epoch,
            )
        return found

    # Epochs ---------------------------------------------------------------------------------------

    def epochs(self) -> set[str | None]:
        """The epochs of all partitions: one, when all is well."""
        return set(self._link.run(_get_epochs(self._link.layout)))

    def set_epoch(self, epoch: str, *, unless_there: bool = False) -> None:
        """Say of all partitions which epoch they belong to."""
        more = ("NX",) if unless_there else ()
        self._of_all(("SET",), "epoch", epoch, *more, reads=False)

    def fence(self, before: str, after: str) -> None:
        """Put another epoch in the place of one, where it still is that one."""
        commands = [
            (partition, FENCE.call(self._names(partition, "epoch"), (before, after)))
            for partition in self.partitions
        ]
        self._run(commands, reads=False)

    def joining(self) -> str | None:
        """The epoch under which it is being brought together with another store."""
        joining: str | None
        [joining] = self._run([(0, pack(("GET", self._name("joining", 0))))], reads=True)
        return joining

    def begin_joining(self, epoch: str) -> None:
        """It belongs to no epoch from now on, and nothing waits to be replicated."""
        for name in ("epoch", "replication", "replicated"):
            self._of_all(("DEL",), name, reads=False)
        self._run([(0, pack(("SET", self._name("joining", 0), epoch)))], reads=False)

    def end_joining(self) -> None:
        """It is brought together."""
        self._run([(0, pack(("DEL", self._name("joining", 0))))], reads=False)

    def is_empty(self) -> bool:
        """There is no entity, no row and nothing to replicate."""
        return self.holds_nothing() and not any(
            self._of_all(("EXISTS",), "replication", reads=True)
        )

    def holds_nothing(self) -> bool:
        """There is no entity and no row."""
        return not any(
            number
            for name in ("entities", "archived", "histories")
            for number in self._of_all(("EXISTS",), name, reads=True)
        )

    def wipe(self, check: Callable[[], None]) -> None:
        """Delete every key of the store; the epoch first, so that nobody writes meanwhile.

        Args:
            check: Called now and then, raises an error when this is to end.
        """
        layout = self._link.layout
        prefix = _WILD.sub(r"\\\g<0>", layout.prefix)
        patterns = [f"{prefix}:{name}:*" for name in ("entity", "state", "archived", "due")]
        patterns.append(f"{{{prefix}:entity:*")
        self._of_all(("DEL",), "epoch", reads=False)
        if layout.is_cluster:
            patterns = [f"{{{prefix}:[0-9][0-9]}}:*"]
        homes = {self._link.home(partition): partition for partition in self.partitions}
        for partition in homes.values():
            for pattern in patterns:
                self._wipe(partition, pattern, check)
        check()
        for name in _SHARED:
            self._of_all(("DEL",), name, reads=False)

    def _wipe(self, partition: int, pattern: str, check: Callable[[], None]) -> None:
        cursor = "0"
        while True:
            words = ("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
            [(cursor, keys)] = self._run([(partition, pack(words))], reads=True)
            check()
            self._run([(partition, pack(("UNLINK", key))) for key in keys], reads=False)
            if cursor == "0":
                return

    def _of_all(self, command: tuple[str, ...], name: str, *more: str, reads: bool) -> list[Any]:
        commands = [
            (partition, pack((*command, self._name(name, partition), *more)))
            for partition in self.partitions
        ]
        return self._run(commands, reads=reads)

    def _name(self, name: str, partition: int) -> str:
        return self._link.layout.shared(name, partition)

    def _names(self, partition: int, *names: str) -> tuple[str, ...]:
        """Shared keys as a script is given them."""
        layout = self._link.layout
        return layout.whole(partition, *[layout.shared(name, partition) for name in names])

    def _run(self, commands: list[Command], *, reads: bool) -> list[Any]:
        return self._link.run(Request(commands, reads)) if commands else []


def asking_epochs(layout: "Layout") -> Operation[set[str | None]]:
    """`Stream.epochs` as an operation, for both faces."""
    return set((yield _get_epochs(layout)))


def _get_epochs(layout: "Layout") -> Request:
    commands = [
        (partition, pack(("GET", layout.shared("epoch", partition))))
        for partition in layout.partitions
    ]
    return Request(commands, reads=True)


# Entries -> parcels -------------------------------------------------------------------------------


def parcels_of(entries: Sequence[_Entry]) -> list[RawParcel]:
    """Entries in order -> one parcel a key: all its rows, and its last entity."""
    merged: dict[Key, _Merged] = {}
    for _, values in entries:
        fields = dict(zip(values[::2], values[1::2], strict=True))
        key = (fields["id"], fields["machine"])
        of_key = merged.get(key)
        if of_key is None:
            of_key = merged[key] = _Merged(archived_of(fields["base"])[0])
        if "version" in fields:
            of_key.entity = _entity(fields)
        if fields["rows"]:
            of_key.rows += [_row(text) for text in fields["rows"].split("\n")]
    return [RawParcel(*key, each.entity, each.rows, each.base) for key, each in merged.items()]


class _Merged:
    """What entries say of one key."""

    __slots__ = ("base", "entity", "rows")

    def __init__(self, base: int) -> None:
        self.base = base
        self.entity: EntityRow | None = None
        self.rows: list[HistoryRow] = []


def _entity(fields: Mapping[str, str]) -> EntityRow:
    due = fields.get("next_due")
    version, archived_at = archived_of(fields["version"])
    return (
        version,
        fields["state"],
        fields["context"],
        fields.get("history") or None,
        fields.get("timers") or None,
        int(due) if due else None,
        fields["machine_version"],
        fields["fingerprint"],
        int(fields["created_at"]),
        int(fields["updated_at"]),
        fields["commit_id"],
        int(fields["state_since"]),
        archived_at,
    )


_load: Final = json.loads

_UNTRACED: Final = 12
"""Values of a row from its success to its fingerprint; where there is one more, it is the trace."""


def _row(text: str) -> HistoryRow:
    kind, trigger, payload, now, patch, source, target, actions, *rest = _load(text[DIGITS:])
    *told, recorded_at = rest
    trace = told.pop() if len(told) > _UNTRACED else None
    return (
        version_of(text),
        kind,
        trigger,
        None if payload is None else rewrite(payload),
        now,
        None if patch is None else rewrite(patch),
        source,
        target,
        None if actions is None else rewrite(actions),
        *told,
        recorded_at,
        trace,
    )

"""The names of keys.

::

    one server (P is the prefix)                  a cluster (NN is the partition of the entity's id)
    P:entity:<id>                                 {P:NN}:entity:<id>
    {P:entity:<id>}:machine:<machine>             {P:NN}:{entity:<id>}:machine:<machine>
    {P:entity:<id>}:history:<machine>             {P:NN}:{entity:<id>}:history:<machine>
    {P:entity:<id>}:ids:<machine>                 {P:NN}:{entity:<id>}:ids:<machine>
    P:entities, P:feed, P:due:<machine>, ...      {P:NN}:entities, {P:NN}:feed, ...

Laws:

- A cluster cuts at the first pair of braces: all keys of a partition are in one slot, so that one
  script may touch them. Which partition an id belongs to never changes.
- No two entities share a key: ``%``, ``{`` and ``}`` are percent-encoded in ids and in machines'
  names, and what follows a machine's name is put behind a colon that the name cannot have.
- An id is the first thing of the members of indexes, and a character that no id has, NUL, follows:
  so their order is that of keys.
"""

from binascii import crc32
from typing import Final

from pystator.records import Key

__all__ = ["PARTITIONS", "Layout", "key_of", "member_of"]

PARTITIONS: Final = 64
"""Of a cluster. It never changes."""

_ESCAPES: Final = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})
_NUL: Final = "\0"


class Layout:
    """The keys of one store.

    Args:
        prefix: The store's ``key_prefix``.
        is_cluster: They are spread over the slots of a cluster.

    Attributes:
        partitions: Their numbers: of one server, 0 alone.
    """

    __slots__ = ("is_cluster", "partitions", "prefix", "pres")

    def __init__(self, prefix: str, *, is_cluster: bool) -> None:
        self.prefix = prefix
        self.is_cluster = is_cluster
        self.partitions = range(PARTITIONS if is_cluster else 1)
        self.pres = (
            [f"{{{prefix}:{number:02}}}:" for number in self.partitions]
            if is_cluster
            else [f"{prefix}:"]
        )
        """For each partition, what its shared keys begin with."""

    def partition(self, entity_id: str) -> int:
        """The partition of an entity."""
        return crc32(entity_id.encode()) % PARTITIONS if self.is_cluster else 0

    def shared(self, name: str, partition: int) -> str:
        """A key of a whole partition.

        Args:
            name: ``entities``, ``archived``, ``histories``, ``states``, ``archived-states``,
                ``feed``, ``machines``, ``epoch`` or ``replication``.
            partition: Its number.
        """
        return self.pres[partition] + name

    def never(self, partition: int) -> str:
        """A key that never is, which scripts name in a cluster.

        A cluster that is just moving a slot, key by key, then refuses them (TRYAGAIN): it has only
        a part of what they name. They would not see that a key has been moved.
        """
        return f"{self.pres[partition]}never"

    def whole(self, partition: int, *keys: str) -> tuple[str, ...]:
        """Keys of a partition as a script is given them."""
        return (*keys, self.never(partition)) if self.is_cluster else keys

    def index(self, partition: int, name: str) -> tuple[str, ...]:
        """A shared key as a script is given it."""
        return self.whole(partition, self.pres[partition] + name)

    def due(self, machine: str, partition: int) -> str:
        """The index of deadlines."""
        return f"{self.pres[partition]}due:{self.in_index(machine)}"

    @staticmethod
    def in_index(machine: str) -> str:
        """A machine in names: ``state:<machine>:<state>``, ``archived:...``, ``due:<machine>``."""
        return _escaped(machine).replace(":", "%3A")

    def opening(self, partition: int) -> str:
        """What `stem` begins with: all before the id."""
        return f"{self.pres[partition]}{{entity:" if self.is_cluster else f"{{{self.prefix}:entity:"

    def entity(self, entity_id: str) -> str:
        """The entity of the machine that created one under this id first."""
        return f"{self.pres[self.partition(entity_id)]}entity:{_escaped(entity_id)}"

    def stem(self, entity_id: str) -> str:
        """What the other keys of an id begin with."""
        return f"{self.opening(self.partition(entity_id))}{_escaped(entity_id)}}}:"

    def other(self, entity_id: str, machine: str) -> str:
        """The entity of a machine that was not the first."""
        return f"{self.stem(entity_id)}machine:{_escaped(machine)}"

    def history(self, entity_id: str, machine: str) -> str:
        """History rows: a sorted set of `pystator.stores.redis.rows` members."""
        return f"{self.stem(entity_id)}history:{_escaped(machine)}"

    def ids(self, entity_id: str, machine: str) -> str:
        """Event ids: a hash, id -> the first 28 digits of its row."""
        return f"{self.stem(entity_id)}ids:{_escaped(machine)}"

    def names_of(self, machine: str) -> tuple[str, str]:
        """A machine in names of keys, and in those of indexes."""
        escaped = _escaped(machine)
        return escaped, escaped.replace(":", "%3A")


def _escaped(text: str) -> str:
    if "%" in text or "{" in text or "}" in text:
        return text.translate(_ESCAPES)
    return text


def member_of(entity_id: str, machine: str) -> str:
    """A key as a member of the indexes ``entities`` and ``histories``."""
    return entity_id + _NUL + machine


def key_of(member: str) -> Key:
    """What `member_of` took; that of ``states`` is cut in the same way."""
    first, _, second = member.partition(_NUL)
    return first, second

"""What is said of a copy, while it runs and in the end."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from pystator.records import record

__all__ = ["Conflict", "Copied", "Progress", "Tally"]


@record
class Conflict:
    """Something that was not copied because of what the target has, or because it cannot be stored.

    Attributes:
        entity_id: Of the entity or of the rows; ``""`` for a machine.
        machine_name: Of the entity, or of the machine itself.
        why: What the target has instead, or why it refused.
    """

    entity_id: str
    machine_name: str
    why: str


@record
class Copied:
    """What became of a copy, so far or in the end; of a dry run, what would.

    Attributes:
        entities, rows, machines: What the source has; of the pass under way while it runs.
        new_entities: Entities that were made in the target, or brought to a later version.
        new_rows, new_machines: Rows and versions of machines that were written.
        passes: How often everything was read.
        conflicts: What was not copied, and why.
        behind: Keys that somebody was writing to in the source: another run catches up.
        others: Rows that only the target has and that are no conflict: rows that were pruned in the
            source since, and rejections. Rows that were pruned in the target are not put back.
        digest: Of everything the source has; equal data have equal digests, in whatever store.
        verified: The last pass found in the target all that the source has.
        stopped: It was stopped before it was done; another run goes on.
    """

    entities: int = 0
    rows: int = 0
    machines: int = 0
    new_entities: int = 0
    new_rows: int = 0
    new_machines: int = 0
    passes: int = 0
    conflicts: tuple[Conflict, ...] = ()
    behind: int = 0
    others: int = 0
    digest: str = ""
    verified: bool = False
    stopped: bool = False


Progress = Callable[[Copied], bool | None]
"""Told after each batch what was done so far; False stops the copy there."""


class Tally:
    """What is counted while a pass goes on.

    Args:
        so_far: What earlier passes wrote.
        number: Which pass it is.
    """

    def __init__(self, so_far: Copied, number: int) -> None:
        self.number = number
        self.entities = self.rows = self.machines = self.behind = self.others = 0
        self.new_entities = so_far.new_entities
        self.new_rows = so_far.new_rows
        self.new_machines = so_far.new_machines
        self.written = 0
        self.stopped = False
        self._conflicts: dict[tuple[str, str, bool], Conflict] = {}
        self._digest = blake2b(digest_size=16)

    def see(self, values: Any) -> None:
        """Something that the source has, for the digest."""
        self._digest.update(repr(values).encode("utf-8", "surrogatepass"))

    def object(self, conflict: Conflict) -> None:
        """Something is not copied; of one key, the first reason counts."""
        name = (conflict.entity_id, conflict.machine_name, not conflict.entity_id)
        self._conflicts.setdefault(name, conflict)

    def told(self, *, verified: bool = False) -> Copied:
        """As it is now."""
        return Copied(
            entities=self.entities,
            rows=self.rows,
            machines=self.machines,
            new_entities=self.new_entities,
            new_rows=self.new_rows,
            new_machines=self.new_machines,
            passes=self.number,
            conflicts=tuple(self._conflicts.values()),
            behind=self.behind,
            others=self.others,
            digest=self._digest.hexdigest(),
            verified=verified and not self._conflicts,
            stopped=self.stopped,
        )

"""Who waits for whom among entities whose async guards are under way.

An entity whose guard is awaited takes no other event until it has its verdict. So a guard that
waits for an event of its own entity, or of one whose guard waits for this one, would wait for ever.
Here it is told so.
"""

from contextvars import ContextVar

from pystator.errors import EvaluationError

__all__ = ["DECIDING", "Deciding", "Waits"]

Waits = dict[str, "Deciding"]
"""The entities of one combiner that are decided alone, by id."""


class Deciding:
    """One entity that is decided alone, and the entities its guards wait for.

    Attributes:
        asking: A guard is awaited. What a guard has begun may send events when it is not.
        awaited: Whom its guards wait for now.
    """

    __slots__ = ("asking", "awaited", "entity_id")

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.asking = False
        self.awaited: list[tuple[Waits, str]] = []

    def wait_for(self, waits: Waits, entity_id: str) -> None:
        """Note that a guard of this entity is about to wait for an event of another.

        Raises:
            EvaluationError: That one waits for this one, or is this one.
        """
        if self._is_behind(waits, entity_id, set()):
            raise EvaluationError(
                f"a guard of entity {self.entity_id!r} sends an event to entity {entity_id!r},"
                " which waits for that guard: it would wait for ever; let an action send the event,"
                " or whoever gets the result",
                context={"entity_id": self.entity_id, "waits_for": entity_id},
            )
        self.awaited.append((waits, entity_id))

    def go_on(self, waits: Waits, entity_id: str) -> None:
        """The event was answered."""
        self.awaited.remove((waits, entity_id))

    def _is_behind(self, waits: Waits, entity_id: str, seen: set[int]) -> bool:
        other = waits.get(entity_id)
        if other is None or id(other) in seen:
            return False
        seen.add(id(other))
        return other is self or any(self._is_behind(*each, seen) for each in other.awaited)


DECIDING: ContextVar[Deciding | None] = ContextVar("pystator_deciding", default=None)
"""The entity whose guard runs here, or has begun what runs here."""

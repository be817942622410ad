"""Who waits for whom among entities whose async guards are under way.

An entity whose guard is awaited takes no other event until it has its verdict. So a guard that
waits for an event of its own entity, or of one whose guard waits for this one, would wait for ever
where calls share commits. Where they do not, its event would go first, and make the verdict stale:
the guard would be asked again, and send it again. Here it is told so.
"""

from contextvars import ContextVar

from pystator.errors import EvaluationError

__all__ = ["DECIDING", "Deciding", "Waits"]

Waits = dict[str, "Deciding"]
"""The entities of one combiner that are decided alone, by id."""


class Deciding:
    """One entity that is decided alone, and the entities its guards wait for.

    Args:
        home: Tells the entities of one orchestrator from those of others.
        entity_id: The entity.
        outer: The entity whose guard sent the event that is decided here.

    Attributes:
        asking: A guard is awaited. What a guard has begun may send events when it is not.
        awaited: Whom its guards wait for now.
    """

    __slots__ = ("asking", "awaited", "entity_id", "home", "outer")

    def __init__(self, home: object, entity_id: str, outer: "Deciding | None" = None) -> None:
        self.home = home
        self.entity_id = entity_id
        self.outer = outer
        self.asking = False
        self.awaited: list[tuple[Waits, str]] = []

    def admit(self, home: object, entity_id: str) -> None:
        """See whether a guard of this entity may send an event to another.

        Raises:
            EvaluationError: It is this one, or one whose guard has sent what is decided here.
        """
        one: Deciding | None = self
        while one is not None:
            if one.asking and one.is_of(home, entity_id):
                raise self._endless(entity_id)
            one = one.outer

    def is_of(self, home: object, entity_id: str) -> bool:
        """This is the entity."""
        return self.home is home and self.entity_id == entity_id

    def wait_for(self, waits: Waits, entity_id: str) -> None:
        """Note that a guard of this entity is about to wait for an event of another.

        Raises:
            EvaluationError: That one waits for this one, or is this one.
        """
        if self._is_behind(waits, entity_id, set()):
            raise self._endless(entity_id)
        self.awaited.append((waits, entity_id))

    def go_on(self, waits: Waits, entity_id: str) -> None:
        """The event was answered."""
        self.awaited.remove((waits, entity_id))

    def _endless(self, entity_id: str) -> EvaluationError:
        return EvaluationError(
            f"a guard of entity {self.entity_id!r} sends an event to entity {entity_id!r},"
            " which waits for that guard: it would wait for ever; let an action send the event,"
            " or whoever gets the result",
            context={"entity_id": self.entity_id, "waits_for": entity_id},
        )

    def _is_behind(self, waits: Waits, entity_id: str, seen: set[int]) -> bool:
        other = waits.get(entity_id)
        if other is None or id(other) in seen:
            return False
        seen.add(id(other))
        return other is self or any(self._is_behind(*each, seen) for each in other.awaited)


DECIDING: ContextVar[Deciding | None] = ContextVar("pystator_deciding", default=None)
"""The entity whose guard runs here, or has begun what runs here."""

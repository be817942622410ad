"""The least that a store of a user's is: three methods."""

from collections.abc import Mapping
from typing import Any

__all__ = ["Three"]


class Three:
    """States and contexts in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def get_state(self, entity_id: str) -> str | None:
        """None where there is none."""
        found = self.kept.get(entity_id)
        return None if found is None else found[0]

    def get_context(self, entity_id: str) -> Mapping[str, Any]:
        """Empty where there is none."""
        found = self.kept.get(entity_id)
        return {} if found is None else found[1]

    def set_state(
        self, entity_id: str, state: str, *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Keep both."""
        context = (metadata or {}).get("context", self.get_context(entity_id))
        self.kept[entity_id] = (state, context)

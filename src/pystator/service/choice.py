"""Which rows of the feed a reader wants."""

from collections.abc import Sequence
from typing import Any

from pystator.records import HistoryEntry, record

__all__ = ["EVERYTHING", "Choice"]


@record
class Choice:
    """Filters of the feed; None leaves everything in.

    The store's own query does the first two. No index serves the others: they are looked at row by
    row, as the rows are read.

    Attributes:
        machine_names: Rows of these machines; none at all for an empty sequence.
        entity_id: Rows of entities of this id.
        trigger: Rows of this event or timer.
        state: Rows that led into this state: an active leaf, or a whole configuration.
        success: Applied ones or rejected ones.
    """

    machine_names: Sequence[str] | None = None
    entity_id: str | None = None
    trigger: str | None = None
    state: str | None = None
    success: bool | None = None

    @property
    def looks(self) -> bool:
        """Rows that the store's query gives may be left out."""
        return (self.trigger, self.state, self.success) != (None, None, None)

    @property
    def is_nothing(self) -> bool:
        """No row can be wanted."""
        return self.machine_names is not None and not self.machine_names

    @property
    def asked(self) -> dict[str, Any]:
        """What the store is asked for."""
        asked: dict[str, Any] = {}
        if self.machine_names is not None:
            asked["machine_names"] = self.machine_names
        if self.entity_id is not None:
            asked["entity_id"] = self.entity_id
        return asked

    def takes(self, row: HistoryEntry) -> bool:
        """The row is wanted, by all of the filters."""
        return (
            (self.machine_names is None or row.machine_name in self.machine_names)
            and (self.entity_id is None or row.entity_id == self.entity_id)
            and self.takes_of_store(row)
        )

    def takes_of_store(self, row: HistoryEntry) -> bool:
        """A row that the store's query gave is wanted."""
        return (
            (self.trigger is None or row.trigger == self.trigger)
            and (self.success is None or row.success == self.success)
            and (self.state is None or _is_in(self.state, row.target_state))
        )


EVERYTHING = Choice()


def _is_in(state: str, configuration: str | None) -> bool:
    return configuration is not None and (
        configuration == state or ("+" in configuration and state in configuration.split("+"))
    )

"""Entities that are archived, and traces of events.

Revision: 0003, follows 0002.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from pystator.db.column_types import NAME, Time
from pystator.db.index_rows import ALIVE, ARCHIVED, SHORT_STATE, SHORT_STATE_SINCE

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_entity_states_state": ("machine_name state entity_id", None, SHORT_STATE),
    "ix_entity_states_since": ("machine_name state state_since entity_id", None, SHORT_STATE_SINCE),
    "ix_entity_states_due": (
        "next_due entity_id machine_name",
        "next_due IS NOT NULL",
        "next_due IS NOT NULL",
    ),
}
"""The indexes by which entities are found: columns, and which rows SQLite and PostgreSQL have."""


def upgrade() -> None:
    """To this revision."""
    op.add_column("entity_states", sa.Column("archived_at", Time(), nullable=True))
    op.add_column("transition_history", sa.Column("trace", NAME, nullable=True))
    # One day most are archived: whoever looks for the others passes none of them.
    for name, (columns, sqlite, postgresql) in INDEXES.items():
        op.drop_index(name, table_name="entity_states")
        _create(name, _covering(columns), _both(sqlite, ALIVE), _both(postgresql, ALIVE))
    _create(
        "ix_entity_states_archived",
        _covering("machine_name state entity_id"),
        ARCHIVED,
        _both(SHORT_STATE, ARCHIVED),
    )


def downgrade() -> None:
    """To the revision before; what was archived is alive there."""
    op.drop_index("ix_entity_states_archived", table_name="entity_states")
    for name, (columns, sqlite, postgresql) in INDEXES.items():
        op.drop_index(name, table_name="entity_states")
        _create(name, columns, sqlite, postgresql)
    op.drop_column("transition_history", "trace")
    op.drop_column("entity_states", "archived_at")


def _covering(columns: str) -> str:
    """SQLite looks into a row for every column that a query names, also where it is known."""
    return columns if op.get_bind().dialect.name == "postgresql" else f"{columns} archived_at"


def _both(first: str | None, second: str) -> str:
    return second if first is None else f"{first} AND {second}"


def _create(name: str, columns: str, sqlite: str | None, postgresql: str) -> None:
    where: dict[str, Any] = {"postgresql_where": sa.text(postgresql)}
    if sqlite is not None:
        where["sqlite_where"] = sa.text(sqlite)
    op.create_index(name, "entity_states", columns.split(), unique=False, **where)

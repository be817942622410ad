"""How long an entity has been in its state.

Revision: 0002, follows 0001.
"""

import sqlalchemy as sa
from alembic import op

from pystator.db.column_types import EPOCH, Time
from pystator.db.index_rows import SHORT_STATE_SINCE

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    # The default is for processes of an older release, which share the database for a while.
    op.add_column(
        "entity_states",
        sa.Column("state_since", Time(), server_default=EPOCH, nullable=False),
    )
    # The last change is the best that is known of entities that are there already.
    op.execute("UPDATE entity_states SET state_since = updated_at")
    op.create_index(
        "ix_entity_states_since",
        "entity_states",
        ["machine_name", "state", "state_since", "entity_id"],
        unique=False,
        postgresql_where=sa.text(SHORT_STATE_SINCE),
    )


def downgrade() -> None:
    """To the revision before."""
    op.drop_index("ix_entity_states_since", table_name="entity_states")
    op.drop_column("entity_states", "state_since")

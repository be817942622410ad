"""The tables.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "entity_states",
        sa.Column("entity_id", sa.String(), nullable=False),
        sa.Column("machine_name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=True),
        sa.Column("timers", sa.Text(), nullable=True),
        sa.Column("next_due", sa.BigInteger(), nullable=True),
        sa.Column("machine_version", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("commit_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("entity_id", "machine_name", name=op.f("pk_entity_states")),
    )
    op.create_index(
        "ix_entity_states_due",
        "entity_states",
        ["next_due", "entity_id", "machine_name"],
        unique=False,
        sqlite_where=sa.text("next_due IS NOT NULL"),
        postgresql_where=sa.text("next_due IS NOT NULL"),
    )
    op.create_index(
        "ix_entity_states_state",
        "entity_states",
        ["machine_name", "state", "entity_id"],
        unique=False,
    )
    op.create_table(
        "machines",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_machines")),
    )
    op.create_table(
        "pystator_meta",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pystator_meta")),
    )
    op.create_table(
        "transition_history",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("entity_id", sa.String(), nullable=False),
        sa.Column("machine_name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("now", sa.BigInteger(), nullable=False),
        sa.Column("context_patch", sa.Text(), nullable=True),
        sa.Column("source_state", sa.String(), nullable=True),
        sa.Column("target_state", sa.String(), nullable=True),
        sa.Column("actions", sa.Text(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("event_id", sa.String(), nullable=True),
        sa.Column("request_hash", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=True),
        sa.Column("duration_us", sa.BigInteger(), nullable=True),
        sa.Column("ref", sa.BigInteger(), nullable=True),
        sa.Column("commit_id", sa.String(), nullable=False),
        sa.Column("machine_version", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transition_history")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_transition_history_entity",
        "transition_history",
        ["entity_id", "machine_name", "version"],
        unique=False,
    )
    op.create_index(
        "uq_transition_history_event",
        "transition_history",
        ["entity_id", "machine_name", "event_id"],
        unique=True,
        sqlite_where=sa.text("event_id IS NOT NULL"),
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )
    op.create_table(
        "worker_events",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("entity_id", sa.String(), nullable=False),
        sa.Column("machine_name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.String(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fires_at", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("progress", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("actor", sa.String(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_worker_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_worker_events_due", "worker_events", ["status", "fires_at", "seq"], unique=False
    )
    op.create_index(
        "ix_worker_events_entity",
        "worker_events",
        ["entity_id", "machine_name", "seq"],
        unique=False,
    )
    op.create_index(
        "uq_worker_events_event",
        "worker_events",
        ["entity_id", "machine_name", "event_id"],
        unique=True,
    )


def downgrade() -> None:
    """Back to an empty database."""
    op.drop_index("uq_worker_events_event", table_name="worker_events")
    op.drop_index("ix_worker_events_entity", table_name="worker_events")
    op.drop_index("ix_worker_events_due", table_name="worker_events")
    op.drop_table("worker_events")
    op.drop_index(
        "uq_transition_history_event",
        table_name="transition_history",
        sqlite_where=sa.text("event_id IS NOT NULL"),
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )
    op.drop_index("ix_transition_history_entity", table_name="transition_history")
    op.drop_table("transition_history")
    op.drop_table("pystator_meta")
    op.drop_table("machines")
    op.drop_index("ix_entity_states_state", table_name="entity_states")
    op.drop_index(
        "ix_entity_states_due",
        table_name="entity_states",
        sqlite_where=sa.text("next_due IS NOT NULL"),
        postgresql_where=sa.text("next_due IS NOT NULL"),
    )
    op.drop_table("entity_states")

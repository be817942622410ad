"""The tables.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

from pystator.db.column_types import BIG_ID, NAME, Time
from pystator.db.index_rows import HASH, LONG_EVENT_ID, LONG_STATE, SHORT_EVENT_ID, SHORT_STATE

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "entity_states",
        sa.Column("entity_id", NAME, nullable=False),
        sa.Column("machine_name", NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=True),
        sa.Column("timers", sa.Text(), nullable=True),
        sa.Column("next_due", Time(), nullable=True),
        sa.Column("machine_version", NAME, nullable=False),
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("updated_at", Time(), nullable=False),
        sa.Column("commit_id", NAME, nullable=False),
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
        postgresql_where=sa.text(SHORT_STATE),
    )
    op.create_table(
        "machines",
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", NAME, nullable=False),
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_machines")),
    )
    op.create_table(
        "pystator_meta",
        sa.Column("key", NAME, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pystator_meta")),
    )
    op.create_table(
        "transition_history",
        sa.Column("id", BIG_ID, sa.Identity(), autoincrement=True, nullable=False),
        sa.Column("entity_id", NAME, nullable=False),
        sa.Column("machine_name", NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("trigger", NAME, nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("now", Time(), nullable=False),
        sa.Column("context_patch", sa.Text(), nullable=True),
        sa.Column("source_state", NAME, nullable=True),
        sa.Column("target_state", NAME, nullable=True),
        sa.Column("actions", sa.Text(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("error_code", NAME, nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("event_id", NAME, nullable=True),
        sa.Column("request_hash", NAME, nullable=True),
        sa.Column("actor", NAME, nullable=True),
        sa.Column("occurred_at", Time(), nullable=True),
        sa.Column("duration_us", sa.BigInteger(), nullable=True),
        sa.Column("ref", sa.BigInteger(), nullable=True),
        sa.Column("commit_id", NAME, nullable=False),
        sa.Column("machine_version", NAME, nullable=False),
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("recorded_at", Time(), nullable=False),
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
        postgresql_where=sa.text(SHORT_EVENT_ID),
    )
    op.create_table(
        "worker_events",
        sa.Column("seq", BIG_ID, sa.Identity(), autoincrement=True, nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("entity_id", NAME, nullable=False),
        sa.Column("machine_name", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("trigger", NAME, nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("request_hash", NAME, nullable=True),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fires_at", Time(), nullable=False),
        sa.Column("retry_at", Time(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("progress", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("actor", NAME, nullable=True),
        sa.Column("occurred_at", Time(), nullable=True),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("lease_until", Time(), nullable=True),
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
        postgresql_where=sa.text(SHORT_EVENT_ID),
    )
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRESQL:
            op.execute(statement)


POSTGRESQL = (
    # Room for the next version of a row on its own page: no index is then touched.
    "ALTER TABLE entity_states SET (fillfactor = 80)",
    # Spelled so that a statement can ask for this index and no other.
    (
        "CREATE INDEX ix_entity_states_long ON entity_states ((entity_id || ''), machine_name)"
        f" WHERE {LONG_STATE}"
    ),
    # SQLite has the id in every index.
    "DROP INDEX ix_transition_history_entity",
    (
        "CREATE INDEX ix_transition_history_entity ON transition_history"
        " (entity_id, machine_name, version, id)"
    ),
    # Row ids are given before a commit, and commits end in another order; the oldest transaction
    # that still runs tells what can no longer get company. One that began to write long ago may see
    # what later ones have committed, and its rows come after theirs.
    (
        "ALTER TABLE transition_history ADD COLUMN txid xid8 NOT NULL DEFAULT"
        " greatest(pg_current_xact_id(), pg_snapshot_xmax(pg_current_snapshot()))"
    ),
    "CREATE INDEX ix_transition_history_feed ON transition_history (txid, id)",
    *(
        f"CREATE UNIQUE INDEX {name} ON {table} (entity_id, machine_name,"
        f" {HASH.format('event_id')}) WHERE {LONG_EVENT_ID}"
        for name, table in (
            ("uq_transition_history_long_event", "transition_history"),
            ("uq_worker_events_long_event", "worker_events"),
        )
    ),
)
"""What only PostgreSQL has."""


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
        postgresql_where=sa.text(SHORT_EVENT_ID),
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

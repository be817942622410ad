"""Alembic runs this to migrate over the connection that `pystator.db.commands` opened."""

from alembic import context

from pystator.db.models import Model
from pystator.db.schema import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Model.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite changes a table by copying it
)
context.run_migrations()

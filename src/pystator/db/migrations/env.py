"""Alembic runs this to migrate over the connection that `pystator.db.commands` opened."""

from alembic import context

from pystator.db.schema import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE)
context.run_migrations()

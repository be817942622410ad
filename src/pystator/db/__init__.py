"""The database around the stores: which one it is, its tables, its migrations.

Nothing here is on an event's path. `resolve` and `schema` are light (the standard library only),
`models` needs SQLAlchemy, `commands` Alembic as well, and neither opens anything when it is
imported.
"""

"""Run by Alembic. migrate.py provides the connection, in one transaction for the whole migration."""

from alembic import context

from ioto_tools.cloud.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()

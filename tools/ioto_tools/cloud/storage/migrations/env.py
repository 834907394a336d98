"""Run by Alembic. The connection comes from migrate.py, inside the transaction that makes the whole migration one step."""

from alembic import context
from ioto_tools.cloud.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()

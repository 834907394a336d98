"""Migrates a database to this program's tables, in one transaction, when the database is opened.

A new database gets the tables of tables.py at once; tests/cloud/test_migrations.py checks that all migrations together
create the same tables. Alembic is imported only if a migration is needed, because importing it takes long.
"""

from pathlib import Path

import sqlalchemy as sa

from ..http.errors import CloudError
from .tables import metadata

LATEST = "0020"  # the newest file of migrations/versions; tests/cloud/test_migrations.py compares them


def revision(conn: sa.Connection) -> str | None:
    """The database's revision; None: it has no tables yet."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def up(conn: sa.Connection) -> None:
    """Migrate the database, in the write transaction `conn`, to LATEST. CloudError if it is newer."""
    found = revision(conn)
    if found == LATEST:
        return
    if found is None:
        create(conn)
        return
    if found > LATEST:
        raise CloudError(
            "the database is at revision %s, but this version supports only up to %s: install a newer ioto-tools"
            % (found, LATEST)
        )
    to(conn, LATEST)


def create(conn: sa.Connection) -> None:
    """Create all tables, at revision LATEST, in an empty database."""
    metadata.create_all(conn, checkfirst=False)
    conn.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    conn.execute(sa.text("INSERT INTO alembic_version VALUES (:latest)"), {"latest": LATEST})


def to(conn: sa.Connection, target: str) -> None:
    """Migrate up or down to `target`, a revision or "base" (no tables)."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = conn
    if target == "base" or (revision(conn) or "") > target:
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)

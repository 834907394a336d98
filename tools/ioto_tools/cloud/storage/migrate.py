"""Migrates a database to this program's tables, in one transaction, when it is first opened.

A new database gets the tables of tables.py at once; tests/cloud/test_migrations.py checks that all migrations together
make the same ones. Alembic is imported only if a migration is needed: commands such as listing devices should not wait
for it.
"""

from pathlib import Path

import sqlalchemy as sa

from ..http.errors import CloudError
from .tables import metadata

LATEST = "0011"  # the newest file of migrations/versions; tests/cloud/test_migrations.py compares them


def revision(conn):
    """The database's revision; None: it has no tables yet."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def up(conn):
    """Migrate the database of `conn`, a write transaction, to LATEST. CloudError if it was made by a newer program."""
    found = revision(conn)
    if found == LATEST:
        return
    if found is None:
        return create(conn)
    if found is not None and found > LATEST:
        raise CloudError(
            "the database is at revision %s, this ioto-tools knows %s: install the newer ioto-tools again"
            % (found, LATEST)
        )
    to(conn, LATEST)


def create(conn) -> None:
    """Create all tables, at revision LATEST, in a database without any."""
    metadata.create_all(conn, checkfirst=False)
    conn.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    conn.execute(sa.text("INSERT INTO alembic_version VALUES (:latest)"), {"latest": LATEST})


def to(conn, target) -> None:
    """Migrate up or down to `target`, a revision or "base"."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = conn
    if target == "base" or (revision(conn) or "") > target:
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)

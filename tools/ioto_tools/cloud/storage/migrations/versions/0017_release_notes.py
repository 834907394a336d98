"""Adds what devices are told about a release."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.add_column("releases", sa.Column("kind", sa.String(16), nullable=False, server_default="feature"))
    op.add_column("releases", sa.Column("notes", sa.Text, nullable=False, server_default=""))
    op.add_column("releases", sa.Column("advisory", sa.Text, nullable=False, server_default=""))
    op.add_column("releases", sa.Column("no_defer_after_s", _LONG))


def downgrade():
    for column in ("no_defer_after_s", "advisory", "notes", "kind"):
        op.drop_column("releases", column)

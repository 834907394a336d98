"""Adds the servers that make packed files."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.create_table(
        "packers",
        sa.Column("server", sa.String(16), primary_key=True),
        sa.Column("until_s", _LONG, nullable=False),
    )


def downgrade():
    op.drop_table("packers")

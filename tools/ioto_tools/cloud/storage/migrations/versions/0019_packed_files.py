"""Adds the packed files of releases, and which file a device was offered."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.create_table(
        "packed_files",
        sa.Column("release", sa.String(26), sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("base", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("checksum", sa.String(64)),
        sa.Column("size", _LONG),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("devices", sa.Integer, nullable=False),
        sa.Column("made_s", _LONG),
        sa.Column("lease_s", _LONG),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
    )
    op.add_column("releases", sa.Column("waits_for_packed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("products", sa.Column("packed_bases", sa.Integer, server_default="3"))
    op.add_column("grants", sa.Column("file", sa.String(64)))
    op.add_column("grants", sa.Column("whole", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade():
    op.drop_column("grants", "whole")
    op.drop_column("grants", "file")
    op.drop_column("products", "packed_bases")
    op.drop_column("releases", "waits_for_packed")
    op.drop_table("packed_files")

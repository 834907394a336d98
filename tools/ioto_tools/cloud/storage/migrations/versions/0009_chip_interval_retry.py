"""Adds the chip of an image, the check-in interval of a device, and the number of retries that operators requested."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.add_column("releases", sa.Column("chip", sa.Integer))
    op.add_column("devices", sa.Column("next_s", sa.Integer))
    op.add_column("devices", sa.Column("interval_s", _LONG))
    op.add_column("grants", sa.Column("retry", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_grants_stands", "grants", ["release", "state"])


def downgrade():
    op.drop_index("ix_grants_stands", "grants")
    for table, column in (("grants", "retry"), ("devices", "interval_s"), ("devices", "next_s"), ("releases", "chip")):
        op.drop_column(table, column)

"""Adds samples of the numbers of a product's devices, and indexes of devices whose registrations look suspicious."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

COLUMNS = ("shared_s", "refused_s")


def upgrade():
    op.create_table(
        "fleet_samples",
        sa.Column("product", sa.String(64), sa.ForeignKey("products.id"), primary_key=True),
        sa.Column("at_s", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("counts", sa.Text, nullable=False),
    )
    for column in COLUMNS:
        where = sa.text(column + " IS NOT NULL")
        name = "ix_devices_" + column.removesuffix("_s")
        op.create_index(name, "devices", [column], sqlite_where=where, postgresql_where=where)


def downgrade():
    for column in COLUMNS:
        op.drop_index("ix_devices_" + column.removesuffix("_s"), "devices")
    op.drop_table("fleet_samples")

"""Adds samples of the states of a release's devices, for the chart, and an index of a product's devices by id."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade():
    op.create_table(
        "samples",
        sa.Column("release", sa.String(26), sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("at_s", sa.Integer, primary_key=True),
        sa.Column("counts", sa.Text, nullable=False),
    )
    _compare_device_ids("C")
    op.create_index("ix_devices_product", "devices", ["product", "removed_s", "id"])


def _compare_device_ids(collation):
    # SQLite compares bytes anyway. In the order of another locale, ids with the same prefix may not be adjacent.
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE devices ALTER COLUMN id TYPE VARCHAR(128) COLLATE "%s"' % collation)


def downgrade():
    op.drop_index("ix_devices_product", "devices")
    _compare_device_ids("default")
    op.drop_table("samples")

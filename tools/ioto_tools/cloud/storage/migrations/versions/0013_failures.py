"""Failures of devices, with tracebacks and log lines."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade():
    long = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "failures",
        sa.Column("device", sa.String(128), sa.ForeignKey("devices.key"), primary_key=True),
        sa.Column("event", sa.String(64), primary_key=True),
        sa.Column("release", sa.String(26), sa.ForeignKey("releases.id")),
        sa.Column("version", sa.String(128)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("cause", sa.String(200), nullable=False),
        sa.Column("reset", sa.String(16), nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("at_s", long, nullable=False),
    )
    op.create_index("ix_failures_release", "failures", ["release", "reason", "cause", "device", "at_s"])
    op.create_index("ix_failures_at", "failures", ["at_s"])


def downgrade():
    op.drop_table("failures")

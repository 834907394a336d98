"""Adds rollouts: the terms of a release, grants, leases, the audit log, the change log, groups, pins and claims."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _added():
    """[(table, its new columns)]. Existing releases stay active, and existing devices are claimed."""
    releases = (
        sa.Column("policy", sa.Text, nullable=False, server_default="device.version < update.version"),
        sa.Column("limit", sa.Integer),
        sa.Column("percentage", sa.Float, nullable=False, server_default="100"),
        sa.Column("rate", sa.Integer),
        sa.Column("period_s", sa.Integer),
        sa.Column("start_s", sa.Integer),
        sa.Column("end_s", sa.Integer),
        sa.Column("stop_percent", sa.Float),
        sa.Column("stop_after", sa.Integer),
        sa.Column("manifest", sa.Text),
        sa.Column("state", sa.String(16), nullable=False, server_default="active"),
        sa.Column("taken", sa.Integer, nullable=False, server_default="0"),
        sa.Column("counts", sa.Text, nullable=False, server_default="{}"),
    )
    devices = (
        sa.Column("claimed", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("pin", sa.String(128)),
    )
    products = (sa.Column("by_hand", sa.Boolean, nullable=False, server_default=sa.false()),)
    return ("releases", releases), ("devices", devices), ("products", products)


def upgrade():
    for table, columns in _added():
        for column in columns:
            op.add_column(table, column)
    op.drop_index("ix_reports_release", "reports")
    op.create_index("ix_reports_received", "reports", ["received_s"])
    _grants()
    op.create_table(
        "audit",
        sa.Column("id", _SEQUENCE, primary_key=True),
        sa.Column("at_s", sa.Integer, nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "changes",
        sa.Column("seq", _SEQUENCE, primary_key=True),
        sa.Column("device", sa.String(128)),
        sa.Column("at_s", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "groups",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("policy", sa.Text, nullable=False),
    )


def _grants():
    op.create_table(
        "grants",
        sa.Column("device", sa.String(128), sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("release", sa.String(26), sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ended", sa.String(16)),
        sa.Column("granted_s", sa.Integer, nullable=False),
        sa.Column("offered_s", sa.Integer, nullable=False),
        sa.Column("changed_s", sa.Integer, nullable=False),
    )
    op.create_index("ix_grants_release", "grants", ["release", "granted_s"])
    op.create_index("ix_grants_state", "grants", ["state", "changed_s"])
    op.create_table(
        "leases",
        sa.Column("release", sa.String(26), sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("worker", sa.String(32), primary_key=True),
        sa.Column("places", sa.Integer, nullable=False),
        sa.Column("until_s", sa.Integer, nullable=False),
    )


def downgrade():
    for table in ("groups", "changes", "audit", "leases", "grants"):
        op.drop_table(table)
    op.drop_index("ix_reports_received", "reports")
    op.create_index("ix_reports_release", "reports", ["release"])
    for table, columns in _added():
        for column in columns:
            op.drop_column(table, column.name)

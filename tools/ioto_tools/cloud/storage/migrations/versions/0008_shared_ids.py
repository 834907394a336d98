"""Adds the history of a device's registrations, the signs that several devices share an id, and replaced tokens."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _added():
    """{table: its new columns}."""
    devices = (
        sa.Column("first_s", _LONG, nullable=False, server_default="0"),
        sa.Column("vouched", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("awaited", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("address", sa.String(64), nullable=False, server_default=""),
        sa.Column("keeps", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("reported_s", _LONG),
        sa.Column("refused", sa.Integer, nullable=False, server_default="0"),
        sa.Column("refused_s", _LONG),
        sa.Column("refused_from", sa.String(64), nullable=False, server_default=""),
        sa.Column("booted_s", _LONG),
        sa.Column("mixed", sa.Integer, nullable=False, server_default="0"),
        sa.Column("mixed_s", _LONG),
        sa.Column("shared_s", _LONG),
    )
    tokens = (
        sa.Column("origin", sa.String(16), nullable=False, server_default="registered"),
        sa.Column("asked", sa.String(64), nullable=False, server_default=""),
        sa.Column("ended_s", _LONG),
        sa.Column("late_s", _LONG),
    )
    releases = (sa.Column("age_s", sa.Integer, nullable=False, server_default="0"),)
    grants = (sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.true()),)
    return {"devices": devices, "tokens": tokens, "releases": releases, "grants": grants}


def upgrade():
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.execute("UPDATE devices SET first_s = registered_s")
    op.create_index("ix_devices_first", "devices", ["product", "first_s"])
    _forget_addresses()


def _forget_addresses():
    """Remove the secret URLs of webhooks from the audit log, because every operator may read the log."""
    conn = op.get_bind()
    audit = sa.table("audit", sa.column("id"), sa.column("action"), sa.column("detail"))
    for row in conn.execute(sa.select(audit).where(audit.c.action.in_(("webhook.new", "webhook.removed")))).all():
        try:
            detail = json.loads(row.detail)
        except ValueError:
            continue
        if isinstance(detail, dict) and detail.pop("url", None) is not None:
            conn.execute(audit.update().where(audit.c.id == row.id).values(detail=json.dumps(detail)))


def downgrade():
    op.drop_index("ix_devices_first", "devices")
    op.execute("DELETE FROM tokens WHERE ended_s IS NOT NULL")  # the older program would accept these tokens
    for table, columns in _added().items():
        for column in columns:
            op.drop_column(table, column.name)

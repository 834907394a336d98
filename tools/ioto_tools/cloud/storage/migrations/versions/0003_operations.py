"""Adds the keys of image links, operators' tokens, webhooks, and the replacement of a device's token."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    for name in ("replaces", "rotate"):
        op.add_column("tokens", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "link_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("created_s", sa.Integer, nullable=False),
    )
    op.create_table(
        "operators",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("created_s", sa.Integer, nullable=False),
        sa.Column("expires_s", sa.Integer),
    )
    _webhooks()


def _webhooks():
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("wanted", sa.Text, nullable=False),
        sa.Column("created_s", sa.Integer, nullable=False),
        sa.Column("delivered_s", sa.Integer),
        sa.Column("error", sa.String(256), nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("webhook", sa.String(16), sa.ForeignKey("webhooks.id"), primary_key=True),
        sa.Column("event", _SEQUENCE, sa.ForeignKey("audit.id"), primary_key=True),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_s", sa.Integer, nullable=False),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["due_s"])


def downgrade():
    for table in ("deliveries", "webhooks", "operators", "link_keys"):
        op.drop_table(table)
    with op.batch_alter_table("tokens") as table:
        table.drop_column("rotate")
        table.drop_column("replaces")

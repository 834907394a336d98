"""Creates the tables for products, releases, devices, their tokens, and reports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "products",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("created_s", sa.Integer, nullable=False),
    )
    _releases()
    _devices()
    op.create_table(
        "reports",
        sa.Column("device", sa.String(128), sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("release", sa.String(26), sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("state", sa.String(16), primary_key=True),
        sa.Column("success", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("version", sa.String(128)),
        sa.Column("received_s", sa.Integer, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
    )
    op.create_index("ix_reports_release", "reports", ["release"])


def _releases():
    op.create_table(
        "releases",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("product", sa.String(64), sa.ForeignKey("products.id"), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("precedence", sa.String(128), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("created_s", sa.Integer, nullable=False),
        sa.UniqueConstraint("product", "precedence", name="uq_releases_precedence"),
    )


def _devices():
    op.create_table(
        "devices",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("product", sa.String(64), sa.ForeignKey("products.id"), nullable=False),
        sa.Column("version", sa.String(128)),
        sa.Column("properties", sa.Text, nullable=False),
        sa.Column("registered_s", sa.Integer, nullable=False),
        sa.Column("registrations", sa.Integer, nullable=False),
        sa.Column("seen_s", sa.Integer),
        sa.Column("checkins", sa.Integer, nullable=False),
        sa.Column("unknown_reports", sa.Integer, nullable=False),
        sa.Column("removed_s", sa.Integer),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("device", sa.String(128), sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("created_s", sa.Integer, nullable=False),
        sa.Column("used_s", sa.Integer),
    )
    op.create_index("ix_tokens_device", "tokens", ["device"])


def downgrade():
    for table in ("reports", "tokens", "devices", "releases", "products"):
        op.drop_table(table)

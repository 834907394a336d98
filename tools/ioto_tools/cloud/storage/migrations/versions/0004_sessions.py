"""Adds the sessions of operators who are signed in to the web page."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade():
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("operator", sa.String(64), sa.ForeignKey("operators.hash", ondelete="CASCADE"), nullable=False),
        sa.Column("expires_s", sa.Integer, nullable=False),
    )


def downgrade():
    op.drop_table("sessions")

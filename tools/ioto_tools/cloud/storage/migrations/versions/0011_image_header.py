"""Adds the first bytes of an image, which contain the supported chip revisions."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade():
    op.add_column("releases", sa.Column("head", sa.String(48)))


def downgrade():
    op.drop_column("releases", "head")

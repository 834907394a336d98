"""The header of an image: for what revisions of the chip it is."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade():
    op.add_column("releases", sa.Column("head", sa.String(48)))


def downgrade():
    op.drop_column("releases", "head")

"""The header of an image, with the chip revisions that it is for."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade():
    op.add_column("releases", sa.Column("head", sa.String(48)))


def downgrade():
    op.drop_column("releases", "head")

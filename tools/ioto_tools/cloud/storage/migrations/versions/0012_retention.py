"""Adds archived releases, the number of images that a product keeps, and image deletions."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.add_column("releases", sa.Column("archived_s", _LONG))
    op.add_column("products", sa.Column("keep_images", sa.Integer))
    op.create_table(
        "image_deletions",
        sa.Column("checksum", sa.String(64), primary_key=True),
        sa.Column("until_s", _LONG, nullable=False),
    )


def downgrade():
    op.drop_table("image_deletions")
    op.drop_column("products", "keep_images")
    op.drop_column("releases", "archived_s")

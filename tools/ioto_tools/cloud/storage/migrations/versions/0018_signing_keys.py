"""Adds the public keys that may have signed releases of a product."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.create_table(
        "signing_keys",
        sa.Column("product", sa.String(64), sa.ForeignKey("products.id"), primary_key=True),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("public", sa.Text, nullable=False),
        sa.Column("added_s", _LONG, nullable=False),
    )


def downgrade():
    op.drop_table("signing_keys")

"""Adds the stages of a rollout."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.add_column("releases", sa.Column("stages", sa.Text))
    op.add_column("releases", sa.Column("gate", sa.Text))
    op.add_column("releases", sa.Column("stage", sa.Integer))
    op.add_column("releases", sa.Column("stage_s", _LONG))
    op.add_column("releases", sa.Column("stage_finished", sa.Integer))
    op.add_column("releases", sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade():
    for column in ("held", "stage_finished", "stage_s", "stage", "gate", "stages"):
        op.drop_column("releases", column)

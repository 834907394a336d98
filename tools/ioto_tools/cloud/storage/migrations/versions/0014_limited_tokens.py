"""Adds the products to which an operator's token is limited."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade():
    op.add_column("operators", sa.Column("products", sa.Text))


def downgrade():
    """Revoke the limited tokens: an older program would not know the limit."""
    op.execute("DELETE FROM sessions WHERE operator IN (SELECT hash FROM operators WHERE products IS NOT NULL)")
    op.execute("DELETE FROM operators WHERE products IS NOT NULL")
    op.drop_column("operators", "products")

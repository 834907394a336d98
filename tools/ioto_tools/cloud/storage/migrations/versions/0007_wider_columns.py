"""Widens columns on PostgreSQL: for times after 2038, images over 2 GiB, and longer names in the audit log.

SQLite does not limit these values.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

_LONG = {
    "products": ("created_s",),
    "releases": ("size", "created_s", "start_s", "end_s"),
    "devices": ("registered_s", "seen_s", "removed_s"),
    "tokens": ("created_s", "used_s"),
    "reports": ("received_s",),
    "grants": ("granted_s", "offered_s", "changed_s"),
    "leases": ("until_s",),
    "audit": ("at_s",),
    "changes": ("at_s",),
    "link_keys": ("created_s",),
    "operators": ("created_s", "expires_s"),
    "sessions": ("expires_s",),
    "samples": ("at_s",),
    "webhooks": ("created_s", "delivered_s"),
    "deliveries": ("due_s",),
}


def _make(kind, who):
    if op.get_bind().dialect.name != "postgresql":
        return
    for (
        table,
        columns,
    ) in _LONG.items():  # one statement for each table, so that PostgreSQL rewrites the table only once
        op.execute(
            "ALTER TABLE %s %s" % (table, ", ".join("ALTER COLUMN %s TYPE %s" % (column, kind) for column in columns))
        )
    op.execute("ALTER TABLE audit ALTER COLUMN who TYPE %s" % who)


def upgrade():
    _make("BIGINT", "VARCHAR(128)")


def downgrade():
    _make("INTEGER", "VARCHAR(64) USING left(who, 64)")  # the older program supports only 64 characters

"""Allows the same id in several products: other tables refer to a device by a separate key.

Only the table `devices` is rewritten; the keys of existing devices are their ids.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_REFERRING = ("tokens", "reports", "grants")


def _on_postgresql():
    return op.get_bind().dialect.name == "postgresql"


def upgrade():
    op.execute('ALTER TABLE devices RENAME COLUMN id TO "key"')  # references in other tables are renamed, too
    op.drop_index("ix_devices_product", "devices")  # otherwise, each row would be written to this index again
    if _on_postgresql():
        op.execute('ALTER TABLE devices ADD COLUMN id VARCHAR(128) COLLATE "C"')
        op.execute(
            'ALTER TABLE devices ALTER COLUMN id TYPE VARCHAR(128) COLLATE "C" USING "key"'
        )  # rewrites the table once, and leaves no dead rows
        op.execute("ALTER TABLE devices ALTER COLUMN id SET NOT NULL")
    else:
        op.execute("ALTER TABLE devices ADD COLUMN id VARCHAR(128) NOT NULL DEFAULT ''")
        op.execute('UPDATE devices SET id = "key"')
    op.create_index("ix_devices_product", "devices", ["product", "removed_s", "id"])
    op.create_index("ix_devices_id", "devices", ["id", "product"], unique=True)


def downgrade():
    """Make the ids the keys again. ValueError if two products have devices with the same id."""
    twice = sa.text("SELECT id FROM devices GROUP BY id HAVING count(*) > 1 LIMIT 5")
    if found := list(op.get_bind().execute(twice).scalars()):
        raise ValueError("several products have devices with the ids %s: remove all but one of each" % ", ".join(found))
    _name_by_id()
    op.drop_index("ix_devices_id", "devices")
    op.drop_index("ix_devices_product", "devices")
    op.execute("ALTER TABLE devices DROP COLUMN id")
    op.execute('ALTER TABLE devices RENAME COLUMN "key" TO id')
    op.create_index("ix_devices_product", "devices", ["product", "removed_s", "id"])


def _name_by_id():
    if not _on_postgresql():
        op.execute("PRAGMA defer_foreign_keys=ON")
    for table in _REFERRING if _on_postgresql() else ():
        op.drop_constraint(table + "_device_fkey", table, type_="foreignkey")
    for table in (*_REFERRING, "changes"):
        id = '(SELECT id FROM devices WHERE "key" = %s.device)' % table
        op.execute("UPDATE %s SET device = %s WHERE device <> %s" % (table, id, id))
    op.execute('UPDATE devices SET "key" = id WHERE "key" <> id')
    for table in _REFERRING if _on_postgresql() else ():
        op.create_foreign_key(table + "_device_fkey", table, "devices", ["device"], ["key"])

"""The change log through which workers learn that cached data has changed in the database: numbered rows.

A change is recorded in the transaction that makes it. Write transactions run one after the other, so numbers become
visible in ascending order, and a worker only needs to read the rows after the last number that it has seen.
"""

import sqlalchemy as sa

from .tables import changes

KEPT_S = 3600  # older rows are deleted; a worker that has not read them for so long clears its cache


def note(conn, now_s, device=None) -> None:
    """Record a change of the device (its key), or without one of the products and releases."""
    conn.execute(changes.insert().values(device=device, at_s=now_s))


def last(conn):
    """The number of the newest change; 0 if there is none."""
    return conn.execute(sa.select(sa.func.max(changes.c.seq))).scalar() or 0


def since(conn, seq):
    """[(seq, key of a device or None)] after `seq`, in order."""
    found = sa.select(changes.c.seq, changes.c.device).where(changes.c.seq > seq)
    return [tuple(row) for row in conn.execute(found.order_by(changes.c.seq))]


def of_releases(conn, seq) -> bool:
    """Have the products and releases changed after `seq`?"""
    found = sa.select(changes.c.seq).where(changes.c.seq > seq, changes.c.device.is_(None))
    return conn.execute(found.limit(1)).first() is not None


def forget(conn, now_s) -> None:
    """Delete the rows older than KEPT_S, but keep the newest row for last()."""
    conn.execute(changes.delete().where(changes.c.at_s < now_s - KEPT_S, changes.c.seq < last(conn)))

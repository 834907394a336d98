"""How workers hear of what they hold in memory and another process has changed: numbered rows that each of them follows.

A change is noted in the transaction that makes it. Transactions that write come one after the other, so the numbers are in
the order in which a follower can see them, and it has to look at nothing but what is above the last one that it saw.
"""

import sqlalchemy as sa

from .tables import changes

KEPT_S = 3600  # older rows go; a worker that has not looked for so long forgets everything


def note(conn, now_s, device=None):
    """The device (its key) is not what it was, or without one: the products and releases are not."""
    conn.execute(changes.insert().values(device=device, at_s=now_s))


def last(conn):
    """The number of the newest change; 0 if there is none."""
    return conn.execute(sa.select(sa.func.max(changes.c.seq))).scalar() or 0


def since(conn, seq):
    """[(seq, key of a device or None)] above `seq`, in order."""
    found = sa.select(changes.c.seq, changes.c.device).where(changes.c.seq > seq)
    return [tuple(row) for row in conn.execute(found.order_by(changes.c.seq))]


def of_releases(conn, seq):
    """Have the products and releases changed after `seq`?"""
    found = sa.select(changes.c.seq).where(changes.c.seq > seq, changes.c.device.is_(None))
    return conn.execute(found.limit(1)).first() is not None


def forget(conn, now_s):
    """Rows that every worker has seen go; the newest stays, for last()."""
    conn.execute(changes.delete().where(changes.c.at_s < now_s - KEPT_S, changes.c.seq < last(conn)))

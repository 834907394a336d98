"""The change log: numbered rows that tell workers which of their cached data is outdated.

A change is recorded in the transaction that makes it. Write transactions run one after the other, so numbers become
visible in ascending order, and a worker only needs to read the rows after the last number that it has seen.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from .tables import changes

KEPT_S = 3600  # older rows are deleted; a worker that has not read the log for half this time clears its cache
_NOTE = changes.insert()


def note(conn: sa.Connection, now_s: int, device: str | None = None) -> None:
    """Record a change of the device (its key); None: of the products and releases."""
    conn.execute(changes.insert().values(device=device, at_s=now_s))


def note_devices(conn: sa.Connection, now_s: int, keys: Iterable[str]) -> None:
    """Record a change of each of the devices `keys`."""
    conn.execute(_NOTE, [{"device": key, "at_s": now_s} for key in keys])


def last(conn: sa.Connection) -> int:
    """The number of the newest change; 0 if there is none."""
    return conn.execute(sa.select(sa.func.max(changes.c.seq))).scalar() or 0


def since(conn: sa.Connection, seq: int) -> list[tuple[int, str | None]]:
    """The changes after the number `seq`, in order: [(number, key of the device or None)]."""
    found = sa.select(changes.c.seq, changes.c.device).where(changes.c.seq > seq)
    return [tuple(row) for row in conn.execute(found.order_by(changes.c.seq))]


def of_releases(conn: sa.Connection, seq: int) -> bool:
    """Have products or releases changed after the number `seq`?"""
    found = sa.select(changes.c.seq).where(changes.c.seq > seq, changes.c.device.is_(None))
    return conn.execute(found.limit(1)).first() is not None


def forget(conn: sa.Connection, now_s: int) -> None:
    """Delete the rows older than KEPT_S, except the newest one, which last() needs."""
    conn.execute(changes.delete().where(changes.c.at_s < now_s - KEPT_S, changes.c.seq < last(conn)))

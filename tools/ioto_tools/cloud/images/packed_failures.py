"""Counts the devices on which a packed file has failed, and withdraws a file that fails on many of them.

Each of these devices has fetched the packed file in vain, and fetches the whole image as well.
"""

import logging

import sqlalchemy as sa

from ..storage import change_log
from ..storage.tables import grants, packed_files

LEAST = 20  # devices on which a file has failed, before it is withdrawn
MANY = 10  # it is kept while at least this many times as many devices have used it
_USED = ("staged", "deferred", "applied", "confirmed")
_log = logging.getLogger("ioto.cloud")


def record(conn: sa.Connection, release: str, base: str, reason: str, now_s: int) -> None:
    """The release's packed file for `base` has failed on a further device, for `reason`."""
    this = packed_files.c.release == release, packed_files.c.base == base
    conn.execute(packed_files.update().where(*this).values(failures=packed_files.c.failures + 1))
    made = sa.select(packed_files.c.failures).where(*this, packed_files.c.state == "made")
    failures = conn.execute(made).scalar() or 0
    if failures < LEAST or _count_used(conn, release, base, MANY * failures) >= MANY * failures:
        return
    text = "it has failed on %d devices, the last time with: %s" % (failures, reason)
    conn.execute(packed_files.update().where(*this).values(state="failed", reason=text))
    change_log.note(conn, now_s)
    _log.error("packed file of update %s for base %r: withdrawn: %s", release, base[:12], text)


def _count_used(conn: sa.Connection, release: str, base: str, most: int) -> int:
    """The number of devices that have unpacked the file, counted up to `most`."""
    used = sa.select(grants.c.device).where(
        grants.c.release == release, grants.c.file == base, grants.c.state.in_(_USED)
    )
    return conn.execute(sa.select(sa.func.count()).select_from(used.limit(most).subquery())).scalar_one()

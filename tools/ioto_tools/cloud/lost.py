"""Devices that were offered an update and have neither checked in nor reported since: after a day they are lost.

Any worker looks for them, and nobody but workers: while nobody serves, no device can be heard. Twice does no harm, since each is
looked at again in the transaction that marks it. Time in which nobody looked, so nobody served or the database was away, does not
count: a fleet is not lost because its cloud was.
"""

import asyncio

import sqlalchemy as sa

from . import counters, grants
from .refusal import Unavailable
from .rollout import OPEN
from .tables import devices
from .tables import grants as grant_rows

AFTER_S = 24 * 3600
EVERY_S = 600
AT_ONCE = 500  # in one transaction: devices wait for it
# In `counters`: when somebody looked last; when somebody did so again after nobody had, and for how long nobody had.
_LOOKED, _BACK, _AWAY = "lost looked_s", "lost back_s", "lost away_s"


async def run(site, ask):
    """For ever. `ask(function, *arguments)` waits for the site's database."""
    while True:
        try:
            while await ask(sweep, site):
                await asyncio.sleep(0)
        except (OSError, Unavailable):  # they are lost ten minutes later, then
            pass
        await asyncio.sleep(EVERY_S)


def sweep(site):
    """Mark AT_ONCE lost devices at most; how many it were."""
    now_s = site.now_s()
    since_s = site.database.write(_since, now_s, site.lost_after_s)
    found = site.database.read(silent, since_s)
    return site.database.write(_mark, found, now_s, since_s) if found else 0


def _since(conn, now_s, after_s):
    """Who was not heard of after this moment is lost. It is written down that somebody looked."""
    looked_s, back_s, away_s = (counters.one(conn, name) for name in (_LOOKED, _BACK, _AWAY))
    since_s = now_s - after_s
    if looked_s and now_s - looked_s > 2 * EVERY_S:
        away_s = now_s - looked_s + (away_s if looked_s - back_s < after_s else 0)
        back_s = now_s
    for name, value in ((_LOOKED, now_s), (_BACK, back_s), (_AWAY, away_s)):
        counters.put(conn, name, value)
    return since_s - away_s if since_s < back_s else since_s


def silent(conn, since_s, device=None):
    """[(device, release)] of offers that stand, and whose device was not heard of after `since_s`; with `device`: of that one."""
    heard = sa.func.coalesce(devices.c.seen_s, 0)
    # A device that an operator has removed or released is silent because it was told to be.
    there = sa.and_(devices.c.id == grant_rows.c.device, devices.c.removed_s.is_(None), devices.c.claimed, heard <= since_s)
    found = sa.select(grant_rows.c.device, grant_rows.c.release).join(devices, there)
    found = found.where(grant_rows.c.state.in_(sorted(OPEN)), grant_rows.c.changed_s <= since_s)
    if device is not None:
        found = found.where(grant_rows.c.device == device)
    return [tuple(row) for row in conn.execute(found.limit(AT_ONCE))]


def _mark(conn, found, now_s, since_s):
    marked = 0
    for device, release in found:
        if (device, release) in silent(conn, since_s, device):
            grants.happened(conn, device, release, "silent", now_s)
            marked += 1
    return marked

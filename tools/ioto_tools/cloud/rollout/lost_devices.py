"""Devices that were offered an update and are silent for longer than they should be: they are lost.

A device is expected back by its own rhythm: within the seconds that it said at its last check-in (`next`), else within the time that
lay between its last check-ins, as far as that is known. It may miss one check-in: it is lost after TIMES as long without a check-in
or a report, and never sooner than `lost_after_s` of the site. So a device that waits for a window is not taken for lost.

Any worker looks for them, and nobody but workers: while nobody serves, no device can be heard. Twice does no harm, since each is
looked at again in the transaction that marks it. Time in which nobody looked, so nobody served or the database was away, does not
count: a fleet is not lost because its cloud was.
"""

import asyncio

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..rules.update_states import OPEN
from ..storage import counters
from ..storage.queries import INTERVAL_S
from ..storage.tables import devices
from ..storage.tables import grants as grant_rows
from . import grants

AFTER_S = 24 * 3600
TIMES = 2
EVERY_S = 600
AT_ONCE = 500  # in one transaction: devices wait for it
# In `counters`: when somebody looked last; with the moment at which somebody did so again behind it, for how long nobody had.
_LOOKED, _AWAY = "lost looked_s", "lost away_s "
_GAPS = 50  # that are remembered, the latest ones


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
    now_s, after_s = site.now_s(), site.lost_after_s
    gaps = site.database.write(_look, now_s)
    found = site.database.read(silent, now_s, after_s, gaps)
    return site.database.write(_mark, found, now_s, after_s, gaps) if found else 0


def _look(conn, now_s):
    """It is written down that somebody looked; {moment at which somebody looked again: for how long nobody had}."""
    looked_s = counters.one(conn, _LOOKED)
    counters.put(conn, _LOOKED, now_s)
    if looked_s and now_s - looked_s > 2 * EVERY_S:
        counters.put(conn, _AWAY + str(now_s), now_s - looked_s)
    gaps = {int(name[len(_AWAY) :]): value for name, value in counters.begin_with(conn, _AWAY).items()}
    kept = sorted(back_s for back_s in gaps if back_s <= now_s)[-_GAPS:]  # one to come is by a clock that was wrong
    for back_s in gaps.keys() - set(kept):
        counters.remove(conn, _AWAY + str(back_s))
    return {back_s: gaps[back_s] for back_s in kept}


def silent(conn, now_s, after_s, gaps, device=None):
    """[(device, release)] of offers that are valid, and whose device is silent; with `device`: of that one."""
    rhythm_s = sa.func.coalesce(devices.c.next_s, devices.c.interval_s, INTERVAL_S)
    more_s = sa.case((TIMES * rhythm_s > after_s, TIMES * rhythm_s - after_s), else_=0)

    def before(heard_s):
        away = [
            sa.case((heard_s >= back_s, 0), (heard_s > back_s - away_s, back_s - heard_s), else_=away_s) for back_s, away_s in gaps.items()
        ]
        return sum(away, heard_s + more_s) <= now_s - after_s

    # A device that an operator has removed or released is silent because it was told to be.
    there = sa.and_(devices.c.key == grant_rows.c.device, devices.c.removed_s.is_(None), devices.c.claimed)
    found = sa.select(grant_rows.c.device, grant_rows.c.release).join(devices, there)
    found = found.where(grant_rows.c.state.in_(sorted(OPEN)), grant_rows.c.changed_s <= now_s - after_s)  # what the index knows
    found = found.where(before(sa.func.coalesce(devices.c.seen_s, 0)), before(grant_rows.c.changed_s))
    if device is not None:
        found = found.where(grant_rows.c.device == device)
    return [tuple(row) for row in conn.execute(found.limit(AT_ONCE))]


def _mark(conn, found, now_s, after_s, gaps):
    marked = 0
    for device, release in found:
        if (device, release) in silent(conn, now_s, after_s, gaps, device):
            grants.happened(conn, device, release, "silent", now_s)
            marked += 1
    return marked

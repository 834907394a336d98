"""Marks devices as lost if they were offered an update and are silent for too long.

The expected interval is the device's own: the seconds that it sent at its last check-in (`next`), else the time between
its last check-ins, as far as known. A device may miss one check-in: it is lost after TIMES this interval without a
check-in or report, and never before the site's `lost_after_s`. So a device that waits for its apply window is not
marked as lost.

Only workers look for lost devices: while none is running, no device can check in. Two workers may look at the same
time, because each device is checked again in the transaction that marks it. Times without a look (no worker was
running, or the database was unavailable) do not count: an outage of the cloud must not make its fleet lost.
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
AT_ONCE = 500  # in one transaction, because devices wait for it
# Names in `counters`: the time of the last look; the length of each gap, whose end is appended to the name.
_LOOKED, _AWAY = "lost looked_s", "lost away_s "
_GAPS = 50  # the latest gaps are kept


async def run(site, ask) -> None:
    """Run forever. `ask(function, *arguments)` waits for the site's database."""
    while True:
        try:
            while await ask(sweep, site):
                await asyncio.sleep(0)
        except (OSError, Unavailable):  # they are marked ten minutes later
            pass
        await asyncio.sleep(EVERY_S)


def sweep(site):
    """Mark at most AT_ONCE lost devices; return how many."""
    now_s, after_s = site.now_s(), site.lost_after_s
    gaps = site.database.write(_look, now_s)
    found = site.database.read(silent, now_s, after_s, gaps)
    return site.database.write(_mark, found, now_s, after_s, gaps) if found else 0


def _look(conn, now_s):
    """Record this look; return the gaps: {time of the first look after a gap: length of the gap in seconds}."""
    looked_s = counters.one(conn, _LOOKED)
    counters.put(conn, _LOOKED, now_s)
    if looked_s and now_s - looked_s > 2 * EVERY_S:
        counters.put(conn, _AWAY + str(now_s), now_s - looked_s)
    gaps = {int(name[len(_AWAY) :]): value for name, value in counters.begin_with(conn, _AWAY).items()}
    kept = sorted(back_s for back_s in gaps if back_s <= now_s)[-_GAPS:]  # one in the future: the clock was wrong
    for back_s in gaps.keys() - set(kept):
        counters.remove(conn, _AWAY + str(back_s))
    return {back_s: gaps[back_s] for back_s in kept}


def silent(conn, now_s, after_s, gaps, device=None):
    """[(device, release)] of open offers whose device is silent; only those of `device` if it is given."""
    rhythm_s = sa.func.coalesce(devices.c.next_s, devices.c.interval_s, INTERVAL_S)
    more_s = sa.case((TIMES * rhythm_s > after_s, TIMES * rhythm_s - after_s), else_=0)

    def before(heard_s):
        away = [
            sa.case((heard_s >= back_s, 0), (heard_s > back_s - away_s, back_s - heard_s), else_=away_s)
            for back_s, away_s in gaps.items()
        ]
        return sum(away, heard_s + more_s) <= now_s - after_s

    # Devices that an operator has removed or released are left out: their requests are refused.
    there = sa.and_(devices.c.key == grant_rows.c.device, devices.c.removed_s.is_(None), devices.c.claimed)
    found = sa.select(grant_rows.c.device, grant_rows.c.release).join(devices, there)
    found = found.where(
        grant_rows.c.state.in_(sorted(OPEN)), grant_rows.c.changed_s <= now_s - after_s
    )  # these columns are indexed
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

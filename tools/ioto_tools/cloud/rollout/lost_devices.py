"""Marks devices as lost if they were offered an update and are silent for too long.

Each device has its own expected interval: the seconds that it sent at its last check-in (`next`), else the time between
its last check-ins, if known. A device may miss one check-in: it is lost after TIMES this interval without a check-in or
report, and never before the site's `lost_after_s`. So a device that waits for its apply window is not marked as lost.

Only workers search for lost devices: while no worker is running, no device can check in. Two workers may search at the
same time, because each device is checked again in the transaction that marks it. Gaps between searches (no worker was
running, or the database was unavailable) do not count: after an outage of the cloud, its fleet must not count as lost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..rules.update_states import OPEN
from ..storage import counters
from ..storage.queries import INTERVAL_S
from ..storage.tables import devices
from ..storage.tables import grants as grant_rows
from . import grants

if TYPE_CHECKING:
    from ..site.site import Site

Gaps = dict[int, int]  # times without a search: {time of the first search after a gap: length of the gap in seconds}

AFTER_S = 24 * 3600
TIMES = 2
EVERY_S = 600
AT_ONCE = 500  # maximum number of devices marked in one transaction, because devices wait for it
# Names in `counters`: the time of the last search; the length of a gap, with the time of its end as suffix.
_LOOKED, _GAP = "lost looked_s", "lost away_s "
_GAPS = 50  # number of gaps that are kept


async def run(site: "Site", ask: Callable[..., Awaitable[Any]]) -> None:
    """Run forever. `ask(function, *arguments)` waits for the site's database."""
    while True:
        try:
            while await ask(mark_silent, site):
                await asyncio.sleep(0)
        except (OSError, Unavailable):  # the next search marks the devices
            pass
        await asyncio.sleep(EVERY_S)


def mark_silent(site: "Site") -> int:
    """Mark at most AT_ONCE lost devices; return their number."""
    now_s, after_s = site.now_s(), site.lost_after_s
    gaps = site.database.write(_record_look, now_s)
    found = site.database.read(silent, now_s, after_s, gaps)
    return site.database.write(_mark_lost, found, now_s, after_s, gaps) if found else 0


def _record_look(conn: sa.Connection, now_s: int) -> Gaps:
    """Record that a worker searches for lost devices now; return the gaps between searches."""
    looked_s = counters.one(conn, _LOOKED)
    counters.put(conn, _LOOKED, now_s)
    if looked_s and now_s - looked_s > 2 * EVERY_S:
        counters.put(conn, _GAP + str(now_s), now_s - looked_s)
    gaps = {int(name[len(_GAP) :]): value for name, value in counters.begin_with(conn, _GAP).items()}
    # A gap that ends in the future was recorded by a wrong clock.
    kept = sorted(end_s for end_s in gaps if end_s <= now_s)[-_GAPS:]
    for end_s in gaps.keys() - set(kept):
        counters.remove(conn, _GAP + str(end_s))
    return {end_s: gaps[end_s] for end_s in kept}


def silent(
    conn: sa.Connection, now_s: int, after_s: int, gaps: Gaps, device: str | None = None
) -> list[tuple[str, str]]:
    """The open offers to silent devices; with `device`, only to this one: [(device, release)]."""
    interval_s = sa.func.coalesce(devices.c.next_s, devices.c.interval_s, INTERVAL_S)
    more_s = sa.case((TIMES * interval_s > after_s, TIMES * interval_s - after_s), else_=0)

    def too_long_ago(heard_s: Any) -> Any:
        missed = [
            sa.case((heard_s >= end_s, 0), (heard_s > end_s - gap_s, end_s - heard_s), else_=gap_s)
            for end_s, gap_s in gaps.items()
        ]
        return sum(missed, heard_s + more_s) <= now_s - after_s

    # Removed and unclaimed devices are left out, because their requests are refused.
    there = sa.and_(devices.c.key == grant_rows.c.device, devices.c.removed_s.is_(None), devices.c.claimed)
    found = sa.select(grant_rows.c.device, grant_rows.c.release).join(devices, there)
    # These columns are indexed.
    found = found.where(grant_rows.c.state.in_(sorted(OPEN)), grant_rows.c.changed_s <= now_s - after_s)
    found = found.where(too_long_ago(sa.func.coalesce(devices.c.seen_s, 0)), too_long_ago(grant_rows.c.changed_s))
    if device is not None:
        found = found.where(grant_rows.c.device == device)
    return [tuple(row) for row in conn.execute(found.limit(AT_ONCE))]


def _mark_lost(conn: sa.Connection, found: list[tuple[str, str]], now_s: int, after_s: int, gaps: Gaps) -> int:
    """Mark the devices of `found` that are still silent; return their number."""
    marked = 0
    for device, release in found:
        if (device, release) in silent(conn, now_s, after_s, gaps, device):
            grants.apply_event(conn, device, release, "silent", now_s)
            marked += 1
    return marked

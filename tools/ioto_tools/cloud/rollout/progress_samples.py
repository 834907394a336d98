"""Samples of a release's progress over time: the number of devices in each state.

A row is added if the counts have changed since the last row. If a release has more than MOST rows, every second row is
deleted, so that a chart of a year costs no more than a chart of a day.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..storage import queries
from ..storage.tables import releases, samples
from . import leases, state_changes

if TYPE_CHECKING:
    from ..site.site import Site

EVERY_S = 60
MOST = 512


async def run(site: "Site", ask: Callable[..., Awaitable[Any]]) -> None:
    """Run forever. `ask(function, *arguments)` waits for the site's database."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await ask(site.database.write, take, site.now_s())
        except (OSError, Unavailable):  # the next sample, a minute later, is good enough
            continue


def take(conn: sa.Connection, now_s: int) -> None:
    """Add a row for each release whose counts have changed."""
    slots, last = leases.slots_in_use(conn), _newest(conn)
    for row in conn.execute(sa.select(releases.c.id, releases.c.counts)).mappings().all():
        counts = json.dumps(state_changes.device_counts(row, slots[row["id"]]), sort_keys=True)
        if counts != last.get(row["id"], "{}"):
            new = queries.upsert(conn, samples).values(release=row["id"], at_s=now_s, counts=counts)
            conn.execute(new.on_conflict_do_nothing())
            _thin(conn, row["id"])


def _newest(conn: sa.Connection) -> dict[str, str]:
    """The newest sample of each release: {release: counts as JSON}."""
    newest = (
        sa.select(samples.c.release, sa.func.max(samples.c.at_s).label("at_s")).group_by(samples.c.release).subquery()
    )
    same = sa.and_(samples.c.release == newest.c.release, samples.c.at_s == newest.c.at_s)
    return dict(tuple(row) for row in conn.execute(sa.select(samples.c.release, samples.c.counts).join(newest, same)))


def _thin(conn: sa.Connection, release: str) -> None:
    """Delete every second sample of the release if there are more than MOST."""
    found = sa.select(samples.c.at_s).where(samples.c.release == release).order_by(samples.c.at_s)
    times = conn.execute(found).scalars().all()
    if len(times) > MOST:
        gone = times[1:-1:2]  # keeps the first and the last
        conn.execute(samples.delete().where(samples.c.release == release, samples.c.at_s.in_(gone)))


def of(conn: sa.Connection, release: str) -> list[tuple[int, dict[str, int]]]:
    """The samples of a release, oldest first: [(at_s, {state: number of devices})]."""
    found = sa.select(samples.c.at_s, samples.c.counts).where(samples.c.release == release).order_by(samples.c.at_s)
    return [(at_s, json.loads(counts)) for at_s, counts in conn.execute(found)]

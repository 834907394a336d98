"""The places of a release, and which worker may give them away.

A worker takes a block of places and spends one in the transaction that grants the release to a device, so that no two
workers wait for each other at every grant, and a worker that is killed has spent exactly what its devices have. Unspent
places are in the worker's row of `leases` and nowhere else: when it has spent none for LEASE_S, anybody may give them back.

    releases.taken              <= limit
    granted in (t - period, t]  <= rate, for every t
    granted so far              =  taken - the places in leases

Every change of a release by an operator or by its stop rule revokes its leases, in one transaction: what comes after it
must take new places, and sees the release as it is now.
"""

import sqlalchemy as sa

from ..rules.selection import ACTIVE
from ..rules.update_states import AHEAD_S
from ..storage import queries
from ..storage.tables import grants, leases, releases

LEASE_S = 10
BLOCK = 64
PART = 8  # of what is left, to one worker at once: the others want some too


class Full(Exception):
    """No place now: `why` is "limit" or "rate"; `until_s`: ask again then, None: not before the release is changed. `ahead`: slots
    are noted as taken in the future, by a clock that was wrong: set_back() first.
    """

    def __init__(self, why, until_s, ahead=False):
        super().__init__(why)
        self.why = why
        self.until_s = until_s
        self.ahead = ahead


class Stale(Exception):
    """The release is not offered (any more): what the worker holds in memory is old."""


def locked(conn, release):
    """The release's row, which nobody else changes before the transaction ends; None if there is none."""
    found = sa.select(releases).where(releases.c.id == release)
    return conn.execute(found.with_for_update(key_share=True)).mappings().first()


def spend(conn, release, worker, now_s):
    """One place of the release is spent, from those of the worker or from a new block. Full, Stale."""
    if not _spent(conn, release, worker, now_s):
        _take(conn, release, worker, now_s)
        _spent(conn, release, worker, now_s)


def _spent(conn, release, worker, now_s):
    own = sa.and_(leases.c.release == release, leases.c.worker == worker, leases.c.places > 0)
    spent = leases.update().where(own).values(places=leases.c.places - 1, until_s=now_s + LEASE_S)
    return conn.execute(spent).rowcount == 1


def _take(conn, release, worker, now_s):
    row = locked(conn, release)
    if row is None or not row["enabled"] or row["state"] != ACTIVE:
        raise Stale(release)
    # One that would last for longer than any does is by a clock that was wrong: nobody is to wait for that day.
    ended = sa.or_(leases.c.until_s < now_s, leases.c.until_s > now_s + 2 * LEASE_S)
    taken = row["taken"] - _back(conn, leases.c.release == release, ended)
    left = room(conn, row, taken, now_s)
    block = BLOCK if left is None else min(BLOCK, max(1, left // PART))
    conn.execute(releases.update().where(releases.c.id == release).values(taken=taken + block))
    new = queries.upsert(conn, leases).values(release=release, worker=worker, places=block, until_s=now_s + LEASE_S)
    more = {"places": leases.c.places + block, "until_s": now_s + LEASE_S}
    conn.execute(new.on_conflict_do_update(index_elements=list(leases.primary_key), set_=more))


def _back(conn, *which):
    """Leases end; the sum of their places."""
    return sum(conn.execute(leases.delete().where(*which).returning(leases.c.places)).scalars())


def room(conn, row, taken, now_s):
    """How many places of the release of `row` there are when `taken` are taken, at least 1; None: without limit. Full."""
    left = None
    if row["limit"] is not None:
        left = row["limit"] - taken
        if left <= 0:  # unless another worker gives some back
            raise Full("limit", now_s + 1 if _leased(conn, row["id"]) else None)
    if row["rate"] is not None:
        here, leased, oldest, newest = _in_period(conn, row["id"], now_s - row["period_s"])
        if newest is not None and newest > now_s + AHEAD_S:
            raise Full("rate", now_s + 1, ahead=True)
        free = row["rate"] - here - leased
        if free <= 0:
            raise Full("rate", now_s + 1 if leased or oldest is None else oldest + row["period_s"])
        left = free if left is None else min(left, free)
    return left


def _leased(conn, release):
    return conn.execute(sa.select(_sum(release))).scalar()


def _sum(release):
    places = sa.select(sa.func.coalesce(sa.func.sum(leases.c.places), 0))
    return places.where(leases.c.release == release).scalar_subquery()


def _in_period(conn, release, since_s):
    """(granted after `since_s`, places in leases, when the first and the last of those were granted), of one moment: a grant that
    is committed between two statements would be in neither."""
    since = sa.and_(grants.c.release == release, grants.c.granted_s > since_s)
    found = sa.select(sa.func.count(), _sum(release), sa.func.min(grants.c.granted_s), sa.func.max(grants.c.granted_s)).where(since)
    return conn.execute(found).one()


def set_back(conn, release, now_s):
    """Slots of the release that were taken in the future are as if taken now: the rate holds, and does not wait for that day."""
    ahead = sa.and_(grants.c.release == release, grants.c.granted_s > now_s + AHEAD_S)
    conn.execute(grants.update().where(ahead).values(granted_s=now_s))


def granted(conn, release=None):
    """{release: number of its slots in use}."""
    left = sa.select(leases.c.release, sa.func.sum(leases.c.places).label("places")).group_by(leases.c.release).subquery()
    count = releases.c.taken - sa.func.coalesce(left.c.places, 0)
    found = sa.select(releases.c.id, count).outerjoin(left, left.c.release == releases.c.id)
    return dict(tuple(row) for row in conn.execute(found.where(releases.c.id == release) if release else found))


def revoke(conn, row):
    """Nobody has places of the release of `row` (locked) any more; its `taken`, as it stands in the database then."""
    taken = row["taken"] - _back(conn, leases.c.release == row["id"])
    conn.execute(releases.update().where(releases.c.id == row["id"]).values(taken=taken))
    return taken

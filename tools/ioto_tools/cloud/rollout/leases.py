"""Rollout slots of a release, leased to workers in blocks.

A worker leases a block of slots, and spends one in the transaction that grants the release to a device. So workers do
not wait for each other at every grant, and a killed worker has spent exactly the slots that its devices occupy. Unspent
slots are only in the worker's row of `leases`: if the worker has spent none for LEASE_S, any worker may return them.

    releases.taken              <= limit
    granted in (t - period, t]  <= rate, for every t
    granted so far              =  taken - the slots in leases

Every change of a release, by an operator or by its stop rule, revokes its leases in the same transaction: later grants
must lease new slots, and so see the changed release.
"""

import functools
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ..rules.selection import ACTIVE
from ..rules.update_states import CLOCK_TOLERANCE_S
from ..storage import queries
from ..storage.tables import AnyRow, grants, leases, releases

LEASE_S = 10
BLOCK = 64
PART = 8  # one worker gets at most 1/PART of the free slots, so that the others get some too


class NoFreeSlot(Exception):
    """No slot is free, because of `why`: "limit" or "rate".

    `until_s`: when to try again; None: not before the release is changed. `ahead`: because of a wrong clock,
    grants have a time in the future; call reset_future_grants() before the next try.
    """

    def __init__(self, why: str, until_s: int | None, ahead: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.until_s = until_s
        self.ahead = ahead


class OutdatedCache(Exception):
    """The release is not offered (any more): the worker's cache is outdated."""


def locked(conn: sa.Connection, release: str) -> Any:
    """The release's row (a mapping), locked until the transaction ends; None if there is none."""
    found = sa.select(releases).where(releases.c.id == release)
    return conn.execute(found.with_for_update(key_share=True)).mappings().first()


def all_locked(conn: sa.Connection, updates: Iterable[str]) -> Any:
    """The rows of the releases `updates` (mappings), locked until the transaction ends."""
    return conn.execute(_locked(conn.dialect.name), {"updates": queries.listed(conn, updates)}).mappings().all()


@functools.cache
def _locked(dialect: str) -> Any:
    found = sa.select(releases).where(queries.among_given(dialect, releases.c.id, "updates"))
    return found.with_for_update(key_share=True)


def spend(conn: sa.Connection, release: str, worker: str, most: int, now_s: int) -> int:
    """Spend at most `most` slots of the release, from the worker's lease or a new block; return their number.

    Raises NoFreeSlot, OutdatedCache if there is none.
    """
    spent = _spend_leased(conn, release, worker, most, now_s)
    if not spent:
        _lease_block(conn, release, worker, now_s)
        spent = _spend_leased(conn, release, worker, most, now_s)
    return spent


def _spend_leased(conn: sa.Connection, release: str, worker: str, most: int, now_s: int) -> int:
    own = sa.and_(leases.c.release == release, leases.c.worker == worker)
    places: int = conn.execute(sa.select(leases.c.places).where(own)).scalar() or 0
    if spent := min(places, most):
        conn.execute(leases.update().where(own).values(places=places - spent, until_s=now_s + LEASE_S))
    return spent


def _lease_block(conn: sa.Connection, release: str, worker: str, now_s: int) -> None:
    row = locked(conn, release)
    if row is None or not row["enabled"] or row["state"] != ACTIVE:
        raise OutdatedCache(release)
    # A lease that ends too far in the future was written with a wrong clock: treat it as ended.
    ended = sa.or_(leases.c.until_s < now_s, leases.c.until_s > now_s + 2 * LEASE_S)
    taken = row["taken"]
    if returned := _delete(conn, leases.c.release == release, ended):
        taken -= returned
        conn.execute(releases.update().where(releases.c.id == release).values(taken=taken))
    left = free_slots(conn, row, taken, now_s)
    block = BLOCK if left is None else min(BLOCK, max(1, left // PART))
    conn.execute(releases.update().where(releases.c.id == release).values(taken=taken + block))
    new = queries.upsert(conn, leases).values(release=release, worker=worker, places=block, until_s=now_s + LEASE_S)
    more = {"places": leases.c.places + block, "until_s": now_s + LEASE_S}
    conn.execute(new.on_conflict_do_update(index_elements=list(leases.primary_key), set_=more))


def _delete(conn: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    """Delete the leases that match all conditions in `which`; return the sum of their slots."""
    return sum(conn.execute(leases.delete().where(*which).returning(leases.c.places)).scalars())


def free_slots(conn: sa.Connection, row: AnyRow, taken: int, now_s: int) -> int | None:
    """The number of free slots of the release `row` if `taken` are taken; None: unlimited. If 0, raises NoFreeSlot."""
    left = None
    if row["limit"] is not None:
        left = row["limit"] - taken
        if left <= 0:  # another worker may soon return leased slots
            raise NoFreeSlot("limit", now_s + 1 if _leased(conn, row["id"]) else None)
    if row["rate"] is not None:
        here, leased, oldest, newest = _in_period(conn, row["id"], now_s - row["period_s"])
        if newest is not None and newest > now_s + CLOCK_TOLERANCE_S:
            raise NoFreeSlot("rate", now_s + 1, ahead=True)
        free = row["rate"] - here - leased
        if free <= 0:
            raise NoFreeSlot("rate", now_s + 1 if leased or oldest is None else oldest + row["period_s"])
        left = free if left is None else min(left, free)
    return left


def _leased(conn: sa.Connection, release: str) -> int:
    return conn.execute(sa.select(_leased_slots(release))).scalar_one()


def _leased_slots(release: str) -> sa.ScalarSelect[int]:
    slots = sa.select(sa.func.coalesce(sa.func.sum(leases.c.places), 0))
    return slots.where(leases.c.release == release).scalar_subquery()


def _in_period(conn: sa.Connection, release: str, since_s: int) -> "sa.Row[int, int, int | None, int | None]":
    """(slots granted after `since_s`, slots in leases, times of the first and the last of these grants).

    This is one statement: with two, a grant that is committed between them would be in neither result.
    """
    since = sa.and_(grants.c.release == release, grants.c.granted_s > since_s)
    found = sa.select(
        sa.func.count(), _leased_slots(release), sa.func.min(grants.c.granted_s), sa.func.max(grants.c.granted_s)
    ).where(since)
    return conn.execute(found).one()


def reset_future_grants(conn: sa.Connection, release: str, now_s: int) -> None:
    """Set the time of grants that have a time in the future to now.

    The rate still applies, but no device has to wait until that future time.
    """
    ahead = sa.and_(grants.c.release == release, grants.c.granted_s > now_s + CLOCK_TOLERANCE_S)
    conn.execute(grants.update().where(ahead).values(granted_s=now_s))


def slots_in_use(conn: sa.Connection, release: str | None = None) -> dict[str, int]:
    """The number of slots in use of each release, or of `release` only: {release: slots}."""
    left = (
        sa.select(leases.c.release, sa.func.sum(leases.c.places).label("places")).group_by(leases.c.release).subquery()
    )
    count = releases.c.taken - sa.func.coalesce(left.c.places, 0)
    found = sa.select(releases.c.id, count).outerjoin(left, left.c.release == releases.c.id)
    return dict(tuple(row) for row in conn.execute(found.where(releases.c.id == release) if release else found))


def revoke(conn: sa.Connection, row: AnyRow) -> int:
    """End all leases of the release `row` (locked); return the new value of `taken` in the database."""
    taken: int = row["taken"] - _delete(conn, leases.c.release == row["id"])
    conn.execute(releases.update().where(releases.c.id == row["id"]).values(taken=taken))
    return taken

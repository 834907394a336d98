"""What devices have of a release: who is offered it, and how far it has come there. Functions of a connection.

`releases.counts` is kept in the same transaction, as JSON:

    now    {state: devices that stand there}, all but `offered`: those are what is left of the granted ones
    ended  {state: devices that ended so last}, what the stop rule counts: a device that tries again stays in it; without those
           that do not count (identity.counts)
"""

import json

import sqlalchemy as sa

from . import audit, changes, identity, leases, lifecycle, rollout
from .rollout import ENDED, OPEN
from .selection import ACTIVE, Grant
from .tables import grants, releases

# As selection.Grant has them, behind the release's id.
_COLUMNS = (
    grants.c.release, releases.c.version, grants.c.version, grants.c.tries, grants.c.attempt, grants.c.state, grants.c.ended,
    grants.c.offered_s, grants.c.changed_s,
)  # fmt: skip


def of(conn, device):
    """{release: Grant} of a device."""
    found = sa.select(*_COLUMNS).join(releases, releases.c.id == grants.c.release).where(grants.c.device == device)
    return {release: Grant(*values) for release, *values in conn.execute(found)}


def offer(conn, device, release, version, worker, now_s, moment_s, known):
    """The device, which runs `version`, is offered the release, for the first time or again; {release: Grant} afterwards.

    Nothing changes where the offer stands already, or is not due yet, or where the device has not what the worker takes it to
    have (`known`): it may have been offered a higher release elsewhere. Of an older offer that stands this is the end.
    `moment_s()`: the time, rounded up, so that no period is shorter than it says; asked now, since the writer may have been waited
    for. leases.Full, leases.Stale.
    """
    if lifecycle.state(conn, release) != (True, ACTIVE):
        raise leases.Stale(release)
    held = of(conn, device)
    if held != known:
        return held
    grant = held.get(release)
    if grant is None:
        row = {"tries": 1, "attempt": 0, "state": "offered", "ended": None, "version": version, "changed_s": now_s}
        row["offered_s"] = max([now_s, *(each.offered_s + 1 for each in held.values())])
        leases.spend(conn, release, worker, now_s)  # before the grant is there: it would count itself among those of the period
        conn.execute(grants.insert().values(device=device, release=release, granted_s=moment_s(), **row))
        changes.note(conn, now_s, device)
    elif not _again(conn, device, release, held, version, now_s):
        return held
    for other, each in held.items():
        if other != release and each.state in OPEN:
            change(conn, device, other, each, rollout.after(each.state, "newer"), now_s)
    return of(conn, device)


def _again(conn, device, release, held, version, now_s):
    """Another try for a device that came to an end with the release; False where it is not due."""
    grant = held[release]
    due = None if grant.state in OPEN else rollout.next_try(grant.state, grant.tries, grant.attempt, grant.changed_s)
    if due is None or now_s < due[1]:
        return False
    offered_s = max(now_s, *(each.offered_s + 1 for each in held.values()))
    more = {"tries": due[0], "attempt": 0, "version": version, "offered_s": offered_s}
    change(conn, device, release, grant, rollout.after(grant.state, "offer"), now_s, **more)
    return True


def happened(conn, device, release, event, now_s):
    """An event that the cloud saw by itself; {release: Grant} afterwards."""
    held = of(conn, device)
    if release in held and (state := rollout.after(held[release].state, event)):
        change(conn, device, release, held[release], state, now_s)
        return of(conn, device)
    return held


def reported(conn, device, release, report, attempt, now_s):
    """The device reports about a release that it was offered."""
    grant = of(conn, device)[release]
    if found := rollout.after_report(grant.state, grant.attempt, report, attempt):
        change(conn, device, release, grant, found[0], now_s, attempt=found[1])


def change(conn, device, release, grant, state, now_s, **more):
    """The grant gets another state: written, told to the workers, counted, and the stop rule asked."""
    ended = state if state in ENDED else grant.ended
    mine = sa.and_(grants.c.device == device, grants.c.release == release)
    row = leases.locked(conn, release)
    counted = conn.execute(sa.select(grants.c.counted).where(mine)).scalar()
    counts = identity.counts(conn, device, row["age_s"], now_s) if state in ENDED else counted
    values = {"state": state, "ended": ended, "counted": counts, "changed_s": now_s, **more}
    conn.execute(grants.update().where(mine).values(values))
    changes.note(conn, now_s, device)
    _count(conn, row, grant.state, state, grant.ended if counted else None, ended if counts else None, now_s)


def _count(conn, row, before, state, ended_before, ended, now_s):
    counts = json.loads(row["counts"])
    now, ends = counts.setdefault("now", {}), counts.setdefault("ended", {})
    _shift(now, before, state)
    _shift(ends, ended_before, ended)
    now.pop("offered", None)
    ends.pop(None, None)
    conn.execute(releases.update().where(releases.c.id == row["id"]).values(counts=json.dumps(counts)))
    if state in ENDED and row["state"] == ACTIVE and rollout.stops(ends, row["stop_after"], row["stop_percent"]):
        lifecycle.move(conn, row["id"], "stopped", now_s, audit.CLOUD, ended=ends)


def _shift(counts, before, after):
    counts[before] = counts.get(before, 0) - 1
    counts[after] = counts.get(after, 0) + 1
    if not counts[before]:
        del counts[before]


def counts(row, granted):
    """{state: devices that stand there} of a release's row and the number of devices it was granted to."""
    now = json.loads(row["counts"]).get("now", {})
    offered = granted - sum(now.values())
    return {"offered": offered, **now} if offered else now

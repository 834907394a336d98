"""What devices have of a release: who is offered it, and how far it has come there. Functions of a connection; a `device` is its
key.

`releases.counts` is kept in the same transaction, as JSON:

    now    {state: devices that stand there}, all but `offered`: those are what is left of the slots in use
    ended  {state: devices that ended so last}, what the stop rule counts: a device that tries again stays in it; without those
           that do not count (identity.counts)

A device has a slot of the release from its first offer on, until the offer is withdrawn.
"""

import json

import sqlalchemy as sa

from ..rules import update_states
from ..rules.selection import ACTIVE, Grant
from ..rules.update_states import ENDED, OPEN, UNAPPLIED, WITHDRAWN
from ..storage import audit, changes
from ..storage.tables import devices, grants, releases
from . import identity, leases, lifecycle

AT_ONCE = 500  # in one transaction: devices wait for it
MOST_COUNTED = 100_000
# As selection.Grant has them, behind the release's id.
_COLUMNS = (
    grants.c.release, releases.c.version, grants.c.version, grants.c.tries, grants.c.attempt, grants.c.state, grants.c.ended,
    grants.c.offered_s, grants.c.changed_s, grants.c.retry,
)  # fmt: skip


def of(conn, device):
    """{release: Grant} of a device."""
    found = sa.select(*_COLUMNS).join(releases, releases.c.id == grants.c.release).where(grants.c.device == device)
    return {release: Grant(*values) for release, *values in conn.execute(found)}


def of_each(conn, keys):
    """{device: {release: Grant}} of devices that have any."""
    found = sa.select(grants.c.device, *_COLUMNS).join(releases, releases.c.id == grants.c.release).where(grants.c.device.in_(keys))
    held = {}
    for device, release, *values in conn.execute(found):
        held.setdefault(device, {})[release] = Grant(*values)
    return held


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
    if grant is None or grant.state == WITHDRAWN:
        row = {"attempt": 0, "version": version, "offered_s": _offered_s(held, now_s)}
        leases.spend(conn, release, worker, now_s)  # before the grant is there: it would count itself among those of the period
        row["granted_s"] = moment_s()
        if grant is None:
            row.update(tries=1, state="offered", ended=None, changed_s=now_s)
            conn.execute(grants.insert().values(device=device, release=release, **row))
            changes.note(conn, now_s, device)
        else:
            change(conn, device, release, grant, update_states.after(WITHDRAWN, "offer"), now_s, tries=grant.tries or 1, **row)
    elif not _again(conn, device, release, held, version, now_s):
        return held
    for other, each in held.items():
        if other != release and each.state in OPEN:
            change(conn, device, other, each, update_states.after(each.state, "newer"), now_s)
    return of(conn, device)


def _again(conn, device, release, held, version, now_s):
    """Another try for a device that came to an end with the release; False where it is not due."""
    grant = held[release]
    due = None if grant.state in OPEN else update_states.next_try(grant.state, grant.tries, grant.attempt, grant.changed_s)
    if due is None or update_states.waits(due[1], grant.changed_s, now_s):
        return False
    more = {"tries": due[0], "attempt": 0, "version": version, "offered_s": _offered_s(held, now_s)}
    change(conn, device, release, grant, update_states.after(grant.state, "offer"), now_s, **more)
    return True


def _offered_s(held, now_s):
    return max([now_s, *(each.offered_s + 1 for each in held.values())])


def happened(conn, device, release, event, now_s):
    """An event that the cloud saw by itself; {release: Grant} afterwards."""
    held = of(conn, device)
    if release in held and (state := update_states.after(held[release].state, event)):
        change(conn, device, release, held[release], state, now_s)
        return of(conn, device)
    return held


def holds(conn, device, release, attempt, now_s):
    """A check-in tells that the release waits staged on the device, which counts as the report; {release: Grant} afterwards."""
    reported(conn, device, release, "staged", attempt, now_s)
    return of(conn, device)


def reported(conn, device, release, report, attempt, now_s, reason=""):
    """The device reports about a release that it was offered. Does that change anything?"""
    grant = of(conn, device)[release]
    event = update_states.event_of(report, reason.partition(":")[0], grant.ended)
    found = update_states.after_report(grant.state, grant.attempt, event, attempt)
    if found:
        change(conn, device, release, grant, found[0], now_s, attempt=found[1])
    return found is not None


def rows(conn, release, *which):
    """Rows of the release's grants, AT_ONCE at the most."""
    found = sa.select(grants).where(grants.c.release == release, *which).limit(AT_ONCE)
    return [dict(row) for row in conn.execute(found).mappings()]


def retry(conn, release, rows, now_s):
    """The devices of `rows` (of `grants`, in a state of rollout.RETRIED) may try the release anew, as if they had not tried it yet:
    their ends no longer count for the stop rule, and those that refused it give their slots back.
    """
    row = leases.locked(conn, release)
    counts, taken = {"ended": {}, **json.loads(row["counts"])}, row["taken"]
    for grant in rows:
        state = update_states.after(grant["state"], "retry")
        values = {"state": state, "ended": None, "counted": False, "tries": 0, "retry": grant["retry"] + 1, "changed_s": now_s}
        if state == WITHDRAWN:
            values["granted_s"], taken = 0, taken - 1
        conn.execute(grants.update().where(grants.c.device == grant["device"], grants.c.release == release).values(values))
        changes.note(conn, now_s, grant["device"])
        _shift(counts["now"], grant["state"], state)
        _shift(counts["ended"], grant["ended"] if grant["counted"] else None, None)
    counts["ended"].pop(None, None)
    changes.note(conn, now_s)
    conn.execute(releases.update().where(releases.c.id == release).values(counts=json.dumps(counts), taken=taken))


def change(conn, device, release, grant, state, now_s, **more):
    """The grant gets another state: written, told to the workers, counted, and the stop rule asked.

    A withdrawn one gives its slot back. It has one again where `more` says when (`granted_s`), or where the device turns out to have
    the update all the same.
    """
    ended = state if state in ENDED else grant.ended
    mine = sa.and_(grants.c.device == device, grants.c.release == release)
    slots = (grant.state == WITHDRAWN) - (state == WITHDRAWN)
    if slots and "granted_s" not in more:
        more["granted_s"] = now_s if slots > 0 else 0
    elif slots:
        slots = 0  # spent already
    row = leases.locked(conn, release)
    counted = conn.execute(sa.select(grants.c.counted).where(mine)).scalar()
    counts = identity.counts(conn, device, row["age_s"], now_s) if state in ENDED else counted
    values = {"state": state, "ended": ended, "counted": counts, "changed_s": now_s, **more}
    conn.execute(grants.update().where(mine).values(values))
    changes.note(conn, now_s, device)
    _count(conn, row, grant.state, state, grant.ended if counted else None, ended if counts else None, now_s, slots)


def _count(conn, row, before, state, ended_before, ended, now_s, slots):
    counts = json.loads(row["counts"])
    now, ends = counts.setdefault("now", {}), counts.setdefault("ended", {})
    _shift(now, before, state)
    _shift(ends, ended_before, ended)
    now.pop("offered", None)
    ends.pop(None, None)
    conn.execute(releases.update().where(releases.c.id == row["id"]).values(counts=json.dumps(counts), taken=row["taken"] + slots))
    if slots < 0 and row["state"] == ACTIVE and row["limit"] is not None and row["taken"] >= row["limit"]:
        changes.note(conn, now_s)  # there was no slot left, and now there is
    if state in update_states.COUNTED and row["state"] == ACTIVE and update_states.stops(ends, row["stop_after"], row["stop_percent"]):
        lifecycle.move(conn, row["id"], "stopped", now_s, audit.CLOUD, ended=ends)


def _shift(counts, before, after):
    counts[before] = counts.get(before, 0) - 1
    counts[after] = counts.get(after, 0) + 1
    if not counts[before]:
        del counts[before]


def counts(row, slots):
    """{state: devices that stand there} of a release's row and the number of its slots in use."""
    now = json.loads(row["counts"]).get("now", {})
    offered = slots - sum(n for state, n in now.items() if state != WITHDRAWN)
    return {"offered": offered, **now} if offered else now


def unapplied(conn, release):
    """Devices that may still apply the release: {"told": those that ask the cloud before they do, "due_s": when the last of them
    means to check in, "strangers": those that can't be kept from it}. No more than MOST_COUNTED are counted.
    """
    here = sa.and_(grants.c.release == release, grants.c.state.in_(sorted(UNAPPLIED)), devices.c.removed_s.is_(None))
    some = sa.select(devices.c.seen_s, devices.c.next_s).join(grants, grants.c.device == devices.c.key).where(here).limit(MOST_COUNTED).subquery()
    found = sa.select(sa.func.count(), sa.func.count(some.c.next_s), sa.func.max(some.c.seen_s + some.c.next_s))
    n, told, due_s = conn.execute(found.select_from(some)).one()
    return {"told": told, "due_s": due_s, "strangers": n - told}

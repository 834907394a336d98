"""Grants: which devices were offered which release, and the state of the update on each. Functions of a connection; a
`device` is its key.

`releases.counts` is updated in the same transaction, as JSON:

    now    {state: number of devices in this state}, without `offered`, which is the rest of the slots in use
    ended  {state: number of devices whose last attempt ended in it}, for the stop rule. A device that tries again is
           still counted; devices that do not count (identity.counts) are left out

A device occupies a rollout slot of the release from its first offer until the offer is withdrawn.
"""

import json

import sqlalchemy as sa

from ..rules import update_states
from ..rules.selection import ACTIVE, Grant
from ..rules.update_states import ENDED, OPEN, UNAPPLIED, WITHDRAWN
from ..storage import audit, changes
from ..storage.tables import devices, grants, releases
from . import identity, leases, lifecycle

AT_ONCE = 500  # in one transaction, because devices wait for it
MOST_COUNTED = 100_000
# The release's id, then the fields of selection.Grant in order.
_COLUMNS = (
    grants.c.release, releases.c.version, grants.c.version, grants.c.tries, grants.c.attempt, grants.c.state,
    grants.c.ended, grants.c.offered_s, grants.c.changed_s, grants.c.retry,
)  # fmt: skip


def of(conn, device):
    """{release: Grant} of a device."""
    found = sa.select(*_COLUMNS).join(releases, releases.c.id == grants.c.release).where(grants.c.device == device)
    return {release: Grant(*values) for release, *values in conn.execute(found)}


def of_each(conn, keys):
    """{device: {release: Grant}} of those devices that have any."""
    found = (
        sa.select(grants.c.device, *_COLUMNS)
        .join(releases, releases.c.id == grants.c.release)
        .where(grants.c.device.in_(keys))
    )
    held = {}
    for device, release, *values in conn.execute(found):
        held.setdefault(device, {})[release] = Grant(*values)
    return held


def offer(conn, device, release, version, worker, now_s, moment_s, known):
    """Offer the release to the device, which runs `version`, for the first time or again; {release: Grant} afterwards.

    No-op if the offer is open or not yet due, or if `known`, the grants in the worker's cache, is stale: another worker
    may have offered a higher release. Supersedes older open offers. `moment_s()` returns the time, rounded up so that
    no period is too short; it is called here because the transaction may have waited for the writer. leases.Full,
    leases.Stale.
    """
    if lifecycle.state(conn, release) != (True, ACTIVE):
        raise leases.Stale(release)
    held = of(conn, device)
    if held != known:
        return held
    grant = held.get(release)
    if grant is None or grant.state == WITHDRAWN:
        row = {"attempt": 0, "version": version, "offered_s": _offered_s(held, now_s)}
        leases.spend(
            conn, release, worker, now_s
        )  # before the grant is stored, which would count towards the rate's period
        row["granted_s"] = moment_s()
        if grant is None:
            row.update(tries=1, state="offered", ended=None, changed_s=now_s)
            conn.execute(grants.insert().values(device=device, release=release, **row))
            changes.note(conn, now_s, device)
        else:
            change(
                conn,
                device,
                release,
                grant,
                update_states.after(WITHDRAWN, "offer"),
                now_s,
                tries=grant.tries or 1,
                **row,
            )
    elif not _again(conn, device, release, held, version, now_s):
        return held
    for other, each in held.items():
        if other != release and each.state in OPEN:
            change(conn, device, other, each, update_states.after(each.state, "newer"), now_s)
    return of(conn, device)


def _again(conn, device, release, held, version, now_s) -> bool:
    """Offer another try to a device whose last attempt has ended; False if it is not due."""
    grant = held[release]
    due = (
        None
        if grant.state in OPEN
        else update_states.next_try(grant.state, grant.tries, grant.attempt, grant.changed_s)
    )
    if due is None or update_states.waits(due[1], grant.changed_s, now_s):
        return False
    more = {"tries": due[0], "attempt": 0, "version": version, "offered_s": _offered_s(held, now_s)}
    change(conn, device, release, grant, update_states.after(grant.state, "offer"), now_s, **more)
    return True


def _offered_s(held, now_s):
    return max([now_s, *(each.offered_s + 1 for each in held.values())])


def happened(conn, device, release, event, now_s):
    """Apply an event that the cloud has detected itself; {release: Grant} afterwards."""
    held = of(conn, device)
    if release in held and (state := update_states.after(held[release].state, event)):
        change(conn, device, release, held[release], state, now_s)
        return of(conn, device)
    return held


def holds(conn, device, release, attempt, now_s):
    """A check-in shows that the release is staged on the device: treated like the report `staged`. {release: Grant}
    afterwards.
    """
    reported(conn, device, release, "staged", attempt, now_s)
    return of(conn, device)


def reported(conn, device, release, report, attempt, now_s, reason: str = "") -> bool:
    """Apply a device's report about a release that it was offered. Return whether it changed the grant."""
    grant = of(conn, device)[release]
    event = update_states.event_of(report, reason.partition(":")[0], grant.ended)
    found = update_states.after_report(grant.state, grant.attempt, event, attempt)
    if found:
        change(conn, device, release, grant, found[0], now_s, attempt=found[1])
    return found is not None


def rows(conn, release, *which):
    """At most AT_ONCE rows of the release's grants."""
    found = sa.select(grants).where(grants.c.release == release, *which).limit(AT_ONCE)
    return [dict(row) for row in conn.execute(found).mappings()]


def retry(conn, release, rows, now_s) -> None:
    """Let the devices of `rows` (of `grants`, in a state of update_states.RETRIED) try the release as if for the first
    time.

    Their earlier outcomes no longer count for the stop rule, and devices that refused the release give back their
    slots.
    """
    row = leases.locked(conn, release)
    counts, taken = {"ended": {}, **json.loads(row["counts"])}, row["taken"]
    for grant in rows:
        state = update_states.after(grant["state"], "retry")
        values = {
            "state": state,
            "ended": None,
            "counted": False,
            "tries": 0,
            "retry": grant["retry"] + 1,
            "changed_s": now_s,
        }
        if state == WITHDRAWN:
            values["granted_s"], taken = 0, taken - 1
        conn.execute(
            grants.update().where(grants.c.device == grant["device"], grants.c.release == release).values(values)
        )
        changes.note(conn, now_s, grant["device"])
        _shift(counts["now"], grant["state"], state)
        _shift(counts["ended"], grant["ended"] if grant["counted"] else None, None)
    counts["ended"].pop(None, None)
    changes.note(conn, now_s)
    conn.execute(releases.update().where(releases.c.id == release).values(counts=json.dumps(counts), taken=taken))


def change(conn, device, release, grant, state, now_s, **more) -> None:
    """Change the state of a grant: write it, record the change for the workers, update the counts and check the stop
    rule.

    A withdrawn grant gives back its slot. It gets one again with a new offer (`granted_s` in `more`), or if the device
    turns out to have the update after all.
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


def _count(conn, row, before, state, ended_before, ended, now_s, slots) -> None:
    counts = json.loads(row["counts"])
    now, ends = counts.setdefault("now", {}), counts.setdefault("ended", {})
    _shift(now, before, state)
    _shift(ends, ended_before, ended)
    now.pop("offered", None)
    ends.pop(None, None)
    conn.execute(
        releases.update()
        .where(releases.c.id == row["id"])
        .values(counts=json.dumps(counts), taken=row["taken"] + slots)
    )
    if slots < 0 and row["state"] == ACTIVE and row["limit"] is not None and row["taken"] >= row["limit"]:
        changes.note(conn, now_s)  # the last slot was taken, and one is free now
    if (
        state in update_states.COUNTED
        and row["state"] == ACTIVE
        and update_states.stops(ends, row["stop_after"], row["stop_percent"])
    ):
        lifecycle.move(conn, row["id"], "stopped", now_s, audit.CLOUD, ended=ends)


def _shift(counts, before, after) -> None:
    counts[before] = counts.get(before, 0) - 1
    counts[after] = counts.get(after, 0) + 1
    if not counts[before]:
        del counts[before]


def counts(row, slots):
    """{state: number of devices} from a release's row and the number of its slots in use."""
    now = json.loads(row["counts"]).get("now", {})
    offered = slots - sum(n for state, n in now.items() if state != WITHDRAWN)
    return {"offered": offered, **now} if offered else now


def unapplied(conn, release):
    """Count the devices that may still apply the release, at most MOST_COUNTED.

    {"told": those that ask the cloud before they apply it, "due_s": when the last of these is due to check in,
    "strangers": devices with other clients, which can't be kept from it}.
    """
    here = sa.and_(grants.c.release == release, grants.c.state.in_(sorted(UNAPPLIED)), devices.c.removed_s.is_(None))
    some = (
        sa.select(devices.c.seen_s, devices.c.next_s)
        .join(grants, grants.c.device == devices.c.key)
        .where(here)
        .limit(MOST_COUNTED)
        .subquery()
    )
    found = sa.select(sa.func.count(), sa.func.count(some.c.next_s), sa.func.max(some.c.seen_s + some.c.next_s))
    n, told, due_s = conn.execute(found.select_from(some)).one()
    return {"told": told, "due_s": due_s, "strangers": n - told}

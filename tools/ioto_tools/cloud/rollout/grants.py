"""Grants: which devices were offered which release, and the state of the update on each.

The functions take a database connection; `device` is a device's key, `release` a release's id. The column
`releases.counts` is updated in the same transaction, as JSON:

    now    {state: number of devices in this state}, without `offered`: these are all other slots in use
    ended  {state: number of devices whose last attempt ended in it}, for the stop rule. A device that tries again is
           still counted; devices that do not count (shared_ids.counts) are left out

A device occupies a rollout slot of the release from its first offer until the offer is withdrawn.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import sqlalchemy as sa

from ..rules import stop_rule, update_states
from ..rules.selection import ACTIVE, Grant
from ..rules.update_states import FINISHED, OPEN, UNAPPLIED, WITHDRAWN
from ..storage import audit, change_log
from ..storage.tables import AnyRow, Row, devices, grants, releases
from . import failures, leases, lifecycle, shared_ids

Held = dict[str, Grant]  # the grants of a device: {release: Grant}
Counts = dict[str | None, int]  # {state: number of devices}

AT_ONCE = 500  # maximum number of grants changed in one transaction, because devices wait for it
MOST_COUNTED = 100_000
MOST_NAMED = 3  # groups of failures that the event of a stop names
# The release's id, then the fields of selection.Grant in order.
_COLUMNS = (
    grants.c.release, releases.c.version, grants.c.version, grants.c.tries, grants.c.attempt, grants.c.state,
    grants.c.ended, grants.c.offered_s, grants.c.changed_s, grants.c.retry,
)  # fmt: skip


def of_device(conn: sa.Connection, device: str) -> Held:
    """The grants of a device: {release: Grant}."""
    found = sa.select(*_COLUMNS).join(releases, releases.c.id == grants.c.release).where(grants.c.device == device)
    return {release: Grant(*values) for release, *values in conn.execute(found)}


def of_devices(conn: sa.Connection, keys: Sequence[str]) -> dict[str, Held]:
    """The grants of several devices: {device: {release: Grant}}, without the devices that have none."""
    found = (
        sa.select(grants.c.device, *_COLUMNS)
        .join(releases, releases.c.id == grants.c.release)
        .where(grants.c.device.in_(keys))
    )
    held: dict[str, Held] = {}
    for device, release, *values in conn.execute(found):
        held.setdefault(device, {})[release] = Grant(*values)
    return held


def offer(
    conn: sa.Connection,
    device: str,
    release: str,
    version: str,
    worker: str,
    now_s: int,
    moment_s: Callable[[], int],
    known: Held,
) -> Held:
    """Offer the release to the device, which runs `version`, for the first time or again; return its grants.

    No-op if the offer is open or not yet due, or if `known` (the grants in the worker's cache) is stale: another worker
    may have offered a higher release. Supersedes older open offers. `moment_s()` returns the time, rounded up so that
    no period of a rate is too short. It is called inside the transaction, which may have waited for other writers.
    Raises leases.NoFreeSlot, leases.OutdatedCache.
    """
    if lifecycle.state(conn, release) != (True, ACTIVE):
        raise leases.OutdatedCache(release)
    held = of_device(conn, device)
    if held != known:
        return held
    grant = held.get(release)
    if grant is None or grant.state == WITHDRAWN:
        row: Row = {"attempt": 0, "version": version, "offered_s": _offered_s(held, now_s)}
        # The slot is spent before the grant is stored, because a stored grant counts towards the rate's period.
        leases.spend(conn, release, worker, now_s)
        row["granted_s"] = moment_s()
        if grant is None:
            row.update(tries=1, state="offered", ended=None, changed_s=now_s)
            conn.execute(grants.insert().values(device=device, release=release, **row))
            change_log.note(conn, now_s, device)
        else:
            state = update_states.TABLE[WITHDRAWN]["offer"]
            change(conn, device, release, grant, state, now_s, tries=grant.tries or 1, **row)
    elif not _offer_again(conn, device, release, held, version, now_s):
        return held
    for other, each in held.items():
        if other != release and each.state in OPEN:
            change(conn, device, other, each, update_states.TABLE[each.state]["newer"], now_s)
    return of_device(conn, device)


def _offer_again(conn: sa.Connection, device: str, release: str, held: Held, version: str, now_s: int) -> bool:
    """Offer another try to a device whose last attempt has ended; False if it is not due."""
    grant = held[release]
    due = None
    if grant.state not in OPEN:
        due = update_states.next_try(grant.state, grant.tries, grant.attempt, grant.changed_s)
    if due is None or update_states.must_wait(due[1], grant.changed_s, now_s):
        return False
    more: Row = {"tries": due[0], "attempt": 0, "version": version, "offered_s": _offered_s(held, now_s)}
    change(conn, device, release, grant, update_states.TABLE[grant.state]["offer"], now_s, **more)
    return True


def _offered_s(held: Held, now_s: int) -> int:
    """The time of an offer: now, or a second after the device's last offer if that is later."""
    return max([now_s, *(each.offered_s + 1 for each in held.values())])


def apply_event(conn: sa.Connection, device: str, release: str, event: str, now_s: int) -> Held:
    """Apply an event that the cloud has detected itself; return the device's grants."""
    held = of_device(conn, device)
    if release in held and (state := update_states.next_state(held[release].state, event)):
        change(conn, device, release, held[release], state, now_s)
        return of_device(conn, device)
    return held


def apply_staged(conn: sa.Connection, device: str, release: str, attempt: int, now_s: int) -> Held:
    """Treat a check-in with this release staged like the report `staged`; return the device's grants."""
    apply_report(conn, device, release, "staged", attempt, now_s)
    return of_device(conn, device)


def apply_report(
    conn: sa.Connection, device: str, release: str, report: str, attempt: int, now_s: int, reason: str = ""
) -> bool:
    """Apply a device's report about a release that it was offered; return whether the grant has changed."""
    grant = of_device(conn, device)[release]
    event = update_states.event_of_report(report, reason.partition(":")[0], grant.ended)
    found = update_states.apply_report(grant.state, grant.attempt, event, attempt)
    if found:
        change(conn, device, release, grant, found[0], now_s, attempt=found[1])
    return found is not None


def rows(conn: sa.Connection, release: str, *which: sa.ColumnElement[bool]) -> list[Row]:
    """At most AT_ONCE rows of the release's grants that match all conditions in `which`."""
    found = sa.select(grants).where(grants.c.release == release, *which).limit(AT_ONCE)
    return [dict(row) for row in conn.execute(found).mappings()]


def retry(conn: sa.Connection, release: str, rows: Sequence[Row], now_s: int) -> None:
    """Let the devices of `rows` (of `grants`) try the release as if for the first time.

    The grants are in states of update_states.RETRYABLE. Their earlier outcomes no longer count for the stop rule, and
    devices that refused the release give back their slots.
    """
    row = leases.locked(conn, release)
    counts, taken = {"ended": {}, **json.loads(row["counts"])}, row["taken"]
    for grant in rows:
        state = update_states.TABLE[grant["state"]]["retry"]
        values: Row = {"state": state, "ended": None, "counted": False, "tries": 0}
        values |= {"retry": grant["retry"] + 1, "changed_s": now_s}
        if state == WITHDRAWN:
            values["granted_s"], taken = 0, taken - 1
        conn.execute(
            grants.update().where(grants.c.device == grant["device"], grants.c.release == release).values(values)
        )
        change_log.note(conn, now_s, grant["device"])
        _move_count(counts["now"], grant["state"], state)
        _move_count(counts["ended"], grant["ended"] if grant["counted"] else None, None)
    counts["ended"].pop(None, None)
    change_log.note(conn, now_s)
    conn.execute(releases.update().where(releases.c.id == release).values(counts=json.dumps(counts), taken=taken))


def change(conn: sa.Connection, device: str, release: str, grant: Grant, state: str, now_s: int, **more: Any) -> None:
    """Change a grant's state, and its columns in `more`; update the counts and apply the stop rule.

    A withdrawn grant gives back its slot. It takes a slot again with a new offer (`granted_s` in `more`), or if the
    device has applied the update after all.
    """
    ended = state if state in FINISHED else grant.ended
    mine = sa.and_(grants.c.device == device, grants.c.release == release)
    slots = (grant.state == WITHDRAWN) - (state == WITHDRAWN)
    if slots and "granted_s" not in more:
        more["granted_s"] = now_s if slots > 0 else 0
    elif slots:
        slots = 0  # offer() has spent the slot already
    row = leases.locked(conn, release)
    counted = conn.execute(sa.select(grants.c.counted).where(mine)).scalar()
    counts = shared_ids.counts(conn, device, row["age_s"], now_s) if state in FINISHED else counted
    values = {"state": state, "ended": ended, "counted": counts, "changed_s": now_s, **more}
    conn.execute(grants.update().where(mine).values(values))
    change_log.note(conn, now_s, device)
    ended_before, ended = grant.ended if counted else None, ended if counts else None
    _update_counts(conn, row, grant.state, state, ended_before, ended, now_s, slots)


def _update_counts(
    conn: sa.Connection,
    row: AnyRow,
    before: str,
    state: str,
    ended_before: str | None,
    ended: str | None,
    now_s: int,
    slots: int,
) -> None:
    """Update the counts of the release `row` after a change of a device's state, and apply the stop rule.

    `slots`: 1 if the device takes a slot, -1 if it gives one back.
    """
    counts = json.loads(row["counts"])
    now, ends = counts.setdefault("now", {}), counts.setdefault("ended", {})
    _move_count(now, before, state)
    _move_count(ends, ended_before, ended)
    now.pop("offered", None)
    ends.pop(None, None)
    conn.execute(
        releases.update()
        .where(releases.c.id == row["id"])
        .values(counts=json.dumps(counts), taken=row["taken"] + slots)
    )
    if slots < 0 and row["state"] == ACTIVE and row["limit"] is not None and row["taken"] >= row["limit"]:
        change_log.note(conn, now_s)  # all slots were taken, and one is free now
    if (
        state in update_states.OUTCOMES
        and row["state"] == ACTIVE
        and stop_rule.applies(ends, row["stop_after"], row["stop_percent"])
    ):
        groups = failures.groups(conn, row["id"], MOST_NAMED)
        named = [{name: group[name] for name in ("reason", "cause", "devices")} for group in groups]
        lifecycle.move(conn, row["id"], "stopped", now_s, audit.CLOUD, ended=ends, failures=named)


def _move_count(counts: Counts, before: str | None, after: str | None) -> None:
    counts[before] = counts.get(before, 0) - 1
    counts[after] = counts.get(after, 0) + 1
    if not counts[before]:
        del counts[before]


def device_counts(row: AnyRow, slots: int) -> dict[str, int]:
    """{state: number of devices} from a release's row and the number of its slots in use."""
    now: dict[str, int] = json.loads(row["counts"]).get("now", {})
    offered = slots - sum(n for state, n in now.items() if state != WITHDRAWN)
    return {"offered": offered, **now} if offered else now


class Unapplied(TypedDict):
    """Numbers of devices that may still apply a release."""

    told: int  # devices that ask the cloud before they apply the release
    due_s: int | None  # when the last of these is due to check in
    strangers: int  # devices with other clients; the cloud can't keep them from applying the release


def count_unapplied(conn: sa.Connection, release: str) -> Unapplied:
    """Count the devices that may still apply the release, at most MOST_COUNTED."""
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

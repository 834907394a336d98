"""Grants: which devices were offered which release (offers.py), and the state of the update on each.

The functions take a database connection; `device` is a device's key, `release` a release's id. state_changes.py
updates the counts of the release in the same transaction.

A device occupies a rollout slot of the release from its first offer until the offer is withdrawn.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import sqlalchemy as sa

from ..images import packed_failures
from ..rules import failure_details, update_states
from ..rules.failure_details import FailureDetails
from ..rules.selection import Grant
from ..rules.update_states import OPEN, UNAPPLIED, WITHDRAWN
from ..storage import change_log, queries
from ..storage.tables import AnyRow, Row, devices, grants, releases
from . import failures, leases, state_changes

Held = dict[str, Grant]  # the grants of a device: {release: Grant}

AT_ONCE = 500  # maximum number of grants changed in one transaction, because devices wait for it
MOST_COUNTED = 100_000
# The release's id, then the fields of selection.Grant in order.
_COLUMNS = (
    grants.c.release, releases.c.version, grants.c.version, grants.c.tries, grants.c.attempt, grants.c.state,
    grants.c.ended, grants.c.offered_s, grants.c.changed_s, grants.c.retry, grants.c.file, grants.c.whole,
)  # fmt: skip


_HELD = sa.select(grants.c.device, *_COLUMNS).join(releases, releases.c.id == grants.c.release)
_HELD_BY_ONE = _HELD.where(grants.c.device == sa.bindparam("key"))


def of_device(conn: sa.Connection, device: str) -> Held:
    """The grants of a device: {release: Grant}."""
    return {release: Grant(*values) for _, release, *values in conn.execute(_HELD_BY_ONE, {"key": device})}


def of_devices(conn: sa.Connection, keys: Sequence[str]) -> dict[str, Held]:
    """The grants of several devices: {device: {release: Grant}}, without the devices that have none."""
    held: dict[str, Held] = {}
    for device, release, *values in conn.execute(_HELD.where(queries.among(conn, grants.c.device, keys))):
        held.setdefault(device, {})[release] = Grant(*values)
    return held


def apply_event(conn: sa.Connection, device: str, release: str, event: str, now_s: int) -> Held:
    """Apply an event that the cloud has detected itself; return the device's grants."""
    held = of_device(conn, device)
    if release in held and (state := update_states.next_state(held[release].state, event)):
        change(conn, device, release, state, now_s)
        return of_device(conn, device)
    return held


def apply_staged(conn: sa.Connection, device: str, release: str, attempt: int, now_s: int) -> Held:
    """Treat a check-in with this release staged like the report `staged`; return the device's grants."""
    apply_reports(conn, [Report(device, release, "staged", attempt, now_s)])
    return of_device(conn, device)


def offer_whole(conn: sa.Connection, device: str, release: str, reason: str | None, now_s: int) -> Held:
    """The device is offered the release's own file from now on; return its grants.

    `reason`: why the packed file failed on the device, which then is never offered another of the release; or None.
    """
    mine = sa.and_(grants.c.device == device, grants.c.release == release)
    row = conn.execute(sa.select(grants.c.file, grants.c.whole).where(mine)).mappings().one()
    if reason is not None and row["file"] is not None and not row["whole"]:
        packed_failures.record(conn, release, row["file"], reason, now_s)
    conn.execute(grants.update().where(mine).values(file=None, **({} if reason is None else {"whole": True})))
    change_log.note(conn, now_s, device)
    return of_device(conn, device)


class Report(NamedTuple):
    """A device's report about a release. `attempt` 0: the client does not count its attempts."""

    device: str
    release: str
    state: str
    attempt: int
    now_s: int
    reason: str = ""
    details: FailureDetails = failure_details.NONE


def apply_reports(conn: sa.Connection, reports: Sequence[Report]) -> list[tuple[int, bool]]:
    """Apply the reports, at most one of each device.

    Return (attempt, has the grant changed?) of each. If the client does not count its attempts, the cloud's count is
    used. If a packed file has failed on a device, its offer stays open: it is offered the whole image next.
    """
    held = state_changes.stored(conn, {each.device for each in reports}, {each.release for each in reports})
    results, changes = [], []
    for report in reports:
        grant = held.get((report.device, report.release))
        attempt = report.attempt or (grant["tries"] if grant else 1)
        found = None
        if grant and _is_packed_fault(grant, report):
            if grant["file"] is not None and not grant["whole"]:
                packed_failures.record(conn, report.release, grant["file"], report.reason[:64], report.now_s)
            changes.append(state_changes.Change(grant, grant["state"], report.now_s, {"whole": True}))
            results.append((attempt, True))
            continue
        if grant:  # before the states change: the stop rule names the failures
            failures.record_report(conn, grant, attempt, report.state, report.reason, report.details, report.now_s)
            event = update_states.event_of_report(report.state, report.reason.partition(":")[0], grant["ended"])
            found = update_states.apply_report(grant["state"], grant["attempt"], event, attempt)
        if grant and found:
            changes.append(state_changes.Change(grant, found[0], report.now_s, {"attempt": found[1]}))
        results.append((attempt, found is not None))
    state_changes.store(conn, changes)
    return results


def _is_packed_fault(grant: AnyRow, report: Report) -> bool:
    is_open = grant["state"] in OPEN
    if not is_open and report.attempt > grant["attempt"]:  # not a late report
        return False
    reason = report.reason.partition(":")[0]
    return update_states.is_packed_fault(report.state, reason, is_open and grant["file"] is not None)


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
        state_changes.move_count(counts["now"], grant["state"], state)
        state_changes.move_count(counts["ended"], grant["ended"] if grant["counted"] else None, None)
    counts["ended"].pop(None, None)
    change_log.note(conn, now_s)
    conn.execute(releases.update().where(releases.c.id == release).values(counts=json.dumps(counts), taken=taken))


def change(conn: sa.Connection, device: str, release: str, state: str, now_s: int, **more: Any) -> None:
    """Change a grant's state, and its columns in `more`."""
    grant = state_changes.stored(conn, [device], [release])[device, release]
    state_changes.store(conn, [state_changes.Change(grant, state, now_s, more)])


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

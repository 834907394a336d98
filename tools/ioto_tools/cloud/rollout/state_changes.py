"""Store state changes of grants in bulk, update the counts of their releases, and apply the stop rule.

A grant is one release offered to one device. A change updates the columns `counts` and `taken` of its release in the
same transaction, with one statement for all changes of the release. `counts` is JSON:

    now    {state: number of devices in this state}, without `offered`: its number is the slots in use minus all others
    ended  {state: number of devices whose last attempt ended in it}, for the stop rule. A device that tries again is
           still counted; devices that do not count (shared_ids.counts) are left out

Write transactions never overlap, so no other worker changes these columns meanwhile. The stop rule is applied after
each single change, so it stops a release at the same change, however many of them are stored at once.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..rules import stop_rule, update_states
from ..rules.selection import ACTIVE
from ..rules.update_states import FINISHED, WITHDRAWN
from ..storage import audit, change_log
from ..storage.queries import among_given, listed
from ..storage.tables import AnyRow, Row, devices, grants, releases
from . import failures, leases, lifecycle, shared_ids

MOST_NAMED = 3  # maximum number of failure groups in the event `release.stopped`
Counts = dict[str | None, int]  # {state: number of devices}
Grants = dict[tuple[str, str], AnyRow]  # {(device, release): row}

# The columns of a grant, of its release and of its device that a change depends on.
_STORED = (
    sa.select(grants, releases.c.version.label("offered"), devices.c.first_s, devices.c.vouched, devices.c.shared_s)
    .join(releases, releases.c.id == grants.c.release)
    .join(devices, devices.c.key == grants.c.device)
)
_CHANGED = (
    "state", "ended", "counted", "changed_s", "version", "tries", "attempt", "granted_s", "offered_s", "file", "whole",
)  # fmt: skip
_UPDATE = (
    grants.update()
    .where(grants.c.device == sa.bindparam("of_device"), grants.c.release == sa.bindparam("of_release"))
    .values({name: sa.bindparam(name) for name in _CHANGED})
)
_COUNT = (
    releases.update()
    .where(releases.c.id == sa.bindparam("of_release"))
    .values(counts=sa.bindparam("new_counts"), taken=sa.bindparam("new_taken"))
)


class Change(NamedTuple):
    """A change of `grant`, its stored row, to `state`; `more`: changes of other columns of _CHANGED."""

    grant: AnyRow
    state: str
    now_s: int
    more: Row = {}


def stored(conn: sa.Connection, keys: Iterable[str], updates: Iterable[str] | None = None) -> Grants:
    """The grants of the devices `keys`: of the releases `updates`, or all."""
    given = {"keys": listed(conn, keys)}
    if updates is not None:
        given["updates"] = listed(conn, updates)
    found = conn.execute(_stored(conn.dialect.name, *given), given)
    return {(row["device"], row["release"]): row for row in found.mappings()}


@functools.cache
def _stored(dialect: str, *given: str) -> Any:
    columns = {"keys": grants.c.device, "updates": grants.c.release}
    return _STORED.where(*(among_given(dialect, columns[name], name) for name in given))


def store(conn: sa.Connection, changes: Sequence[Change]) -> None:
    """Store the changes, at most one for each grant; update the counts and apply the stop rules."""
    if not changes:
        return
    found = {row["id"]: _Progress(row) for row in leases.all_locked(conn, {each.grant["release"] for each in changes})}
    conn.execute(_UPDATE, [found[each.grant["release"]].add(each) for each in changes])
    change_log.note_devices(conn, changes[0].now_s, [each.grant["device"] for each in changes])
    for progress in found.values():
        progress.store(conn)


class _Progress:
    """The counts of the release `row` during its changes."""

    def __init__(self, row: AnyRow) -> None:
        self.row = row
        counts = json.loads(row["counts"])
        self.now: Counts = counts.get("now", {})
        self.ended: Counts = counts.get("ended", {})
        self.taken: int = row["taken"]
        self.freed_s: int | None = None  # when a slot was given back at the limit
        self.stopped: tuple[int, Counts] | None = None  # (time of the stop, `ended` at that time)

    def add(self, change: Change) -> Row:
        """Count a change; return the parameters of _UPDATE.

        A withdrawn grant gives back its slot. It takes a slot again with a new offer (`granted_s` in `more`), or if the
        device has applied the update after all.
        """
        grant, state, now_s, more = change
        row = {name: grant[name] for name in _CHANGED} | {"state": state, "changed_s": now_s} | more
        slots = (grant["state"] == WITHDRAWN) - (state == WITHDRAWN)  # taken, or given back if negative
        if slots and "granted_s" not in more:  # with it, offer() has already taken the slot
            row["granted_s"] = now_s if slots > 0 else 0
            self._take(slots, now_s)
        if state in FINISHED:
            row |= {"ended": state, "counted": shared_ids.counts(grant, self.row["age_s"], now_s)}
        move_count(self.now, grant["state"], state)
        move_count(self.ended, grant["ended"] if grant["counted"] else None, row["ended"] if row["counted"] else None)
        self.now.pop("offered", None)
        self.ended.pop(None, None)
        if state in update_states.OUTCOMES:
            self._apply_stop_rule(now_s)
        return row | {"of_device": grant["device"], "of_release": grant["release"]}

    def _take(self, slots: int, now_s: int) -> None:
        limit = self.row["limit"]
        if slots < 0 and self.row["state"] == ACTIVE and limit is not None and self.taken >= limit:
            self.freed_s = now_s
        self.taken += slots

    def _apply_stop_rule(self, now_s: int) -> None:
        ended: Any = self.ended
        rule = self.row["stop_after"], self.row["stop_percent"]
        if self.row["state"] == ACTIVE and not self.stopped and stop_rule.applies(ended, *rule):
            self.stopped = now_s, dict(ended)

    def store(self, conn: sa.Connection) -> None:
        """Store the counts; stop the release if its stop rule applies."""
        release = self.row["id"]
        counts = json.dumps({"now": self.now, "ended": self.ended})
        conn.execute(_COUNT, {"of_release": release, "new_counts": counts, "new_taken": self.taken})
        if self.freed_s is not None:
            change_log.note(conn, self.freed_s)
        if self.stopped:
            now_s, ended = self.stopped
            groups = failures.groups(conn, release, MOST_NAMED)
            named = [{name: group[name] for name in ("reason", "cause", "devices")} for group in groups]
            lifecycle.move(conn, release, "stopped", now_s, audit.CLOUD, ended=ended, failures=named)


def move_count(counts: Counts, before: str | None, after: str | None) -> None:
    """Count a device in the state `after` instead of `before`."""
    counts[before] = counts.get(before, 0) - 1
    counts[after] = counts.get(after, 0) + 1
    if not counts[before]:
        del counts[before]


def device_counts(row: AnyRow, slots: int) -> dict[str, int]:
    """{state: number of devices} from a release's row and the number of its slots in use."""
    now: dict[str, int] = json.loads(row["counts"]).get("now", {})
    offered = slots - sum(n for state, n in now.items() if state != WITHDRAWN)
    return {"offered": offered, **now} if offered else now

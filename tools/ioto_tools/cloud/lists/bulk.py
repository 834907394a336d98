"""Actions on all devices of a list, in batches. Each batch is a transaction of its own, so no device waits long.

The whole action has one audit row, with the filter and the number of devices so far. If the action is interrupted, the
devices of the finished batches are changed, the others are not, and the audit row has the number of changed devices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import sqlalchemy as sa

from ..http.errors import CloudError, Conflict, Refusal
from ..operators import control, operator_tokens
from ..rollout import grants
from ..rules import update_states
from ..storage import audit
from ..storage.tables import Row, devices
from ..storage.tables import grants as grant_rows
from . import device_list
from .device_filter import Condition, DeviceFilter, was_offered

if TYPE_CHECKING:
    from ..site.site import Site

AT_ONCE = grants.AT_ONCE
QUIET_S = 60  # webhooks get the event of an interrupted action after this time
# {action: (the scope that it requires, the action of its audit row)}
ACTIONS = {
    "retry": ("publish", "release.retried"),
    "claim": ("admin", "product.devices_claimed"),
    "remove": ("admin", "product.devices_removed"),
    "pin": ("admin", "product.devices_pinned"),
    "unpin": ("admin", "product.devices_unpinned"),
}


@dataclass(frozen=True)
class Bulk:
    """A valid action, and the filter of the devices that it changes."""

    action: str  # a key of ACTIONS
    wanted: DeviceFilter
    version: str | None  # that the devices are pinned to

    @property
    def subject(self) -> str:
        """The subject of the audit row."""
        found = self.wanted.release if self.action == "retry" else self.wanted.product
        assert found is not None  # prepare() has checked it
        return found

    @property
    def detail(self) -> Row:
        """The detail of the audit row, without the number of devices."""
        product = {"product": self.wanted.product} if self.action == "retry" else {}
        version = {"version": self.version} if self.version else {}
        return {**product, **version, "filter": urlencode(self.wanted.said)}

    @property
    def changes(self) -> Condition:
        """The condition of the devices that the action changes."""
        if self.action == "retry":
            states = grant_rows.c.state.in_(sorted(update_states.RETRYABLE)), grant_rows.c.tries > 0
            return was_offered(grant_rows.c.release == self.wanted.release, *states)
        if self.action == "claim":
            return sa.not_(devices.c.claimed)
        if self.action == "pin":
            return devices.c.pin.is_distinct_from(self.version)
        return devices.c.pin.is_not(None) if self.action == "unpin" else sa.true()


def prepare(site: "Site", wanted: DeviceFilter, action: str, version: str | None = None) -> Bulk:
    """Check the action and what it needs. CloudError names what is missing; Refusal 403: the scope does not suffice."""
    if action not in ACTIONS:
        raise CloudError("action %s: expected: one of %s" % (action[:80], ", ".join(ACTIONS)))
    scope = ACTIONS[action][0]
    if site.scope in operator_tokens.SCOPES and not operator_tokens.includes(site.scope, scope):
        raise Refusal(403, "%s needs a token with the scope %s; yours has the scope %s" % (action, scope, site.scope))
    if wanted.product is None:
        raise CloudError("%s: for the devices of which product? Add product to the filter" % action)
    if action == "retry":
        if wanted.release is None:
            raise CloudError("retry: of which update? Add release to the filter: its id, or PRODUCT@VERSION")
        site.database.read(control.uncancelled, wanted.release)
    if (action == "pin") != bool(version):
        raise CloudError("pin: %s" % ("only for the action pin" if version else "expected: the version to pin to"))
    return Bulk(action, replace(wanted, sort="id"), control.pinned_version(version) if version else None)


def count(site: "Site", bulk: Bulk, after: str = "") -> Row:
    """Count the devices that the action would change, as device_list.count() does."""
    return device_list.count(site, bulk.wanted, after, bulk.changes)


def change(site: "Site", bulk: Bulk, run: int | None = None, after: str = "") -> Row:
    """Change the next devices, at most about AT_ONCE of them.

    {"run": id of the audit row, "devices": number of devices changed so far in this run, "after": position at which the
    next call continues, or None if the action is finished}. The next call gets `run` and `after` of the previous one.
    Conflict if `run` is not an unfinished run of this action, filter and operator.
    """
    if run is not None:
        site.database.read(_unfinished, bulk, run, site.who)
    keys, _, further = site.database.read(device_list.find, bulk.wanted, after, AT_ONCE, bulk.changes)
    if not keys and (run is None or further is not None):
        n = site.database.read(_unfinished, bulk, run, site.who)["devices"] if run is not None else 0
        return {"run": run, "devices": n, "after": further}
    now_s = site.now_s()
    run, n = site.database.write(_change, bulk, keys, run, further is None, now_s, site.who)
    return {"run": run, "devices": n, "after": further}


def _unfinished(conn: sa.Connection, bulk: Bulk, run: int, who: str) -> Row:
    """The detail of the audit row of an unfinished run."""
    row = audit.row(conn, run)
    same = row is not None and (row["who"], row["action"]) == (who, ACTIONS[bulk.action][1])
    if (
        row is None
        or not same
        or row["detail"].get("finished") is not False
        or not _matches(row["detail"], bulk.detail)
    ):
        raise Conflict("run %d: it is not an unfinished run of this action with this filter: begin without run" % run)
    detail: Row = row["detail"]
    return detail


def _matches(detail: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return all(detail.get(name) == value for name, value in wanted.items())


def _change(
    conn: sa.Connection, bulk: Bulk, keys: list[str], run: int | None, is_last: bool, now_s: int, who: str
) -> tuple[int, int]:
    """Change those of the devices that still match the filter; return (id of the audit row, number so far)."""
    which = *device_list.scope_of(conn, bulk.wanted)[0], bulk.changes
    found = list(conn.execute(sa.select(devices.c.key).where(devices.c.key.in_(keys), *which)).scalars())
    before = _unfinished(conn, bulk, run, who)["devices"] if run is not None else 0
    if found:
        _apply(conn, bulk, found, now_s)
    n = before + len(found)
    detail = {**bulk.detail, "devices": n, "finished": is_last}
    if run is None:
        run = audit.note(conn, now_s, who, ACTIONS[bulk.action][1], bulk.subject, **detail)
    audit.amend(conn, run, detail, now_s if is_last else now_s + QUIET_S)
    return run, n


def _apply(conn: sa.Connection, bulk: Bulk, keys: list[str], now_s: int) -> None:
    if bulk.action == "retry":
        assert bulk.wanted.release is not None  # prepare() has checked it
        control.uncancelled(conn, bulk.wanted.release)
        rows = grants.rows(conn, bulk.wanted.release, grant_rows.c.device.in_(keys))
        grants.retry(conn, bulk.wanted.release, rows, now_s)
    elif bulk.action == "remove":
        control.remove_devices(conn, keys, now_s)
    else:
        values = control.CLAIMED if bulk.action == "claim" else {"pin": bulk.version}
        control.change_devices(conn, keys, values, now_s)

"""The states of a release, as one table, and the functions that change a release for operators and its stop rule.

One transaction changes the row, revokes the leases, writes the audit row and records the change for the workers.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ..http.errors import Conflict
from ..rules.selection import ACTIVE
from ..storage import audit, change_log, queries
from ..storage.tables import AnyRow, Row, releases
from . import leases

# action -> {state: next state}
MOVES = {
    "approved": {"awaiting": "active"},
    "paused": {"active": "paused"},
    "resumed": {"paused": "active"},
    "stopped": {"active": "paused"},  # by its stop rule
    "cancelled": {"active": "cancelled", "awaiting": "cancelled", "paused": "cancelled"},
}


def move(conn: sa.Connection, release: str, action: str, now_s: int, who: str, **detail: Any) -> None:
    """Apply an action of MOVES, for example `paused`, to the release (its id).

    Raises Conflict, without any change, if MOVES does not allow the action in the release's state.
    """
    row = leases.locked(conn, release)
    state = MOVES[action].get(row["state"])
    if state is None:
        allowed = " or ".join(MOVES[action])
        name = queries.product_name(conn, row["product"])
        raise Conflict(
            "%s %s is %s: only a release that is %s can be %s" % (name, row["version"], row["state"], allowed, action)
        )
    change(conn, row, {"state": state}, action, now_s, who, **detail)


def check_open(conn: sa.Connection, row: AnyRow) -> None:
    """Raises Conflict if the release `row` is cancelled or archived: a change of it would have no effect."""
    if row["state"] == "cancelled":
        state = "cancelled" if row["archived_s"] is None else "archived"
        name = queries.product_name(conn, row["product"])
        raise Conflict("%s %s is %s: publish a higher version instead" % (name, row["version"], state))


def change(
    conn: sa.Connection,
    row: AnyRow,
    values: Row,
    action: str,
    now_s: int,
    who: str,
    **detail: Any,
) -> None:
    """Set `values` in the release `row` (locked).

    Its leases are revoked, so that no slot is granted under the old values. `action`: as in the audit log, without the
    prefix `release.`. The time of a stage begins again when the release is approved, resumed or enabled.
    """
    if row["stages"] is not None and (values.get("state") == ACTIVE or values.get("enabled")):
        values = {**values, "stage_s": now_s}
    leases.revoke(conn, row)
    conn.execute(releases.update().where(releases.c.id == row["id"]).values(values))
    change_log.note(conn, now_s)
    detail = {"product": row["product"], "version": row["version"], **detail}
    audit.note(conn, now_s, who, "release." + action, row["id"], **detail)


def offered(conn: sa.Connection, updates: Iterable[str]) -> set[str]:
    """Those of the releases `updates` that are enabled and active."""
    found = sa.select(releases.c.id).where(queries.among(conn, releases.c.id, updates))
    return set(conn.execute(found.where(releases.c.enabled, releases.c.state == ACTIVE)).scalars())

"""Operators' changes to releases and devices.

Each change is one transaction, with an audit row and a change record for the workers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..devices import tokens
from ..http.errors import CloudError, Conflict
from ..rollout import failures, grants, leases, lifecycle, shared_ids, stage_gates
from ..rules import selection, stages, terms, update_states
from ..storage import audit, change_log, queries
from ..storage.tables import Row, devices, reports
from ..storage.tables import grants as grant_rows
from . import overview

if TYPE_CHECKING:
    from ..site.site import Site

Rotated = tuple[int, list[tuple[str, str]]]  # the result of rotate()

# ---- releases: `word` is an update's id, or PRODUCT@VERSION


def enable(site: "Site", word: str, enabled: bool) -> Row:
    """Enable or disable the update; return overview.update()."""
    return overview.update(site, site.database.write(_enable, word, enabled, site.now_s(), site.who))


def _enable(conn: sa.Connection, word: str, enabled: bool, now_s: int, who: str) -> str:
    row = _open_release(conn, word)
    if row["enabled"] != enabled:
        lifecycle.change(conn, row, {"enabled": enabled}, "enabled" if enabled else "disabled", now_s, who)
    return row["id"]


def change_state(site: "Site", word: str, action: str) -> Row:
    """Apply an action of lifecycle.MOVES, for example `paused`, to the update; return overview.update()."""
    return overview.update(site, site.database.write(_move, word, action, site.now_s(), site.who))


def _move(conn: sa.Connection, word: str, action: str, now_s: int, who: str) -> str:
    id = overview.find_release(conn, word)["id"]
    lifecycle.move(conn, id, action, now_s, who)
    return id


def set_terms(site: "Site", word: str, said: dict[str, Any]) -> Row:
    """Change terms of the update's rollout: {term: text}; return overview.update().

    A new percentage, limit, rate or stage does not affect devices that were offered the update already.
    """
    return overview.update(site, site.database.write(_set_terms, word, said, site.now_s(), site.who))


def _set_terms(conn: sa.Connection, word: str, said: dict[str, Any], now_s: int, who: str) -> str:
    row = _open_release(conn, word)
    values = terms.parse_terms(said, dict(row), now_s)
    values |= stages.place(values, said, row, stage_gates.ended(row), now_s)
    changed = {name: value for name, value in values.items() if value != row[name]}
    if changed:
        lifecycle.change(conn, row, changed, "set", now_s, who, set=changed)
    return row["id"]


def advance(site: "Site", word: str, stage: int | None = None) -> Row:
    """Begin the update's next stage now, whatever its gate waits for; return overview.update().

    `stage`: the number of the current stage, from 1; Conflict if the update is in another one. None: any.
    """
    return overview.update(site, site.database.write(_advance, word, stage, site.now_s(), site.who))


def _advance(conn: sa.Connection, word: str, stage: int | None, now_s: int, who: str) -> str:
    row = _open_release(conn, word)
    stage_gates.advance(conn, row, stage, now_s, who)
    return row["id"]


def hold(site: "Site", word: str, held: bool) -> Row:
    """Hold the update in its current stage, or end the hold; return overview.update()."""
    return overview.update(site, site.database.write(_hold, word, held, site.now_s(), site.who))


def _hold(conn: sa.Connection, word: str, held: bool, now_s: int, who: str) -> str:
    row = _open_release(conn, word)
    stage_gates.hold(conn, row, held, now_s, who)
    return row["id"]


def _open_release(conn: sa.Connection, word: str) -> sa.RowMapping:
    """The release's row, locked. Raises Conflict if it is cancelled or archived."""
    row: sa.RowMapping = leases.locked(conn, overview.find_release(conn, word)["id"])
    lifecycle.check_open(conn, row)
    return row


def retry(site: "Site", word: str, ids: Sequence[str] = (), states: Sequence[str] = ()) -> int:
    """Let devices try the update again; return how many.

    `ids`: of the devices; empty: all devices. `states`: only devices in one of these states; empty:
    update_states.RETRYABLE. CloudError, without any change, if one of the devices `ids` can't try the update again.
    """
    for state in states:
        if state not in update_states.RETRYABLE:
            raise CloudError("state %s: expected: one of %s" % (state, ", ".join(sorted(update_states.RETRYABLE))))
    if ids:
        return site.database.write(_retry_some, word, ids, states, site.now_s(), site.who)
    n = 0
    while more := site.database.write(
        _retry_all, word, states or sorted(update_states.RETRYABLE), site.now_s(), site.who
    ):
        n += more
    return n


def _retry_some(conn: sa.Connection, word: str, ids: Sequence[str], states: Sequence[str], now_s: int, who: str) -> int:
    release = uncancelled(conn, word)
    keys = {overview.find_device(conn, id, release["product"])["key"]: id for id in ids}
    found = {row["device"]: row for row in grants.rows(conn, release["id"], grant_rows.c.device.in_(keys))}
    for key, id in keys.items():
        state = found[key]["state"] if key in found else None
        if state is None:
            raise CloudError(
                "device %s: it was never offered %s %s" % (id, release["product_name"], release["version"])
            )
        if state not in (states or update_states.RETRYABLE):
            raise Conflict(
                "device %s: the state of the update is %s; it can be tried again only if its state is %s"
                % (id, state, " or ".join(states or sorted(update_states.RETRYABLE)))
            )
    return _retry(conn, release, list(found.values()), now_s, who)


def _retry_all(conn: sa.Connection, word: str, states: Sequence[str], now_s: int, who: str) -> int:
    release = uncancelled(conn, word)
    which = grant_rows.c.state.in_(states), grant_rows.c.tries > 0
    return _retry(conn, release, grants.rows(conn, release["id"], *which), now_s, who)


def uncancelled(conn: sa.Connection, word: str) -> Row:
    """The release's row with its `product_name`. Raises Conflict if it is cancelled or archived."""
    release = overview.find_release(conn, word)
    lifecycle.check_open(conn, release)
    return {**release, "product_name": queries.product_name(conn, release["product"])}


def _retry(conn: sa.Connection, release: Row, rows: list[Row], now_s: int, who: str) -> int:
    if rows:
        grants.retry(conn, release["id"], rows, now_s)
        device = queries.device(conn, rows[0]["device"]) if len(rows) == 1 else None
        some = {"device": device["id"]} if device else {"devices": len(rows)}
        audit.note(
            conn,
            now_s,
            who,
            "release.retried",
            release["id"],
            product=release["product"],
            version=release["version"],
            **some,
        )
    return len(rows)


# ---- devices: `id` and `product` as in overview.find_device()


def remove(site: "Site", id: str, product: str | None = None) -> None:
    """Remove the device, and delete its properties, reports and failures.

    Its next request is refused with `Cannot find device`, and it must register again.
    """
    site.database.write(_remove, id, product, site.now_s(), site.who)


def _remove(conn: sa.Connection, id: str, product: str | None, now_s: int, who: str) -> None:
    key = _registered_device(conn, id, product)["key"]
    remove_devices(conn, [key], now_s)
    audit.note_device(conn, now_s, who, "device.removed", key)


def remove_devices(conn: sa.Connection, keys: Sequence[str], now_s: int) -> None:
    """remove() for devices by their keys, without an audit row."""
    change_devices(conn, keys, {"removed_s": now_s, "properties": "{}"}, now_s)
    conn.execute(reports.delete().where(reports.c.device.in_(keys)))
    failures.delete_of_devices(conn, keys)


def unclaim(site: "Site", id: str, product: str | None = None) -> None:
    """Make the device unclaimed.

    Its next request is refused with `Cannot find device`, and it gets no token until it is claimed.
    """
    values = {"claimed": False, "awaited": False, "vouched": False}
    site.database.write(_change_device, id, product, values, "released", site.now_s(), site.who)


def claim(site: "Site", id: str, product: str | None = None) -> None:
    """Claim the device: its next registration always gets a token.

    The first use of this token ends the device's other tokens.
    """
    site.database.write(_change_device, id, product, CLAIMED, "claimed", site.now_s(), site.who)


CLAIMED = {"claimed": True, "awaited": True, "vouched": True}  # the values of a device that was just claimed


def pin(site: "Site", id: str, version: str | None, product: str | None = None) -> None:
    """Pin the device to a version, which may be lower than its own; None removes the pin.

    A pinned device is offered only this version.
    """
    action = "unpinned" if version is None else "pinned"
    values = {"pin": None if version is None else pinned_version(version)}
    site.database.write(_change_device, id, product, values, action, site.now_s(), site.who)


def pinned_version(version: str) -> str:
    """The value of the column `pin`. CloudError if `version` is not a version."""
    if not selection.is_version(version):
        raise CloudError("version %s: %s" % (version[:80], selection.VERSION_WANTED))
    return selection.precedence(version)


def change_devices(conn: sa.Connection, keys: Sequence[str], values: Row, now_s: int) -> None:
    """Set `values` in the rows of devices by their keys, without an audit row."""
    conn.execute(devices.update().where(devices.c.key.in_(keys)).values(values))
    for key in keys:
        change_log.note(conn, now_s, key)


def _change_device(
    conn: sa.Connection, id: str, product: str | None, values: Row, action: str, now_s: int, who: str
) -> str:
    """Set `values` in the device's row; return its key."""
    key = _registered_device(conn, id, product)["key"]
    change_devices(conn, [key], values, now_s)
    detail = {"version": values["pin"]} if values.get("pin") else {}
    audit.note_device(conn, now_s, who, "device." + action, key, **detail)
    return key


def _registered_device(conn: sa.Connection, id: str, product: str | None) -> Row:
    """The device's row. Raises Conflict if it is removed.

    The next registration resets the row of a removed device, so a change would be lost.
    """
    found = overview.find_device(conn, id, product)
    if found["removed_s"] is not None:
        raise Conflict("device %s is removed: change it after it has registered again, or after `ioto device new`" % id)
    return found


def revoke(site: "Site", id: str, product: str | None = None) -> None:
    """Revoke the device's tokens: its next request is refused, and it gets no token until it is claimed."""
    site.database.write(_revoke, id, product, site.now_s(), site.who)


def _revoke(conn: sa.Connection, id: str, product: str | None, now_s: int, who: str) -> None:
    tokens.revoke(conn, _registered_device(conn, id, product)["key"], now_s, who)


def rotate(site: "Site", ids: Sequence[str] = (), product: str | None = None) -> Rotated:
    """Rotate devices' tokens at their next check-ins.

    `ids`: of the devices; empty: all devices. `product`: only devices of this product. Return (number of devices, [(id,
    product's name)] of the devices whose clients never accept a new token).
    """
    if ids:
        return site.database.write(_rotate_named, ids, product, site.now_s(), site.who)
    n = 0
    keep: list[tuple[str, str]] = []
    for page in overview.device_pages(site, product):
        more, kept = site.database.write(_rotate, page, site.now_s(), site.who)
        n, keep = n + more, keep + kept
    return n, keep


def _rotate_named(conn: sa.Connection, ids: Sequence[str], product: str | None, now_s: int, who: str) -> Rotated:
    return _rotate(conn, [_registered_device(conn, id, product) for id in ids], now_s, who)


def _rotate(conn: sa.Connection, rows: list[Row], now_s: int, who: str) -> Rotated:
    tokens.rotate(conn, [row["key"] for row in rows], now_s, who)
    return len(rows), [(row["id"], row["product_name"]) for row in rows if shared_ids.keeps_its_token(row)]

"""What an operator changes of releases and devices: each in one transaction with its audit row, and the workers are told."""

from ..devices import tokens
from ..http.errors import CloudError, Conflict
from ..rollout import grants, identity, leases, lifecycle
from ..rules import selection, terms, update_states
from ..storage import audit, changes, queries
from ..storage.tables import devices, reports
from ..storage.tables import grants as grant_rows
from . import overview

# ---- releases: `word` is an update's id, or PRODUCT@VERSION


def enable(site, word, enabled):
    """Switch the update on or off; it as fleet.update() gives it."""
    return overview.update(site, site.database.write(_enable, word, enabled, site.now_s(), site.who))


def _enable(conn, word, enabled, now_s, who):
    row = _locked(conn, word)
    if row["enabled"] != enabled:
        lifecycle.change(conn, row, {"enabled": enabled}, "enabled" if enabled else "disabled", now_s, who)
    return row["id"]


def move(site, word, action):
    """The update is `approved`, `paused`, `resumed` or `cancelled`; it as fleet.update() gives it."""
    return overview.update(site, site.database.write(_move, word, action, site.now_s(), site.who))


def _move(conn, word, action, now_s, who):
    id = overview.release(conn, word)["id"]
    lifecycle.move(conn, id, action, now_s, who)
    return id


def set_terms(site, word, said):
    """Change the terms {term: text} of the update's roll-out; devices that have it keep it. It as fleet.update() gives it."""
    return overview.update(site, site.database.write(_set, word, said, site.now_s(), site.who))


def _set(conn, word, said, now_s, who):
    row = _locked(conn, word)
    values = terms.read(said, row, now_s)
    changed = {name: value for name, value in values.items() if value != row[name]}
    if changed:
        lifecycle.change(conn, row, changed, "set", now_s, who, set=changed)
    return row["id"]


def _locked(conn, word):
    return leases.locked(conn, overview.release(conn, word)["id"])


def retry(site, word, ids=(), states=()):
    """The devices `ids`, or else all that stand at one of `states` (all of rollout.RETRIED if empty), may try the update again; how
    many. CloudError for a device that has nothing to try again; then nothing has changed.
    """
    for state in states:
        if state not in update_states.RETRIED:
            raise CloudError("state %s: expected: one of %s" % (state, ", ".join(sorted(update_states.RETRIED))))
    if ids:
        return site.database.write(_retry_some, word, ids, states, site.now_s(), site.who)
    n = 0
    while more := site.database.write(_retry_all, word, states or sorted(update_states.RETRIED), site.now_s(), site.who):
        n += more
    return n


def _retry_some(conn, word, ids, states, now_s, who):
    release = _open(conn, word)
    keys = {overview.known(conn, id, release["product"])["key"]: id for id in ids}
    found = {row["device"]: row for row in grants.rows(conn, release["id"], grant_rows.c.device.in_(keys))}
    for key, id in keys.items():
        state = found[key]["state"] if key in found else None
        if state is None:
            raise CloudError("device %s: it was never offered %s %s" % (id, release["product_name"], release["version"]))
        if state not in (states or update_states.RETRIED):
            raise Conflict("device %s: the update is %s on it: only one that is %s can be tried again" % (id, state, " or ".join(states or sorted(update_states.RETRIED))))
    return _retry(conn, release, list(found.values()), now_s, who)


def _retry_all(conn, word, states, now_s, who):
    release = _open(conn, word)
    which = grant_rows.c.state.in_(states), grant_rows.c.tries > 0
    return _retry(conn, release, grants.rows(conn, release["id"], *which), now_s, who)


def _open(conn, word):
    release = overview.release(conn, word)
    name = queries.product_by_id(conn, release["product"])["name"]
    if release["state"] == "cancelled":
        raise Conflict("%s %s is cancelled: publish a higher version instead" % (name, release["version"]))
    return {**release, "product_name": name}


def _retry(conn, release, rows, now_s, who):
    if rows:
        grants.retry(conn, release["id"], rows, now_s)
        some = {"device": queries.device(conn, rows[0]["device"])["id"]} if len(rows) == 1 else {"devices": len(rows)}
        audit.note(conn, now_s, who, "release.retried", release["id"], product=release["product"], version=release["version"], **some)
    return len(rows)


# ---- devices: `id` with `product` as fleet.known() takes them


def remove(site, id, product=None):
    """The device is told at its next call that it is not known; it must register again. Its properties and reports are deleted."""
    site.database.write(_remove, id, product, site.now_s(), site.who)


def _remove(conn, id, product, now_s, who):
    key = _device(conn, id, product, {"removed_s": now_s, "properties": "{}"}, "removed", now_s, who)
    conn.execute(reports.delete().where(reports.c.device == key))


def release(site, id, product=None):
    """The device is nobody's: it is told at its next call that it is not known, and gets no token before it is claimed."""
    values = {"claimed": False, "awaited": False, "vouched": False}
    site.database.write(_device, id, product, values, "released", site.now_s(), site.who)


def claim(site, id, product=None):
    """The device gets a token when it registers the next time, whatever was before; its first use ends the other tokens."""
    values = {"claimed": True, "awaited": True, "vouched": True}
    site.database.write(_device, id, product, values, "claimed", site.now_s(), site.who)


def pin(site, id, version, product=None):
    """The device is offered this version and no other, lower ones too; None: whatever there is."""
    if version is not None and not selection.is_version(version):
        raise CloudError("version %s: %s" % (version[:80], selection.VERSION_WANTED))
    action = "unpinned" if version is None else "pinned"
    values = {"pin": version and selection.precedence(version)}
    site.database.write(_device, id, product, values, action, site.now_s(), site.who)


def _device(conn, id, product, values, action, now_s, who):
    """The device has `values` from now on; its key."""
    key = _there(conn, id, product)["key"]
    conn.execute(devices.update().where(devices.c.key == key).values(values))
    changes.note(conn, now_s, key)
    detail = {"version": values["pin"]} if values.get("pin") else {}
    audit.note_device(conn, now_s, who, "device." + action, key, **detail)
    return key


def _there(conn, id, product):
    """The device's row. Conflict if it is removed: its next registration begins anew, whatever would be said of it now."""
    found = overview.known(conn, id, product)
    if found["removed_s"] is not None:
        raise Conflict("device %s is removed: it can be changed once it has registered again, or with `ioto device new`" % id)
    return found


def revoke(site, id, product=None):
    """End the device's tokens: it is told so at its next call, and gets no other before it is claimed."""
    site.database.write(_revoke, id, product, site.now_s(), site.who)


def _revoke(conn, id, product, now_s, who):
    tokens.revoke(conn, _there(conn, id, product)["key"], now_s, who)


def rotate(site, ids=(), product=None):
    """Exchange the tokens of the devices `ids` (of `product`, where it is given), or without ids of all of a product: each gets another
    at its next check-in. (how many, [(id, product's name)] of those among them whose clients take no other).
    """
    if ids:
        return site.database.write(_rotate_named, ids, product, site.now_s(), site.who)
    n, keep = 0, []
    for page in overview.rows(site, product):
        more, kept = site.database.write(_rotate, page, site.now_s(), site.who)
        n, keep = n + more, keep + kept
    return n, keep


def _rotate_named(conn, ids, product, now_s, who):
    return _rotate(conn, [_there(conn, id, product) for id in ids], now_s, who)


def _rotate(conn, rows, now_s, who):
    tokens.rotate(conn, [row["key"] for row in rows], now_s, who)
    return len(rows), [(row["id"], row["product_name"]) for row in rows if identity.keeps_its_token(row)]

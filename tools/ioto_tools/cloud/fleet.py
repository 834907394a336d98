"""What the cloud knows, put together for an operator: products, updates with their counts, devices with their history.

Plain dicts and lists, the same for tables and --json. Times are Unix seconds.
"""

import json

from . import database, progress, selection, tokens
from .refusal import CloudError, Missing


def products(site):
    return site.database.read(database.all_products)


def updates(site, product=None):
    """[{update, product, version, size, checksum, enabled, description, created_s, states}], products by name, newest first.

    `states`: {state: number of devices that stand there}.
    """
    found, reports = site.database.read(_updates, product)
    by_release = {}
    for report in reports:
        by_release.setdefault(report["release"], []).append(report)
    found = sorted(selection.newest_first(found), key=lambda release: release["product_name"])
    return [_update(release, progress.counts(by_release.get(release["id"], []))) for release in found]


def _updates(conn, product):
    return database.all_releases(conn, product and _product(conn, product)["id"]), database.all_reports(conn)


def update(site, word):
    """One update (its id, or PRODUCT@VERSION) as updates() gives it."""
    id = site.database.read(_release, word)["id"]
    return next(each for each in updates(site) if each["update"] == id)


def _update(release, states):
    kept = ("version", "size", "checksum", "enabled", "description", "created_s")
    return {"update": release["id"], "product": release["product_name"], **{k: release[k] for k in kept}, "states": states}


def enable(site, word, enabled):
    """Switch the update `word` (its id, or PRODUCT@VERSION) on or off; it as updates() gives it."""
    id = site.database.write(_enable, word, enabled)
    return next(update for update in updates(site) if update["update"] == id)


def _enable(conn, word, enabled):
    id = _release(conn, word)["id"]
    database.enable(conn, id, enabled)
    return id


def _release(conn, word):
    found = database.release(conn, word)
    name, at, version = word.rpartition("@")
    if found is None and at:
        found = database.release_by_version(conn, _product(conn, name)["id"], selection.precedence(version))
    if found is None:
        raise Missing("update %s: there is none; `ioto updates` lists them, name one as PRODUCT@VERSION or by its id" % word)
    return found


def devices(site, product=None):
    """[{id, product, version, seen_s, registered_s, registrations, checkins, removed, update}] by id.

    `update`: the state of the update it last reported about, {update, version, state, attempt, reason, received_s}, or None.
    """
    found, reports, versions = site.database.read(_devices, product)
    by_device = {}
    for report in reports:
        by_device.setdefault(report["device"], []).append(dict(report, update_version=versions[report["release"]]))
    return [_device(device, by_device.get(device["id"], [])) for device in found]


def _devices(conn, product):
    found = database.all_devices(conn, product and _product(conn, product)["id"])
    versions = {release["id"]: release["version"] for release in database.all_releases(conn)}
    return found, database.all_reports(conn), versions


def _device(device, reports):
    kept = ("id", "version", "seen_s", "registered_s", "registrations", "checkins", "unknown_reports")
    last = max(progress.by_update(reports).values(), key=lambda report: report["received_s"], default=None)
    return {
        **{k: device[k] for k in kept},
        "product": device["product_name"],
        "removed": device["removed_s"] is not None,
        "update": last and _state(last),
    }


def _state(report):
    kept = ("state", "attempt", "reason", "received_s")
    return {"update": report["release"], "version": report["update_version"], **{k: report[k] for k in kept}}


def device(site, id):
    """One device as devices() gives it, with `properties` of its last check-in, `updates` and all `reports`."""
    found, reports = site.database.read(_history, id)
    return {
        **_device(found, reports),
        "properties": json.loads(found["properties"]),
        "updates": [_state(report) for report in progress.by_update(reports).values()],
        "reports": [{**_state(report), "success": report["success"], "runs": report["version"], "times": report["times"]} for report in reports],
    }


def _history(conn, id):
    return _known(conn, id), database.reports_of(conn, id)


def remove(site, id):
    """The device is told at its next call that it is not known; it must register again."""
    site.database.write(_remove, id, site.now_s())


def _remove(conn, id, now_s):
    _known(conn, id)
    database.remove(conn, id, now_s)


def revoke(site, id):
    """End the device's tokens: it is told so at its next call and may register again at once."""
    site.database.write(_revoke, id, site.now_s(), site.who)


def _revoke(conn, id, now_s, who):
    _known(conn, id)
    tokens.revoke(conn, id, now_s, who)


def rotate(site, ids=(), product=None):
    """Exchange the tokens of the devices `ids`, or of all of a product: each gets another at its next check-in. How many."""
    return site.database.write(_rotate, ids, product, site.now_s(), site.who)


def _rotate(conn, ids, product, now_s, who):
    for id in ids:
        _known(conn, id)
    if product:
        ids = [each["id"] for each in database.all_devices(conn, _product(conn, product)["id"])]
    tokens.rotate(conn, ids, now_s, who)
    return len(ids)


def _known(conn, id):
    found = database.device(conn, id)
    if found is None:
        raise Missing("device %s: there is none; `ioto devices` lists them" % id)
    return found


def _product(conn, word):
    found = database.product(conn, word)
    if found is None:
        raise Missing("product %s: there is none; `ioto product list` lists them" % word)
    return found

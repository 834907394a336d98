"""Why a device is offered what it is, and what a release not yet published would come to. Reads only."""

import json
from collections import Counter

from ioto import semver

from . import catalogue, database, fleet, grants, leases, selection
from .selection import Asker

EXAMPLES = 5


def offers(conn, device, now_s):
    """[{update, version, why, terms}] for a device's row, highest release first, cancelled ones too: fleet.device() has the words."""
    rows = database.releases_of(conn, device["product"])
    releases = sorted(map(catalogue.release, rows), key=lambda release: release.order, reverse=True)
    asker = _asker(device, grants.of(conn, device["id"]))
    judged = selection.explain(releases, asker, now_s, _room(conn, now_s))
    return [
        {"update": release.id, "version": release.version, "why": why, "terms": _terms(release, asker) if why == "policy" else []}
        for release, why in judged
    ]


def _terms(release, asker):
    """The terms of the release's policy, and which of them hold for the device."""
    return release.policy.explain(asker.properties, release.facts)


def _asker(device, held):
    version = _runs(device, held) or ""
    order = semver.parse(version) if semver.is_valid(version) else None
    pin = device["pin"] and semver.parse(device["pin"])
    return Asker(device["id"], order, json.loads(device["properties"]), pin, held, since_s=0 if device["vouched"] else device["first_s"])


def _runs(device, held):
    """The version that runs as far as is known: what was confirmed since the last check-in, else what that said."""
    last = max(held.values(), key=lambda grant: grant.offered_s, default=None)
    if last and last.state == "confirmed" and last.changed_s >= (device["seen_s"] or 0):
        return last.version
    return device["version"]


def _room(conn, now_s):
    def room(release):
        try:
            row = database.release(conn, release.id)
            leases.room(conn, row, row["taken"], now_s)
        except leases.Full as e:
            return e.why

    return room


def dry_run(site, row):
    """What would become of a release's row, were it published: {"devices": n, "found": {why: {"count": n, "examples": [id]}}}.

    Over all stored devices of the product, by their last check-ins; `why` as in selection.WHY, "offered" for those who would be
    offered it. Limit and rate leave out nobody here: they say when, not who.
    """
    found = dry_run_slice(site, row)
    return {name: found[name] for name in ("devices", "found")}


def dry_run_slice(site, row, so_far=None, most=None):
    """dry_run() of `most` devices (at least; None: of all) after `so_far`, and in "after" the last of them; None: there is no other."""
    release = catalogue.release(row)
    before = so_far or {"devices": 0, "after": "", "found": {}}
    counts = Counter({why: each["count"] for why, each in before["found"].items()})
    examples = {why: list(each["examples"]) for why, each in before["found"].items()}
    after = before["after"]
    for page in fleet.rows(site, row["product"], after):
        for device in page:
            why = selection.against(release, _asker(device, {}), row["start_s"] or site.now_s(), lambda release: None) or "offered"
            counts[why] += 1
            if counts[why] <= EXAMPLES:
                examples.setdefault(why, []).append(device["id"])
        after = page[-1]["id"] if len(page) == fleet.PAGE else None
        if most and counts.total() - before["devices"] >= most:
            break
    found = {why: {"count": n, "examples": examples[why]} for why, n in counts.most_common()}
    return {"devices": counts.total(), "found": found, "after": after}

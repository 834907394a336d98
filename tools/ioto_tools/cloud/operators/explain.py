"""Explains which releases a device is offered, and why it is not offered the others. Read-only."""

import json

import sqlalchemy as sa
from ioto import semver

from ..rollout import catalogue, grants, leases, stage_gates
from ..rules import selection
from ..rules.selection import Grant, Release, RequestingDevice, Room
from ..storage import queries
from ..storage.tables import Row


def offers(conn: sa.Connection, device: Row, now_s: int) -> list[Row]:
    """For each release of the device's product: the reason why the device is not offered it, or None.

    Return [{update, version, why, terms, stage}], highest release first, including cancelled but no archived ones.
    `device`: a row. overview.device() explains `why`.
    """
    rows = [row for row in queries.releases_of(conn, device["product"]) if row["archived_s"] is None]
    labels = {row["id"]: stage_gates.label(row) for row in rows if row["stages"] is not None}
    releases = sorted(map(catalogue.release, rows), key=lambda release: release.order, reverse=True)
    asks = asker(device, grants.of_device(conn, device["key"]))
    judged = selection.explain(releases, asks, now_s, _slot_check(conn, now_s))
    return [
        {
            "update": release.id,
            "version": release.version,
            "why": why,
            "terms": _policy_terms(release, asks) if why == "policy" else [],
            "stage": labels[release.id] if why == "stage" else None,
        }
        for release, why in judged
    ]


def _policy_terms(release: Release, asker: RequestingDevice) -> list[Row]:
    """The terms of the release's policy, each with its result for the device."""
    return release.policy.explain(asker.properties, release.facts)


def asker(device: Row, held: dict[str, Grant]) -> RequestingDevice:
    """Convert a device's row, as of its last check-in, to the RequestingDevice that selection.py uses."""
    version = _running_version(device, held) or ""
    order = semver.parse(version) if semver.is_valid(version) else None
    pin = device["pin"] and semver.parse(device["pin"])
    since_s = 0 if device["vouched"] else device["first_s"]
    return RequestingDevice(
        device["id"],
        order,
        json.loads(device["properties"]),
        pin,
        held,
        claimed=device["claimed"],
        known_since_s=since_s,
    )


def _running_version(device: Row, held: dict[str, Grant]) -> str | None:
    """The version that the device probably runs.

    This is the version that it has confirmed since its last check-in, else the version in that check-in.
    """
    last = max(held.values(), key=lambda grant: grant.offered_s, default=None)
    if last and last.state == "confirmed" and last.changed_s >= (device["seen_s"] or 0):
        return last.version
    return device["version"]


def _slot_check(conn: sa.Connection, now_s: int) -> Room:
    """Return the room() function for selection.py; it reads the database."""

    def room(release: Release) -> str | None:
        try:
            if row := queries.release(conn, release.id):
                leases.free_slots(conn, row, row["taken"], now_s)
        except leases.NoFreeSlot as e:
            return e.why
        return None

    return room

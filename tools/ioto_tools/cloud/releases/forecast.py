"""Forecasts the rollout of an unpublished release: which stored devices would be offered it. Read-only.

Each device is offered the release, or not, by the rules of a check-in; all devices share the limit and the rate.
"""

from collections import Counter
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..operators import overview
from ..operators.explain import asker
from ..rollout import catalogue, grants, leases
from ..rules import selection
from ..rules.selection import Release, RequestingDevice
from ..rules.update_states import WITHDRAWN
from ..storage import queries
from ..storage.tables import Row

if TYPE_CHECKING:
    from ..site.site import Site

EXAMPLES = 5


def dry_run(site: "Site", row: Row) -> Row:
    """Forecast the rollout of the release `row`, as if it were published.

    {"devices": n, "found": {why: {"count": n, "examples": [id]}}}. `why`: a key of selection.REASONS_NOT_OFFERED, or
    "offered". The forecast covers all stored devices of the product. It uses their last check-ins, as if all devices
    checked in now, or when the release starts.
    """
    found = dry_run_slice(site, row)
    return {name: found[name] for name in ("devices", "found")}


def dry_run_slice(site: "Site", row: Row, so_far: Row | None = None, most: int | None = None) -> Row:
    """dry_run() for the next slice of the devices: `most` devices, or more to complete a page; None: all devices.

    `so_far`: the result of the previous call; None: begin with the first device. Further keys of the result: "after":
    the last device of this slice (None: no more devices), "slots": {release: slots that would be taken so far}.
    """
    before = so_far or {"devices": 0, "after": "", "found": {}, "slots": {}}
    now_s = max(site.now_s(), row["start_s"] or 0)
    releases, slots = site.database.read(_releases, row, before["slots"], now_s)
    counts = Counter({why: each["count"] for why, each in before["found"].items()})
    examples = {why: list(each["examples"]) for why, each in before["found"].items()}
    after = before["after"]
    for page in overview.device_pages(site, row["product"], after):
        held = site.database.read(grants.of_devices, [device["key"] for device in page])
        for device in page:
            why = _reason(releases, row["id"], asker(device, held.get(device["key"], {})), now_s, slots) or "offered"
            counts[why] += 1
            if counts[why] <= EXAMPLES:
                examples.setdefault(why, []).append(device["id"])
        after = page[-1]["id"] if len(page) == overview.PAGE else None
        if most and counts.total() - before["devices"] >= most:
            break
    found = {why: {"count": n, "examples": examples[why]} for why, n in counts.most_common()}
    return {"devices": counts.total(), "found": found, "after": after, "slots": slots.used}


def _releases(conn: sa.Connection, row: Row, used: dict[str, int], now_s: int) -> "tuple[list[Release], Slots]":
    """(the product's releases including this one, highest first; their Slots)."""
    rows = [each for each in queries.releases_of(conn, row["product"]) if each["state"] != "cancelled"]
    rows = [each for each in rows if each["precedence"] != row["precedence"]] + [row]
    releases = sorted(map(catalogue.release, rows), key=lambda release: release.order, reverse=True)
    return releases, Slots({each["id"]: (each, _slots_left(conn, each, now_s)) for each in rows}, used)


def _slots_left(conn: sa.Connection, row: Row, now_s: int) -> int | None:
    """The number of slots that the release has left now; None: no limit."""
    try:
        return leases.free_slots(conn, row, row["taken"], now_s)
    except leases.NoFreeSlot:
        return 0


def _reason(releases: list[Release], id: str, asks: RequestingDevice, now_s: int, slots: "Slots") -> str | None:
    """The reason why the release `id` is not offered, or None. Counts the slot of any release that would be offered."""
    judged = {release.id: why for release, why in selection.explain(releases, asks, now_s, slots.room)}
    for release, why in judged.items():
        grant = asks.grants.get(release)
        if why is None and (grant is None or grant.state == WITHDRAWN):
            slots.used[release] = slots.used.get(release, 0) + 1
    return judged[id]


class Slots:
    """The slots that each release has left while devices are evaluated one after the other."""

    def __init__(self, releases: dict[str, tuple[Row, int | None]], used: dict[str, int]) -> None:
        self._releases = releases  # {id: (row, slots left now, None: no limit)}
        self.used = dict(used)

    def room(self, release: Release) -> str | None:
        """The room() function for selection.py: "limit", "rate" or None."""
        row, left = self._releases[release.id]
        used = self.used.get(release.id, 0)
        if left is None or used < left:
            return None
        return "limit" if row["limit"] is not None and row["taken"] + used >= row["limit"] else "rate"

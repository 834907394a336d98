"""What a release not yet published would come to: for every stored device the decision that its next check-in would meet. Reads only."""

from collections import Counter

from ..operators import overview
from ..operators.explain import asker
from ..rollout import catalogue, grants, leases
from ..rules import selection
from ..rules.update_states import WITHDRAWN
from ..storage import queries

EXAMPLES = 5


def dry_run(site, row):
    """What would become of a release's row, were it published: {"devices": n, "found": {why: {"count": n, "examples": [id]}}}.

    Over all stored devices of the product, by their last check-ins, as if all checked in now, or when the release starts; `why` as in
    selection.WHY, "offered" for those that would be offered it.
    """
    found = dry_run_slice(site, row)
    return {name: found[name] for name in ("devices", "found")}


def dry_run_slice(site, row, so_far=None, most=None):
    """dry_run() of `most` devices (at least; None: of all) after `so_far`, and in "after" the last of them (None: there is no other),
    in "slots" how many slots of each release those before it would take.
    """
    before = so_far or {"devices": 0, "after": "", "found": {}, "slots": {}}
    now_s = max(site.now_s(), row["start_s"] or 0)
    releases, slots = site.database.read(_releases, row, before["slots"], now_s)
    counts = Counter({why: each["count"] for why, each in before["found"].items()})
    examples = {why: list(each["examples"]) for why, each in before["found"].items()}
    after = before["after"]
    for page in overview.rows(site, row["product"], after):
        held = site.database.read(grants.of_each, [device["key"] for device in page])
        for device in page:
            why = _judge(releases, row["id"], asker(device, held.get(device["key"], {})), now_s, slots) or "offered"
            counts[why] += 1
            if counts[why] <= EXAMPLES:
                examples.setdefault(why, []).append(device["id"])
        after = page[-1]["id"] if len(page) == overview.PAGE else None
        if most and counts.total() - before["devices"] >= most:
            break
    found = {why: {"count": n, "examples": examples[why]} for why, n in counts.most_common()}
    return {"devices": counts.total(), "found": found, "after": after, "slots": slots.used}


def _releases(conn, row, used, now_s):
    """(the product's releases with this one among them, highest first, the slots that each has)."""
    rows = [each for each in queries.releases_of(conn, row["product"]) if each["state"] != "cancelled"]
    rows = [each for each in rows if each["precedence"] != row["precedence"]] + [row]
    releases = sorted(map(catalogue.release, rows), key=lambda release: release.order, reverse=True)
    return releases, Slots({each["id"]: (each, _left(conn, each, now_s)) for each in rows}, used)


def _left(conn, row, now_s):
    try:
        return leases.room(conn, row, row["taken"], now_s)
    except leases.Full:
        return 0


def _judge(releases, id, asks, now_s, slots):
    """Why the release `id` is not offered, or None. A device that is offered any takes one of its slots."""
    judged = {release.id: why for release, why in selection.explain(releases, asks, now_s, slots.room)}
    for release, why in judged.items():
        grant = asks.grants.get(release)
        if why is None and (grant is None or grant.state == WITHDRAWN):
            slots.used[release] = slots.used.get(release, 0) + 1
    return judged[id]


class Slots:
    """How many slots of each release are left while devices are judged one after the other."""

    def __init__(self, releases, used):
        self._releases = releases  # {id: (row, slots left now, None: no limit)}
        self.used = dict(used)

    def room(self, release):
        """As selection.py asks: "limit", "rate" or None."""
        row, left = self._releases[release.id]
        used = self.used.get(release.id, 0)
        if left is None or used < left:
            return None
        return "limit" if row["limit"] is not None and row["taken"] + used >= row["limit"] else "rate"

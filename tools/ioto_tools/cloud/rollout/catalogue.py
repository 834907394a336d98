"""The products and their releases as a check-in needs them: policies compiled, versions parsed, highest first.

Made anew whenever an operator has changed anything of them; what has not changed is not compiled again.
"""

import json
from dataclasses import dataclass, field

import sqlalchemy as sa
from ioto import semver

from .. import policy
from ..rules import selection
from ..rules.selection import ACTIVE, Release
from ..storage.tables import products, releases

_KEPT = ("id", "version", "checksum", "size", "enabled", "state", "percentage", "start_s", "end_s", "age_s")
_FACTS = ("version", "product", "description", "size")  # what a policy sees as `update`
_COLUMNS = ("product", "policy", "description", "limit", "rate", "manifest", "chip", "head", *_KEPT)


KEPT = 10_000  # answers of policies that are remembered for a product
LONGEST = 100  # characters of a property for which they are: none that is made up each time fills the memory


@dataclass(slots=True)
class Product:
    """`releases` by falling version; `reads`: the properties of a device that their policies may read, None: any of them."""

    id: str
    name: str
    releases: list = field(default_factory=list)
    reads: tuple | None = ()
    _verdicts: dict = field(default_factory=dict)

    def verdicts(self, properties):
        """{release's id: does its policy hold?}, to be filled in: one for all devices that are alike in all that policies read."""
        if self.reads is None:
            return {}
        key = []
        for name in self.reads:
            value = properties.get(name)
            if value.__class__ is str and len(value) > LONGEST:
                return {}
            key += value.__class__, value  # true, 1 and 1.0 are equal to Python, and not to every operator
        try:
            found = self._verdicts.get(key := tuple(key))
        except TypeError:  # a list or an object
            return {}
        if found is None:
            if len(self._verdicts) >= KEPT:
                self._verdicts.clear()
            found = self._verdicts[key] = {}
        return found


def rows(conn):
    """(products, releases) as the database has them; cancelled ones are offered to nobody any more."""
    found = sa.select(*(releases.c[name] for name in _COLUMNS)).where(releases.c.state != "cancelled")
    named = sa.select(products.c.id, products.c.name)
    return [tuple(row) for row in conn.execute(named)], [dict(row) for row in conn.execute(found).mappings()]


def compiled(products, releases):
    """{id: Product} of rows()."""
    found = {id: Product(id, name) for id, name in products}
    for row in releases:
        found[row["product"]].releases.append(release(row))
    for product in found.values():
        product.releases.sort(key=lambda release: release.order, reverse=True)
        reads = [release.policy.properties for release in product.releases]
        product.reads = None if None in reads else tuple(sorted(set().union(*reads)))
    return found


def release(row):
    """A release's row as selection.py decides about it."""
    facts = {name: row[name] for name in _FACTS}
    kept = {name: row[name] for name in _KEPT}
    kept["limited"] = row["limit"] is not None or row["rate"] is not None
    signed = manifest(row)
    if signed:
        kept.update(minimum=signed.get("minimum") and semver.parse(signed["minimum"]), expires_s=signed.get("expires"))
    kept.update(image_bytes=signed.get("size", row["size"]), chip=signed.get("chip", row["chip"]))
    kept["head"] = row["head"] and bytes.fromhex(row["head"])
    return Release(order=semver.parse(row["version"]), policy=policy.compile(row["policy"]), facts=facts, **kept)


def status(row, now_s):
    """In one word whether a release (its row) is offered to any device now: its state, or why not."""
    if not row["enabled"]:
        return "disabled"
    if row["state"] != ACTIVE:
        return row["state"]
    expires_s = manifest(row).get("expires")
    if expires_s is not None and now_s > expires_s:
        return "expired"
    why = selection.out_of_schedule(row["start_s"], row["end_s"], now_s)
    return {"early": "scheduled", "late": "ended"}.get(why, ACTIVE)


def manifest(row):
    """What a release's row says in its signed manifest; {} where it is not signed."""
    return json.loads(json.loads(row["manifest"])["manifest"]) if row["manifest"] else {}

"""The products and their releases as a check-in needs them: policies compiled, versions parsed, highest first.

Made anew whenever an operator has changed anything of them; what has not changed is not compiled again.
"""

from dataclasses import dataclass, field

import sqlalchemy as sa
from ioto import semver

from . import policy
from .selection import Release
from .tables import products, releases

_KEPT = ("id", "version", "checksum", "size", "enabled", "state", "percentage", "start_s", "end_s", "age_s")
_FACTS = ("version", "product", "description", "size")  # what a policy sees as `update`
_COLUMNS = ("product", "policy", "description", "limit", "rate", *_KEPT)


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
    limited = row["limit"] is not None or row["rate"] is not None
    return Release(order=semver.parse(row["version"]), policy=policy.compile(row["policy"]), facts=facts, limited=limited, **kept)

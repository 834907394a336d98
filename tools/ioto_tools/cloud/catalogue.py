"""The products and their releases as a check-in needs them: policies compiled, versions parsed, highest first.

Made anew whenever an operator has changed anything of them; what has not changed is not compiled again.
"""

from dataclasses import dataclass, field

import sqlalchemy as sa
from ioto import semver

from . import policy
from .selection import Release
from .tables import products, releases

_KEPT = ("id", "version", "checksum", "size", "enabled", "state", "percentage", "start_s", "end_s")
_FACTS = ("version", "product", "description", "size")  # what a policy sees as `update`
_COLUMNS = ("product", "policy", "description", *_KEPT)


@dataclass(slots=True)
class Product:
    id: str
    name: str
    releases: list = field(default_factory=list)


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
    return found


def release(row):
    """A release's row as selection.py decides about it."""
    facts = {name: row[name] for name in _FACTS}
    kept = {name: row[name] for name in _KEPT}
    return Release(order=semver.parse(row["version"]), policy=policy.compile(row["policy"]), facts=facts, **kept)

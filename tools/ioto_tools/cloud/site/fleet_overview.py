"""The operators' overview: what needs attention, and the fleet in numbers, now and over time."""

import bisect
import shutil
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from ioto import semver

from ..operators import overview
from ..rollout import catalogue, fleet_samples, stage_gates
from ..rules.selection import ACTIVE
from ..storage import counters, queries
from ..storage.tables import Row, products, releases
from . import attention

if TYPE_CHECKING:
    from .site import Site

DAY_S = 24 * 3600
AGES_S = (0, DAY_S, 7 * DAY_S, 30 * DAY_S)  # of the columns of version_table()
MOST_RELEASES = 10
_NUMBERS = ("devices", "checked_in", "updated", "silent", "unclaimed")


def of_site(site: "Site") -> Row:
    """What needs attention, and the numbers of all products.

    {attention: [attention.Item], products: [fleet_samples.current()], devices, checked_in, updated, silent, unclaimed:
    the sums of all products, releases: [{update, product, version, status, stage}], the newest MOST_RELEASES that are
    active and enabled (`stage`: in words, or None), free_bytes: on the disk of the site's folder, backed_up_s: time of
    the last backup, or None}. For an operator whose token is limited to products: only these, and the last two are
    None.
    """
    return site.database.read(_of_site, site, site.now_s())


def _of_site(conn: sa.Connection, site: "Site", now_s: int) -> Row:
    fleet = fleet_samples.current(conn, now_s)
    whole = queries.products_allowed(conn) is None
    return {
        "attention": attention.items(site, conn, now_s, fleet),
        "products": fleet,
        **{name: sum(each[name] for each in fleet) for name in _NUMBERS},
        "releases": _newest_releases(conn, now_s),
        "free_bytes": shutil.disk_usage(site.data).free if whole else None,
        "backed_up_s": counters.one(conn, attention.BACKED_UP) or None if whole else None,
    }


def _newest_releases(conn: sa.Connection, now_s: int) -> list[Row]:
    found = sa.select(releases, products.c.name).join(products).where(queries.visible(conn, releases.c.product))
    found = found.where(releases.c.enabled, releases.c.state == ACTIVE)
    newest = releases.c.created_s.desc(), products.c.name, releases.c.id
    return [
        {
            "update": row["id"],
            "product": row["name"],
            "version": row["version"],
            "status": catalogue.status(row, now_s),
            "stage": stage_gates.label(row) if row["stages"] else None,
        }
        for row in conn.execute(found.order_by(*newest).limit(MOST_RELEASES)).mappings()
    ]


def of_product(site: "Site", word: str) -> Row:
    """The numbers of a product (its id or name) over time.

    {id, name, samples: [fleet_samples.count()]}, oldest first; the last one is current.
    """
    return site.database.read(_of_product, word, site.now_s())


def _of_product(conn: sa.Connection, word: str, now_s: int) -> Row:
    product = overview.find_product(conn, word)
    [now] = fleet_samples.current(conn, now_s, product["id"])
    kept = {name: product[name] for name in ("id", "name")}
    now = {name: value for name, value in now.items() if name not in kept}
    earlier = [each for each in fleet_samples.of(conn, product["id"]) if each["at_s"] < now["at_s"]]
    return {**kept, "samples": [*earlier, now]}


class VersionCounts(NamedTuple):
    """Numbers of devices by version: `rows[name]` are the numbers at the times `at_s`."""

    at_s: list[int]
    rows: dict[str, list[int]]


OTHER, NEVER = "other versions", "no check-in yet"


def by_version(samples: list[Row]) -> VersionCounts:
    """The versions that are the most frequent over all samples, highest first; then OTHER and NEVER, if any."""
    totals: Counter[str] = Counter()
    for sample in samples:
        totals.update(sample["versions"])
    frequent = [version for version, _ in totals.most_common(fleet_samples.MOST_VERSIONS)]
    valid = sorted(filter(semver.is_valid, frequent), key=semver.parse, reverse=True)
    shown = valid + sorted(set(frequent) - set(valid))  # devices may send any text as their version
    rows = {version: [sample["versions"].get(version, 0) for sample in samples] for version in shown}
    checked_in = [sample["devices"] - sample["never"] for sample in samples]
    others = [n - sum(row[i] for row in rows.values()) for i, n in enumerate(checked_in)]
    more = {OTHER: others, NEVER: [sample["never"] for sample in samples]}
    return VersionCounts(
        [sample["at_s"] for sample in samples], {**rows, **{name: row for name, row in more.items() if any(row)}}
    )


def version_table(samples: list[Row]) -> list[tuple[str, list[int | None]]]:
    """[(name, its numbers of devices at the times AGES_S before the last sample)]; None: no sample is that old."""
    at_s, rows = by_version(samples)
    columns = [bisect.bisect_right(at_s, at_s[-1] - age_s) - 1 for age_s in AGES_S]
    return [(name, [row[i] if i >= 0 else None for i in columns]) for name, row in rows.items()]

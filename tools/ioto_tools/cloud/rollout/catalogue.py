"""Products and their releases as check-ins need them: with compiled policies, highest version first.

Rebuilt after every change to products or releases; unchanged policies are not compiled again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from ioto import semver

from .. import policy
from ..rules import selection, stages
from ..rules.packed_files import PackedFile
from ..rules.selection import ACTIVE, Release
from ..storage.tables import AnyRow, Row, packed_files, products, releases

_KEPT = ("id", "version", "checksum", "size", "enabled", "state", "percentage", "start_s", "end_s", "age_s")
_TOLD = ("kind", "notes", "advisory", "no_defer_after_s")
_PACKING = ("waits_for_packed", "created_s")
_STAGES = ("stages", "stage", "stage_s", "held")
_FACTS = ("version", "product", "description", "size")  # what a policy sees as `update`
_COLUMNS = (
    "product",
    "policy",
    "description",
    "limit",
    "rate",
    "manifest",
    "chip",
    "head",
    *_TOLD,
    *_STAGES,
    *_PACKING,
    *_KEPT,
)


KEPT = 10_000  # cached policy results per product
# Maximum length of a property value, in characters, for which results are cached: long values that change all the time
# must not fill the memory.
LONGEST = 100
Verdicts = dict[str, bool]  # {release's id: does its policy match?}


@dataclass(slots=True)
class Product:
    """A product with its `releases` by descending version."""

    id: str
    name: str
    releases: list[Release] = field(default_factory=list)
    reads: tuple[str, ...] | None = ()  # the device properties that their policies may read; None: any property
    _verdicts: dict[tuple[Any, ...], Verdicts] = field(default_factory=dict)

    def verdicts(self, properties: Mapping[str, Any]) -> Verdicts:
        """The cached results of the policies for a device; the caller adds the missing ones.

        The dict is shared by all devices with equal values of the properties in `reads`.
        """
        if self.reads is None:
            return {}
        values: list[Any] = []
        for name in self.reads:
            value = properties.get(name)
            if value.__class__ is str and len(value) > LONGEST:
                return {}
            values += value.__class__, value  # true, 1 and 1.0 are equal in Python, but not for every operator
        try:
            found = self._verdicts.get(key := tuple(values))
        except TypeError:  # a list or an object
            return {}
        if found is None:
            if len(self._verdicts) >= KEPT:
                self._verdicts.clear()
            found = self._verdicts[key] = {}
        return found


def rows(conn: sa.Connection) -> tuple[list[tuple[str, str]], list[Row]]:
    """Products, as (id, name), and releases from the database, with their `packed` files.

    Cancelled releases are left out, because they are never offered again.
    """
    found = sa.select(*(releases.c[name] for name in _COLUMNS)).where(releases.c.state != "cancelled")
    named = sa.select(products.c.id, products.c.name)
    packed = _packed(conn)
    return [tuple(row) for row in conn.execute(named)], [
        {**row, "packed": packed.get(row["id"], {})} for row in conn.execute(found).mappings()
    ]


def _packed(conn: sa.Connection) -> dict[str, dict[str, PackedFile]]:
    """{release: {base: PackedFile}} of the packed files that have been made."""
    files = packed_files.c
    found: dict[str, dict[str, PackedFile]] = {}
    made = sa.select(files.release, files.base, files.checksum, files.size).where(files.state == "made")
    for release, base, *values in conn.execute(made):
        found.setdefault(release, {})[base] = PackedFile(*values)
    return found


def compiled(products: Iterable[tuple[str, str]], releases: Iterable[Row]) -> dict[str, Product]:
    """Prepare the result of rows(); return {product's id: Product}."""
    found = {id: Product(id, name) for id, name in products}
    for row in releases:
        found[row["product"]].releases.append(release(row))
    for product in found.values():
        product.releases.sort(key=lambda release: release.order, reverse=True)
        reads: list[Any] = [release.policy.properties for release in product.releases]
        product.reads = None if None in reads else tuple(sorted(set().union(*reads)))
    return found


def release(row: AnyRow) -> Release:
    """Convert a release's row to the Release that selection.py uses."""
    facts = {name: row[name] for name in _FACTS}
    kept = {name: row[name] for name in _KEPT}
    kept["told"] = selection.told(*(row[name] for name in _TOLD))
    kept.update(in_stages=row["stages"] is not None, stage_s=row["stage_s"])
    kept["stage_due_s"] = None if row["held"] else stages.due_s(row)
    kept["limited"] = row["limit"] is not None or row["rate"] is not None
    signed = manifest(row)
    if signed:
        kept.update(minimum=signed.get("minimum") and semver.parse(signed["minimum"]), expires_s=signed.get("expires"))
    kept.update(image_bytes=signed.get("size", row["size"]), chip=signed.get("chip", row["chip"]))
    kept.update(head=row["head"] and bytes.fromhex(row["head"]), packed=row.get("packed", {}))
    kept["packing_s"] = _packing_s(row)
    return Release(order=semver.parse(row["version"]), policy=policy.compile(row["policy"]), facts=facts, **kept)


def status(row: AnyRow, now_s: int) -> str:
    """Summarize a release's row in one word: "active" if it is offered to devices now, else why not."""
    if row["archived_s"] is not None:
        return "archived"
    if not row["enabled"]:
        return "disabled"
    if row["state"] != ACTIVE:
        return row["state"]
    if selection.is_packing(_packing_s(row), now_s):
        return "packing"
    expires_s = manifest(row).get("expires")
    if expires_s is not None and now_s > expires_s:
        return "expired"
    why = selection.out_of_schedule(row["start_s"], row["end_s"], now_s)
    return {"early": "scheduled", "late": "ended", None: ACTIVE}[why]


def _packing_s(row: AnyRow) -> int | None:
    return row["created_s"] if row.get("waits_for_packed") else None


def manifest(row: AnyRow) -> dict[str, Any]:
    """The signed manifest in a release's row; {} if it is not signed."""
    return json.loads(json.loads(row["manifest"])["manifest"]) if row["manifest"] else {}


def image_checksum(row: AnyRow) -> str:
    """The SHA-256 of the image in a release's row, without the envelope; devices send it as `image`."""
    return str(manifest(row).get("sha256", row["checksum"]))

"""Archives old releases of a product that keeps only its newest images (`ioto product set --keep-images`).

The highest `keep_images` versions that are not cancelled are kept. A lower one is archived unless a device uses it
(usage.py). This is done after each publication, and by housekeeping.
"""

import logging
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import CloudError, Unavailable
from ..operators import overview
from ..rollout import leases
from ..rules import selection
from ..storage import audit, queries
from ..storage.tables import Row, products
from . import deletion, image_deletion, usage

if TYPE_CHECKING:
    from ..site.site import Site

MOST = 1000  # images that a product can be set to keep
_log = logging.getLogger("ioto.cloud")


def parse_keep_images(text: str) -> int | None:
    """The number of images in `text`; None for `all`. CloudError if it is invalid."""
    if text.strip() == "all":
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MOST):
        raise CloudError("images to keep: %s: expected: a number from 1 to %d, or all" % (text[:40], MOST))
    return int(text)


def set_keep_images(site: "Site", word: str, n: int | None) -> Row:
    """Let the product keep only its newest `n` images, from the next publication or housekeeping on; None: all.

    Return {id, name, keep_images, surplus}; `surplus`: the versions that would be archived now.
    """
    return site.database.write(_set_keep_images, word, n, site.now_s(), site.who)


def _set_keep_images(conn: sa.Connection, word: str, n: int | None, now_s: int, who: str) -> Row:
    found = overview.find_product(conn, word)
    if found["keep_images"] != n:
        conn.execute(products.update().where(products.c.id == found["id"]).values(keep_images=n))
        audit.note(conn, now_s, who, "product.set", found["id"], name=found["name"], keep_images=n)
    surplus = [row["version"] for row in _surplus(conn, found["id"])]
    return {"id": found["id"], "name": found["name"], "keep_images": n, "surplus": surplus}


def apply_all(site: "Site") -> None:
    """Archive the surplus releases of all products."""
    for product in site.database.read(_limited):
        apply(site, product)


def _limited(conn: sa.Connection) -> list[str]:
    return list(conn.execute(sa.select(products.c.id).where(products.c.keep_images.is_not(None))).scalars())


def apply(site: "Site", product: str) -> None:
    """Archive the surplus releases of the product (its id).

    An image that can't be deleted now is only logged; housekeeping tries again.
    """
    for row in site.database.read(_surplus, product):
        for checksum in site.database.write(_archive, row["id"], site.now_s()):
            try:
                image_deletion.finish(site, checksum)
            except Unavailable as e:
                _log.error("%s", e)


def _surplus(conn: sa.Connection, product: str) -> list[Row]:
    """The releases to be archived, highest version first."""
    return [row for row in _older(conn, product) if not usage.of_release(conn, row)]


def _older(conn: sa.Connection, product: str) -> list[Row]:
    """The releases below the newest `keep_images`, archived ones excluded, highest version first."""
    owner = queries.product_by_id(conn, product)
    if owner is None or owner["keep_images"] is None:
        return []
    rows = [row for row in queries.releases_of(conn, product) if row["archived_s"] is None]
    rows = selection.sort_newest_first(rows)
    kept = [n for n, row in enumerate(rows) if row["state"] != "cancelled"][: owner["keep_images"]]
    return rows[kept[-1] + 1 :] if len(kept) == owner["keep_images"] else []


def _archive(conn: sa.Connection, release: str, now_s: int) -> list[str]:
    """Archive the release if it is still surplus; return which of its files are to be deleted."""
    row = leases.locked(conn, release)
    if row is None or release not in [each["id"] for each in _older(conn, row["product"])]:
        return []
    if usage.of_release(conn, row):
        return []
    return deletion.archive(conn, dict(row), now_s, audit.CLOUD, why="keep_images")

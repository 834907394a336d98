"""Deletes images that no release has any more; a release is never left without its image.

The transaction that removes the last use of an image also adds a row of `image_deletions`. Then the image is deleted,
then the row. While the row is there, the same file cannot be published: the deletion would take the new release's
image. If the process is killed in between, housekeeping completes the deletion after LEASE_S.
"""

import logging
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.errors import Unavailable
from ..storage import queries
from ..storage.tables import image_deletions, packed_files, releases

if TYPE_CHECKING:
    from ..site.site import Site

LEASE_S = 600  # much longer than a store takes to delete an image
_log = logging.getLogger("ioto.cloud")


def begin(conn: sa.Connection, checksum: str, now_s: int) -> bool:
    """Begin the deletion of the image or packed file. If a release still has it, do nothing and return False."""
    has_it = sa.select(releases.c.id).where(releases.c.checksum == checksum, releases.c.archived_s.is_(None))
    packed = sa.select(packed_files.c.release).where(packed_files.c.checksum == checksum)
    if any(conn.execute(found.limit(1)).first() for found in (has_it, packed)):
        return False
    values = {"until_s": now_s + LEASE_S}
    row = queries.upsert(conn, image_deletions).values(checksum=checksum, **values)
    conn.execute(row.on_conflict_do_update(index_elements=[image_deletions.c.checksum], set_=values))
    return True


def finish(site: "Site", checksum: str) -> None:
    """Delete the image, whose deletion has begun. Unavailable if it can't be deleted; housekeeping tries again."""
    if not site.database.read(is_under_way, checksum, site.now_s()):
        return  # this process was suspended for long: the image may belong to a new release
    site.images.delete(checksum)
    site.database.write(_end, checksum)


def check(conn: sa.Connection, checksum: str, now_s: int) -> None:
    """Raise Unavailable if the image is being deleted, so that it cannot be published now."""
    if is_under_way(conn, checksum, now_s):
        raise Unavailable(
            "the image with the SHA-256 %s... is being deleted with its last release: publish it in some minutes"
            % checksum[:12]
        )


def is_under_way(conn: sa.Connection, checksum: str, now_s: int) -> bool:
    until_s = conn.execute(sa.select(image_deletions.c.until_s).where(image_deletions.c.checksum == checksum)).scalar()
    # A lease that ends too far in the future was written with a wrong clock.
    return until_s is not None and now_s < until_s <= now_s + 2 * LEASE_S


def complete_all(site: "Site") -> None:
    """Complete the deletions of processes that were killed, or whose store did not answer."""
    for checksum in site.database.read(_left_over, site.now_s()):
        if site.database.write(_resume, checksum, site.now_s()):
            finish(site, checksum)
            _log.info("image %s...: its deletion was completed", checksum[:12])


def _left_over(conn: sa.Connection, now_s: int) -> list[str]:
    found = list(conn.execute(sa.select(image_deletions.c.checksum)).scalars())
    return [checksum for checksum in found if not is_under_way(conn, checksum, now_s)]


def _resume(conn: sa.Connection, checksum: str, now_s: int) -> bool:
    if is_under_way(conn, checksum, now_s):
        return False  # another worker was faster
    if begin(conn, checksum, now_s):
        return True
    _end(conn, checksum)  # the image was published again
    return False


def _end(conn: sa.Connection, checksum: str) -> None:
    conn.execute(image_deletions.delete().where(image_deletions.c.checksum == checksum))

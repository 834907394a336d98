"""The files of a release: its own and its packed files, how many devices were offered each, and what they saved."""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..rollout import catalogue
from ..rules.packed_files import kind
from ..storage import queries
from ..storage.tables import AnyRow, Row, grants, packed_files
from . import overview

if TYPE_CHECKING:
    from ..site.site import Site

MADE = "made"  # the state of a packed file that devices are offered
MOST_COUNTED = 200_000  # devices of a release; the offers of more are not counted, which would take seconds
Counts = dict[str | None, tuple[int, int]]  # {file: (devices that were offered it, those of them that confirmed)}


def of_release(site: "Site", word: str) -> Row:
    """{files, saved}: the files of an update (its id, or PRODUCT@VERSION), first its own; bytes saved by the others.

    files: [{kind, base, base_version, state, reason, size, checksum, offered, installed, failures, saved}]; empty if it
    has no packed files. `kind`: from packed_files.kind(); `base`: of a delta; `base_version`: the version of the
    release with this image, if there is one; `size` and `checksum`: None before the file is made; `offered`: number of
    devices whose last offer had this file; `installed`: number of these that confirmed the update; `failures`: number
    of devices on which it failed, which were offered the whole image instead; `saved`: the bytes by which the file is
    smaller than the release's own, times `installed`. If the release has been offered to more than MOST_COUNTED
    devices, `offered`, `installed` and `saved` are None.
    """
    return site.database.read(_of_release, word)


def _of_release(conn: sa.Connection, word: str) -> Row:
    release = overview.find_release(conn, word)
    stored = sa.select(packed_files).where(packed_files.c.release == release["id"]).order_by(packed_files.c.base)
    rows = conn.execute(stored).mappings().all()
    counts = _counts(conn, release["id"]) if rows else None
    versions = _versions(conn, release["product"]) if rows else {}
    files = [_shown(None, {**release, "state": MADE, "reason": "", "failures": 0}, release, counts, versions)]
    files += [_shown(row["base"], row, release, counts, versions) for row in rows]
    saved = sum(each["saved"] for each in files) if counts is not None else None
    return {"files": files if rows else [], "saved": saved if rows else 0}


def _shown(base: str | None, row: AnyRow, release: Row, counts: Counts | None, versions: dict[str, str]) -> Row:
    offered, installed = (None, None) if counts is None else counts.get(base, (0, 0))
    saved = installed and (installed * (release["size"] - row["size"]) if row["size"] is not None else 0)
    return {
        "kind": kind(base),
        "base": base or None,
        "base_version": versions.get(base or ""),
        **{name: row[name] for name in ("state", "reason", "size", "checksum")},
        "offered": offered,
        "installed": installed,
        "failures": row["failures"],
        "saved": saved,
    }


def _counts(conn: sa.Connection, release: str) -> Counts | None:
    """The counts of the release's files; None if there are too many offers."""
    some = sa.select(grants.c.device).where(grants.c.release == release).limit(MOST_COUNTED + 1).subquery()
    if conn.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() > MOST_COUNTED:
        return None
    confirmed = sa.func.sum(sa.case((grants.c.state == "confirmed", 1), else_=0))
    found = sa.select(grants.c.file, sa.func.count(), confirmed).where(grants.c.release == release)
    return {file: (offered, installed) for file, offered, installed in conn.execute(found.group_by(grants.c.file))}


def _versions(conn: sa.Connection, product: str) -> dict[str, str]:
    """{SHA-256 of the image: version} of the product's releases."""
    return {catalogue.image_checksum(row): row["version"] for row in queries.releases_of(conn, product)}

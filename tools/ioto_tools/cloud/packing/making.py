"""Makes one packed file after the other. A lease in the database prevents that two servers make the same file."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import sqlalchemy as sa
from ioto import packed as format
from ioto import release as signed

from ...image.pack import PackError, pack
from ...image.unpack import unpack
from ..http.errors import Unavailable
from ..images.folder_store import CHUNK_BYTES
from ..releases import image_deletion, packed
from ..rollout import catalogue
from ..storage import queries
from ..storage.tables import Row, packed_files, releases
from .plan import MOST_BYTES

if TYPE_CHECKING:
    from ..site.site import Site

LEASE_S = 300  # a worker that is killed keeps a file from being made for this long; it renews the lease while it works
_RENEW_S = 20
_TRIES = 3  # a file fails when this many workers were killed while they made it, or got no answer from the store
_log = logging.getLogger("ioto.cloud")
Progress = Callable[[int, int], None]  # bytes of the image done, bytes of the image


def make_next(site: "Site", release: str | None = None, progress: Progress = lambda done, size: None) -> Row | None:
    """Make the next file that waits, of `release` or of any; return its row, or None if no file waits.

    Unavailable or OSError if the store or the database does not answer; the file then waits again. An OSError counts
    as one of its attempts.
    """
    job = site.database.write(_take, release, site.now_s())
    if job is None:
        return None
    try:
        made = _attempt(site, job, _renewing(site, job, progress))
    except BaseException as e:  # also KeyboardInterrupt, when the server ends
        values: Row = {"lease_s": None} if isinstance(e, OSError) else {"lease_s": None, "tries": 0}
        site.database.write(_update, job, values, site.now_s())
        raise
    values = {**made, "lease_s": None, "tries": 0, "made_s": site.now_s()}
    site.database.write(_update, job, values, site.now_s())
    if made["state"] == "made":
        _restore(site, made["checksum"], job)
    return {"base": job.base, "own_bytes": job.size, **made}


def _attempt(site: "Site", job: "_Job", progress: Progress) -> Row:
    """The values of the columns of the file, made or failed. Unavailable or OSError: it is to be made later."""
    try:
        return _make(site, job, progress)
    except PackError as e:
        made: Row = {"state": "failed", "reason": str(e)}
        _log.warning("%s of %s: not made: %s", describe(job.base), job.version, e)
    except Unavailable:
        raise
    except Exception as e:
        if isinstance(e, OSError) and job.tries < _TRIES:
            raise
        made = {"state": "failed", "reason": "%s: %s" % (type(e).__name__, e)}
        _log.exception("%s of %s: not made: %s", describe(job.base), job.version, made["reason"])
    return made


def describe(base: str) -> str:
    """The packed file in words."""
    return "delta from the image %s..." % base[:12] if base else "compressed file"


@dataclass(frozen=True)
class _Job:
    """A packed file to be made. `files`: the checksums of the release's own file and of that of the base."""

    release: str
    version: str
    base: str
    size: int  # of the release's own file
    files: list[str]
    lease_s: int
    tries: int  # including this one


def is_waiting(conn: sa.Connection, now_s: int) -> bool:
    """Does a packed file wait to be made?"""
    return conn.execute(_waiting(now_s).limit(1)).first() is not None


def _waiting(now_s: int) -> sa.Select:
    files = packed_files.c
    # A lease that ends too far in the future was written with a wrong clock.
    free = sa.or_(files.lease_s.is_(None), files.lease_s <= now_s, files.lease_s > now_s + 2 * LEASE_S)
    return sa.select(packed_files).where(files.state == "waiting", free)


def _take(conn: sa.Connection, release: str | None, now_s: int) -> _Job | None:
    """Take a file that waits, and lease it."""
    _give_up(conn, now_s)
    files = packed_files.c
    of_release = releases.c.id == files.release
    # First what devices wait for, then compressed files, which are of use to most devices.
    order = releases.c.waits_for_packed.desc(), files.base != "", files.devices.desc(), files.release, files.base
    waiting = _waiting(now_s).join(releases, of_release).order_by(*order)
    if release is not None:
        waiting = waiting.where(files.release == release)
    found = conn.execute(waiting.limit(1)).mappings().first()
    row = queries.release(conn, found["release"]) if found else None
    if found is None or row is None:
        return None
    job = _Job(
        row["id"], row["version"], found["base"], row["size"],
        [row["checksum"], *_base_file(conn, row["product"], found["base"])],
        now_s + LEASE_S, found["tries"] + 1,
    )  # fmt: skip
    conn.execute(packed_files.update().where(*_of(job)).values(lease_s=job.lease_s, tries=job.tries))
    return job


def _give_up(conn: sa.Connection, now_s: int) -> None:
    """Let the files fail that no worker could end: each of them would be killed, for example for lack of memory."""
    reason = "%d attempts, and the last process was killed: does the machine have enough memory?" % _TRIES
    for row in conn.execute(_waiting(now_s).where(packed_files.c.tries >= _TRIES)).mappings().all():
        this = packed_files.c.release == row["release"], packed_files.c.base == row["base"]
        values = {"state": "failed", "reason": reason, "lease_s": None, "tries": 0}
        conn.execute(packed_files.update().where(*this).values(values))
        packed.end_wait(conn, row["release"], now_s)
        _log.error("%s of release %s: not made: %s", describe(row["base"]), row["release"], reason)


def _base_file(conn: sa.Connection, product: str, base: str) -> list[str]:
    """[the checksum of a file in the store that contains the image `base`]; [] for a compressed file."""
    if not base:
        return []
    rows = [row for row in queries.releases_of(conn, product) if row["archived_s"] is None]
    return [row["checksum"] for row in rows if catalogue.image_checksum(row) == base][:1] or [""]


def _make(site: "Site", job: _Job, progress: Progress) -> Row:
    """Make the file, check it, and store it; return the values of its columns. PackError if it can't be made."""
    envelope, image = _read(site, job.files[0])
    base = _read(site, job.files[1])[1] if job.base else b""
    _check(envelope + image, job.files[0])
    _check(base, job.base)
    if image[: len(format.MAGIC)] == format.MAGIC:
        raise PackError("the release's own file is packed already")
    raw = pack(image, base, progress)
    if unpack(raw, base) != image:
        raise PackError("does not unpack to the image: please report this")
    file = envelope + raw
    if len(file) >= job.size:
        raise PackError("not smaller: %d bytes, the release's own file has %d" % (len(file), job.size))
    with site.images.receive(_chunks(file)) as incoming:
        site.database.read(image_deletion.check, incoming.checksum, site.now_s())
        incoming.keep()
        return {"state": "made", "reason": "", "checksum": incoming.checksum, "size": incoming.size}


def _read(site: "Site", checksum: str) -> tuple[bytes, bytes]:
    """(the envelope with the signed manifest or nothing, the image) of a file in the store."""
    try:
        with site.images.open(checksum) as file:
            if file.size > MOST_BYTES:
                raise PackError("%d bytes: an image of more than %d is not packed" % (file.size, MOST_BYTES))
            raw = b"".join(iter(lambda: file.read(CHUNK_BYTES), b""))
    except (FileNotFoundError, IsADirectoryError) as e:
        raise PackError("the image %s is missing in the store" % (checksum[:12] or "of the base")) from e
    length = signed.ENVELOPE_BYTES if signed.unwrap(raw[: signed.ENVELOPE_BYTES]) else 0
    return raw[:length], raw[length:]


def _check(raw: bytes, checksum: str) -> None:
    """PackError if `raw` is not what has this checksum; "": there is nothing to check."""
    if checksum and sha256(raw).hexdigest() != checksum:
        raise PackError("the image %s is damaged in the store: publish the file again" % checksum[:12])


def _chunks(raw: bytes) -> list[bytes]:
    return [raw[at : at + CHUNK_BYTES] for at in range(0, len(raw), CHUNK_BYTES)]


def _renewing(site: "Site", job: _Job, progress: Progress) -> Progress:
    """`progress`, which also renews the lease."""
    due = time.monotonic() + _RENEW_S

    def renew(done: int, size: int) -> None:
        nonlocal due
        progress(done, size)
        if time.monotonic() >= due:
            due = time.monotonic() + _RENEW_S
            site.database.write(_renew, job, site.now_s() + LEASE_S)

    return renew


def _renew(conn: sa.Connection, job: _Job, lease_s: int) -> None:
    conn.execute(packed_files.update().where(*_of(job), packed_files.c.lease_s.is_not(None)).values(lease_s=lease_s))


def _of(job: _Job) -> tuple[sa.ColumnElement[bool], ...]:
    files = packed_files.c
    return files.release == job.release, files.base == job.base, files.state == "waiting"


def _update(conn: sa.Connection, job: _Job, values: Row, now_s: int) -> None:
    """Store the result, unless another worker was faster, or the file is no longer wanted."""
    if "checksum" in values:
        image_deletion.check(conn, values["checksum"], now_s)
    changed = conn.execute(packed_files.update().where(*_of(job)).values(values)).rowcount
    if changed and "state" in values:
        packed.end_wait(conn, job.release, now_s)
    if not changed and values.get("checksum"):
        image_deletion.begin(conn, values["checksum"], now_s)  # housekeeping completes it


def _restore(site: "Site", checksum: str, job: _Job) -> None:
    """Let the file be made again if it was deleted with another release before its row was written."""
    try:
        site.images.open(checksum).close()
    except FileNotFoundError as e:
        site.database.write(queries.make_again, job.release, checksum, site.now_s())
        raise Unavailable("%s of %s was deleted: it is made again" % (describe(job.base), job.version)) from e

"""Packed files of a release that a test makes itself, as the device cloud stores them."""

import hashlib

from ioto_tools.cloud.storage import change_log
from ioto_tools.cloud.storage.tables import packed_files
from ioto_tools.image.pack import pack


def store_packed(site, update, image, base=b"", state="made"):
    """Make the packed file of the release `update`, whose image is `image`; return (its base in hex, its bytes)."""
    raw = pack(image, base)
    named = hashlib.sha256(base).hexdigest() if base else ""
    with site.images.receive([raw]) as incoming:
        incoming.keep()
    row = {"release": update, "base": named, "state": state, "checksum": incoming.checksum, "size": len(raw)}
    site.database.write(_store, row | {"devices": 1, "made_s": site.now_s()}, site.now_s())
    return named, raw


def delete_packed(site, update, base):
    site.database.write(_delete, update, base, site.now_s())


def _store(conn, row, now_s):
    conn.execute(packed_files.insert().values(row))
    change_log.note(conn, now_s)


def _delete(conn, update, base, now_s):
    conn.execute(packed_files.delete().where(packed_files.c.release == update, packed_files.c.base == base))
    change_log.note(conn, now_s)

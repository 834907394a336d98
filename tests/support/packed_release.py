"""Packed files of a release that a test makes itself, as the device cloud stores them, and a device that uses them."""

import hashlib
import urllib.request

import sqlalchemy as sa
from cloud_under_test import call, esp_image
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.packing import making, plan, service
from ioto_tools.cloud.storage import change_log
from ioto_tools.cloud.storage.tables import packed_files, products
from ioto_tools.image.pack import pack

OLD, NEW = esp_image(b"1.0.0", 40_000), esp_image(b"1.1.0", 40_000)
IMAGE = hashlib.sha256(OLD).hexdigest()
OURS = {"accepts": ["raw", "packed"], "chip": 0, "slotSize": 1 << 16, "image": IMAGE, "next": 3600}


class Device:
    """A device that runs OLD, and its offers."""

    def __init__(self, cloud, id="D1", **properties):
        self.cloud, self.id, self.properties = cloud, id, {**OURS, **properties}
        self.token = cloud.device(id)

    def ask(self, version="1.0.0", **more):
        """Check in; return the `size` in the offer, or None."""
        reply = self.cloud.check_in(self.id, self.token, version, **{**self.properties, **more})
        assert reply.status == 200, reply.body
        self.offer = reply.json()
        return self.offer.get("size")

    def report(self, state, reason="", attempt=0):
        fields = {"state": state, "reason": reason, "attempt": attempt}
        assert (
            self.cloud.report(self.id, self.token, self.offer["update"], state == "confirmed", **fields).status == 200
        )

    def state(self):
        return overview.device(self.cloud.site, self.id)["update"]["state"]

    def fetch(self):
        """The content at the offer's URL, which may be the store's own link."""
        url = self.offer["url"]
        if url.startswith("https://updates.test"):
            return call(self.cloud.app, "GET", url.removeprefix("https://updates.test")).body
        with urllib.request.urlopen(url) as reply:
            return reply.read()


def publish_packed(cloud):
    """Publish OLD and NEW, with a compressed file and a delta from OLD; return (update, {base: its bytes})."""
    cloud.publish("1.0.0", OLD)
    update = cloud.publish("1.1.0", NEW)["id"]
    return update, dict(store_packed(cloud.site, update, NEW, base) for base in (OLD, b""))


def store_packed(site, update, image, base=b"", state="made", **more):
    """Make the packed file of the release `update`, whose image is `image`; return (its base in hex, its bytes).

    `more`: other values of the columns.
    """
    raw = pack(image, base)
    named = hashlib.sha256(base).hexdigest() if base else ""
    with site.images.receive([raw]) as incoming:
        incoming.keep()
    row = {"release": update, "base": named, "state": state, "checksum": incoming.checksum, "size": len(raw)}
    site.database.write(_store, row | more, site.now_s())
    return named, raw


def delete_packed(site, update, base):
    site.database.write(_delete, update, base, site.now_s())


def _store(conn, row, now_s):
    conn.execute(packed_files.insert().values(row))
    change_log.note(conn, now_s)


def _delete(conn, update, base, now_s):
    conn.execute(packed_files.delete().where(packed_files.c.release == update, packed_files.c.base == base))
    change_log.note(conn, now_s)


def files(cloud, update):
    """{base: the row} of the packed files of a release."""
    found = sa.select(packed_files).where(packed_files.c.release == update)
    rows = cloud.site.database.read(lambda conn: conn.execute(found).mappings().all())
    return {row["base"]: dict(row) for row in rows}


def run(cloud):
    """What the process of low priority does; the number of files made."""
    plan.apply_all(cloud.site)
    made = 0
    while making.make_next(cloud.site):
        made += 1
    return made


def running(cloud, until_s=100):
    cloud.site.database.write(service._renew, "server", cloud.site.now_s() + until_s)


def set_packed_bases(cloud, n):
    cloud.site.database.write(lambda conn: conn.execute(products.update().values(packed_bases=n)))

"""Every page and every list of devices on a site after a year of use, on both databases, without a network.

The times are CPU times, including the database's, because other load on the machine affects these less.
"""

import json
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import busy_site
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.site.site import Site
from web_session import Session

from . import servers

DEVICES = 100_000
ROUNDS = 3
SHOWN = 8  # the slowest pages
RELEASE = busy_site.release_of(3)
HELD = {"release": RELEASE, "state": "confirmed"}  # more devices than are looked up by the index of their states
FILTERS = (
    {}, {"q": "zzz"}, {"id": "BUSY00999"}, {"version": "none"}, {"silent": "yes"}, {"older": "2 days"},
    {"newer": "1 min"}, {"registered": "1 day"}, {"claimed": "no"}, {"property": "room=none"}, {"policy": "heap > 1e9"},
    {"release": RELEASE}, {"release": RELEASE, "state": "failed"},
    {"release": RELEASE, "state": "failed", "reason": "selftest_failed"}, {"release": RELEASE, "reason": "none"},
    {"reason": "none"}, HELD, {**HELD, "silent": "yes"}, {**HELD, "version": "none"}, {**HELD, "sort": "-seen"},
    {**HELD, "property": "room=none"}, {"sort": "seen"}, {"sort": "-first"}, {"sort": "version"},
    {"silent": "yes", "sort": "seen"}, {"silent": "yes", "sort": "-version"}, {"q": "zzz", "sort": "version"},
    {"property": "room=none", "sort": "seen"}, {"policy": "heap > 1e9", "sort": "-version"},
)  # fmt: skip


class _Cloud:
    def __init__(self, folder):
        self.app = create_app(folder, threads=False)
        self.site = self.app.state.site


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, servers.Postgresql() as postgresql:
        for name, database in (("SQLite", ""), ("PostgreSQL", postgresql.database("lists"))):
            spent_s = postgresql.cpu_s if database else lambda: 0
            found = measure(_filled(Path(folder) / name, database, DEVICES), spent_s)
            print("   %s: the slowest of %d pages and lists with %d devices" % (name, len(found), DEVICES))
            for ms, page in found[:SHOWN]:
                print("   %8.0f ms %s" % (ms, page), flush=True)


def _filled(folder, database, count):
    folder.mkdir()
    if database:
        (folder / "site.toml").write_text("database = %s\n" % json.dumps(database))
    site = Site(folder, make=True)
    busy_site.fill(site, count)
    site.close()
    return folder


def pages():
    found = ["", "products", "product?id=" + busy_site.PRODUCT, "audit", "tokens", "device?id=" + busy_site.id_of(77)]
    found += ["%s?id=%s" % (page, RELEASE) for page in ("release", "progress", "samples")]
    for said in FILTERS:
        for product in ({}, {"product": busy_site.NAME}):
            found += [page + "?" + urlencode({**said, **product}) for page in ("devices", "device-count")]
    return found


def measure(folder, spent_s):
    """[(milliseconds, page)] of every page, the slowest first. `spent_s`: processor time of the database so far."""
    cloud = _Cloud(folder)
    session = Session(cloud, "bench")
    found = sorted(((_cost_ms(session, page, spent_s), page) for page in pages()), reverse=True)
    cloud.site.close()
    return found


def _cost_ms(session, page, spent_s):
    session.get(page)
    begun = time.process_time() + spent_s()
    for _ in range(ROUNDS):
        reply = session.get(page)
        assert reply.status == 200, (page, reply.body)
    return 1000 * (time.process_time() + spent_s() - begun) / ROUNDS

"""The operators' pages with 100,000 devices, 20 releases and 400 days of reports, on both databases."""

import json
import tempfile
import time
from pathlib import Path

import busy_site
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.rollout import fleet_samples
from ioto_tools.cloud.site import fleet_overview
from ioto_tools.cloud.storage.tables import grants
from web_session import Session

from . import servers

DEVICES = 100_000
ROUNDS = 5
PAGES = ("", "products", "product?id=busy", "versions?id=busy", "release?id=" + busy_site.release_of(19), "audit")


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, servers.Postgresql() as postgresql:
        measure("SQLite", Path(folder) / "sqlite", "")
        measure("PostgreSQL", Path(folder) / "postgresql", "database = %s\n" % json.dumps(postgresql.database("pages")))


def measure(name, folder, settings):
    folder.mkdir()
    (folder / "site.toml").write_text(settings)
    cloud = Cloud(folder)
    busy_site.fill(cloud.site, DEVICES)
    _, sample_ms = _timed(lambda: fleet_samples.take_due(cloud.site))
    cloud.site.database.write(_age, cloud.site.now_s())
    fleet_samples.take_due(cloud.site)
    session = Session(cloud, "bench")
    print("%s: a sample takes %.0f ms" % (name, sample_ms))
    print("   numbers of the overview: %.0f ms" % _best_ms(lambda: fleet_overview.of_site(cloud.site)))
    for page in PAGES:
        print("   page /%-45s %5.0f ms" % (page, _best_ms(lambda: _get(session, page))), flush=True)
    cloud.site.close()


class Cloud:
    def __init__(self, folder):
        self.app = create_app(folder, threads=False)
        self.site = self.app.state.site


def _age(conn, now_s):
    """Let all failures be of the last day, and copy the newest sample to each of the last 400 days."""
    conn.execute(grants.update().where(grants.c.state == "failed").values(changed_s=now_s - 60))
    row = conn.execute(fleet_samples.fleet_samples.select()).mappings().one()
    days = [{**row, "at_s": row["at_s"] - n * 24 * 3600} for n in range(1, 400)]
    conn.execute(fleet_samples.fleet_samples.insert(), days)


def _get(session, page):
    reply = session.get(page)
    assert reply.status == 200, (page, reply.body)


def _timed(function):
    begun = time.perf_counter()
    return function(), 1000 * (time.perf_counter() - begun)


def _best_ms(function):
    return min(_timed(function)[1] for _ in range(ROUNDS))

"""The cost of an update for the cloud: granting an offer, and storing a report.

Each change is on the disk before the cloud answers; many changes share one commit.
"""

import json
import tempfile
from pathlib import Path

import population
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site.site import Site
from ioto_tools.fleet.http import request
from ioto_tools.image import esp

from . import cloud as checkins
from . import servers
from .load import saturate

DEVICES = 2000
LIKE = "BENCHLIKE"
STATES = ("downloading", "staged", "applied", "confirmed")


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, servers.Postgresql() as postgresql:
        _roll_out("SQLite", Path(folder) / "sqlite", "", postgresql)
        _roll_out("PostgreSQL", Path(folder) / "postgresql", postgresql.database("rollout"), postgresql)


def _roll_out(name, folder, database, postgresql):
    update = _site(folder, database)
    with servers.cloud(folder) as cloud:
        tokens = [(population.id_of(n), population.token_of(n)) for n in range(DEVICES)]
        offers = [checkins.check_in(cloud, id, token, 0) for id, token in tokens]
        reports = [_report(cloud, id, token, update, state) for state in STATES for id, token in tokens]
        for what, requests in (("offer", offers), ("report", reports)):
            start = postgresql.cpu_s()
            load = saturate(cloud, requests, None)
            database_us = (postgresql.cpu_s() - start) / load.answers * 1e6
            print("   %-10s each %-6s %5.0f us of processor time, PostgreSQL %4.0f us; %.0f a second" % (
                name, what, load.cost_us, database_us, load.rate), flush=True)  # fmt: skip


def _site(folder, database):
    folder.mkdir()
    if database:
        (folder / "site.toml").write_text("database = %s\n" % json.dumps(database))
    site = Site(folder, make=True)
    new_product(site, "bench", checkins.PRODUCT)
    with servers.cloud(folder) as cloud:
        token = json.loads(servers.post(cloud.port, "/device/register", checkins.PRODUCT, {"id": LIKE}))["token"]
        saturate(cloud, [checkins.check_in(cloud, LIKE, token, 0)], None)
    population.fill(site, LIKE, 0, DEVICES)
    (folder / "image.bin").write_bytes(esp.make_image(1024, "release"))
    release, _ = publish(site, folder / "image.bin", checkins.PRODUCT, "1.1.0")
    site.close()
    return release["id"]


def _report(cloud, id, token, update, state):
    body = {
        "id": id,
        "update": update,
        "success": state == "confirmed",
        "state": state,
        "attempt": 1,
        "version": "1.0.0",
    }
    return request("POST", "/tok/provision/updateReport", "127.0.0.1:%d" % cloud.port, token, json.dumps(body).encode())

"""The cost of an update for the cloud: granting an offer, and storing a report.

Each change is on the disk before the cloud answers; changes that wait at the same time share statements and a commit.
"""

import itertools
import json
import tempfile
from pathlib import Path

import population
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site.site import Site
from ioto_tools.fleet.http import request
from ioto_tools.image import esp

from . import cloud as checkins
from . import servers
from .load import saturate

DEVICES = 2000
LIKE = "BENCHLIKE"
CONNECTIONS = 128
STATES = ("downloading", "staged", "applied", "confirmed")


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, servers.Postgresql() as postgresql:
        for name, url in (("SQLite", lambda kind: ""), ("PostgreSQL", lambda kind: postgresql.database(kind))):
            _apart(name, Path(folder) / (name + "-apart"), url("apart"), postgresql)
            _together(name, Path(folder) / (name + "-together"), url("together"), postgresql)


def _apart(name, folder, database, postgresql):
    """The cost of an offer, and of a report."""
    update = _site(folder, database)
    with servers.cloud(folder) as cloud:
        offers, *reports = _requests(cloud, update)
        for what, requests in (("offer", offers), ("report", [each for state in reports for each in state])):
            start = postgresql.cpu_s()
            load = saturate(cloud, requests, None)
            database_us = (postgresql.cpu_s() - start) / load.answers * 1e6
            print("   %-10s each %-6s %5.0f us of processor time, PostgreSQL %4.0f us; %.0f a second" % (
                name, what, load.cost_us, database_us, load.rate), flush=True)  # fmt: skip


def _together(name, folder, database, postgresql):
    """Two workers update the devices, each of which sends its next request after the answer to the previous one."""
    update = _site(folder, database)
    with servers.cloud(folder, "--workers", "2") as cloud:
        steps = [[b""] * (n * CONNECTIONS) + step for n, step in enumerate(_requests(cloud, update))]
        requests = [each for some in itertools.zip_longest(*steps) for each in some if each]
        start = postgresql.cpu_s()
        load = saturate(cloud, requests, None, CONNECTIONS)
        database_s = postgresql.cpu_s() - start
    site = Site(folder)
    [found] = overview.updates(site)
    assert found["states"] == {"confirmed": DEVICES}, found
    site.close()
    cost_ms = [each / DEVICES * 1000 for each in (load.server_s + database_s, database_s, load.own_s)]
    print("   %-10s two workers: %.0f devices a second; %.1f ms of processor time for each, PostgreSQL %.1f ms of it; "
          "this process %.1f ms" % (name, DEVICES / load.seconds, *cost_ms), flush=True)  # fmt: skip


def _requests(cloud, update):
    """The requests of all devices: [[check-in of each], [first report of each], ...]."""
    tokens = [(population.id_of(n), population.token_of(n)) for n in range(DEVICES)]
    offers = [checkins.check_in(cloud, id, token, 0) for id, token in tokens]
    return [offers] + [[_report(cloud, id, token, update, state) for id, token in tokens] for state in STATES]


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

"""Costs as a fleet grows: the same site with more and more devices in its database."""

import json
import random
import statistics
import tempfile
from pathlib import Path

import population
from ioto_tools.cloud.site.site import Site

from . import cloud as checkins
from . import page, servers
from .load import saturate

SIZES = (1_000, 100_000)
MOST = 5_000_000  # takes a few minutes and 2.5 GB of disk space: `python -m tests.bench millions`
SAMPLE = 5000
HOT = 500
ROUND_S = 1.5
LIKE = "BENCHLIKE"


def main(sizes=SIZES):
    print("   %10s %12s %16s %15s   %s" % ("devices", "known", "first seen", "database", "slowest page"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = Path(folder)
        checkins.fill(folder / "site")
        _template(folder)
        there = 0
        for size in sizes:
            site = Site(folder / "site")
            population.fill(site, LIKE, there, size - there)
            each_bytes = population.database_bytes(site) / size
            site.close()
            there = size
            slowest = page.slowest(folder / "site", size, checkins.PRODUCT)
            print(
                "   %10d %s %8d bytes   %.0f ms %s" % (size, _measure(folder, size), each_bytes, *slowest), flush=True
            )


def _template(folder):
    """Add a device that has checked in; population.fill() copies it."""
    with servers.cloud(folder / "site") as cloud:
        token = json.loads(servers.post(cloud.port, "/device/register", checkins.PRODUCT, {"id": LIKE}))["token"]
        saturate(cloud, [checkins.check_in(cloud, LIKE, token, 0)], None)


def _measure(folder, size):
    with servers.cloud(folder / "site") as cloud:
        draw = random.Random(size)
        asked = [draw.randrange(size) for _ in range(SAMPLE)]
        requests = [checkins.check_in(cloud, population.id_of(n), population.token_of(n), n) for n in asked]
        first = saturate(cloud, requests, None)
        hot = requests[:HOT]
        saturate(cloud, hot, 0.5)
        again = statistics.median(saturate(cloud, hot, ROUND_S).cost_us for _ in range(3))
        return "%9.0f us %13.0f us" % (again, first.cost_us)

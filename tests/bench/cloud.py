"""Check-ins: against an empty handler on the same uvicorn, their times at half load, and against goosebit's poll.

The servers take turns, a round of a second or two each, and the median of the rounds' ratios counts: what else the machine
does meanwhile falls on all of them. Rates are of this machine and mean nothing alone.
"""

import json
import statistics
import tempfile
from pathlib import Path

from ioto_tools.cloud.publish import new_product, publish
from ioto_tools.cloud.site import Site
from ioto_tools.fleet.http import request
from ioto_tools.image import esp

from . import servers
from .load import open_loop, saturate

PRODUCT = "BENCHBENCH"
DEVICES = 500
ROUNDS = 7
ROUND_S = 1.5


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        fill(Path(folder))
        with servers.empty() as empty, servers.cloud(Path(folder) / "site") as cloud, servers.goosebit(DEVICES) as goosebit:
            for server in (empty, goosebit):
                servers.wait_for(server.port)
            compare("SQLite", cloud, empty, goosebit)


def fill(folder):
    """A site with the releases of the full configuration."""
    site = Site(folder / "site", make=True)
    new_product(site, "bench", PRODUCT)
    for n in range(20):
        path = folder / "image.bin"
        path.write_bytes(esp.make(1024, "release %d" % n))
        publish(site, path, PRODUCT, "1.0.%d" % n)
    site.close()


def compare(name, cloud, empty, goosebit):
    checkins, polls = check_ins(cloud), goosebit_polls(goosebit)
    turns = {"cloud": (cloud, checkins), "empty": (empty, checkins), "goosebit": (goosebit, polls)}
    for server, requests in turns.values():
        saturate(server, requests, 0.5)  # warm
    rounds = [{each: saturate(*turn, ROUND_S) for each, turn in turns.items()} for _ in range(ROUNDS)]
    for each in turns:
        rates = sorted(round[each].rate for round in rounds)
        print("   %-9s %6.0f a second (%.0f to %.0f), processor %4.0f us for each; this process %3.0f us" % (
            each, statistics.median(rates), rates[0], rates[-1], statistics.median(round[each].cost_us for round in rounds),
            statistics.median(round[each].own_s / round[each].answers * 1e6 for round in rounds)), flush=True)  # fmt: skip
    for other, wanted in (("empty", 0.40), ("goosebit", 15)):
        by_rate = statistics.median(round["cloud"].rate / round[other].rate for round in rounds)
        by_cost = statistics.median(round[other].cost_us / round["cloud"].cost_us for round in rounds)
        print("Check-ins on %s against %s: %.2f by rate, %.2f by processor time (target %s)" % (name, other, by_rate, by_cost, wanted), flush=True)
    half = statistics.median(round["cloud"].rate for round in rounds) / 2
    times = [open_loop(cloud, checkins, half, 4) for _ in range(3)]
    p50, p99 = (statistics.median(load.latency.quantile(q) for load in times) * 1000 for q in (0.5, 0.99))
    print("Open loop on %s at half of that, %.0f a second: median %.1f ms, p99 %.1f ms (target 50)" % (name, half, p50, p99), flush=True)


def check_ins(cloud):
    """Registers the devices; their check-ins."""
    ids = ["BENCH%05d" % n for n in range(DEVICES)]
    registered = (servers.post(cloud.port, "/device/register", PRODUCT, {"id": id, "model": "thermo"}) for id in ids)
    return [check_in(cloud, id, json.loads(reply)["token"], n) for n, (id, reply) in enumerate(zip(ids, registered, strict=True))]


def check_in(cloud, id, token, n):
    """A check-in with the properties of a real board, those of board `n`."""
    body = {
        "id": id, "product": PRODUCT, "version": "1.0.19", "iotoVersion": "0.1.0", "model": "thermo", "region": "us-west", "pro": n % 3 == 0,
        "memory": 256, "chip": 0, "slotSize": 1703936, "accepts": ["raw"], "uptime": 86400 + n, "rssi": -60 - n % 20,
    }  # fmt: skip
    return request("POST", "/tok/provision/update", "127.0.0.1:%d" % cloud.port, token, json.dumps(body).encode())


def goosebit_polls(goosebit):
    host = "127.0.0.1:%d" % goosebit.port
    auth = "Authorization: TargetToken token-%d\r\nAccept: application/json\r\n"
    return [request("GET", "/DEFAULT/controller/v1/device-%d" % n, host, more=auth % n) for n in range(DEVICES)]

"""Check-ins, compared with goosebit's polls and with an empty handler on the same uvicorn; latency at half load.

The servers take turns, in rounds of a second or two, and the result is the median of the rounds' ratios: so other load
on the machine affects all servers alike. The rates themselves depend on the machine.
"""

import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site.site import Site
from ioto_tools.fleet.http import request
from ioto_tools.image import esp

from . import servers
from .load import open_loop, saturate

PRODUCT = "BENCHBENCH"
DEVICES = 500
HOURS = 24  # at least 3: number of check-ins of each device; they all differ
RELEASES = 20
POLICY = (
    "device.version < update.version && (device.region == 'us-west' || device.pro == true) && device.memory >= "
    "256 && device.model == 'other'"
)
ROUNDS = 7
ROUND_S = 1.5


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, servers.Postgresql() as postgresql:
        sites = {"SQLite": Path(folder) / "sqlite", "PostgreSQL": Path(folder) / "postgresql"}
        fill(sites["SQLite"])
        fill(sites["PostgreSQL"], postgresql.database("bench"))
        with servers.empty() as empty, servers.goosebit(DEVICES) as goosebit, ExitStack() as stack:
            clouds = {name: stack.enter_context(servers.cloud(site)) for name, site in sites.items()}
            for server in (empty, goosebit):
                servers.wait_for(server.port)
            compare(clouds, empty, goosebit, postgresql)


def fill(folder, database=""):
    """Make a site with the releases of the full configuration.

    Twenty releases are higher than the devices' version. Each has a policy of five terms, the last of which is false.
    So every check-in evaluates all policies, and no device is offered a release.
    """
    folder.mkdir()
    if database:
        (folder / "site.toml").write_text("database = %s\n" % json.dumps(database))
    site = Site(folder, make=True)
    new_product(site, "bench", PRODUCT)
    for n in range(RELEASES):
        path = folder / "image.bin"
        path.write_bytes(esp.make_image(1024, "release %d" % n))
        publish(site, path, PRODUCT, "1.1.%d" % n, said={"policy": POLICY})
        path.unlink()
    site.close()


def compare(clouds, empty, goosebit, postgresql):
    asked = {name: check_ins(cloud) for name, cloud in clouds.items()}
    turns = {name: (cloud, asked[name]) for name, cloud in clouds.items()}
    turns.update(empty=(empty, asked["SQLite"]), goosebit=(goosebit, goosebit_polls(goosebit)))
    for server, requests in turns.values():
        saturate(server, requests[: 3 * DEVICES], None)  # the third check-in of a device is the first from memory
    rounds = [{each: _round(turn, postgresql) for each, turn in turns.items()} for _ in range(ROUNDS)]
    for each in turns:
        _print_rates(each, [round[each] for round in rounds])
    for name, cloud in clouds.items():
        for other, wanted in (("empty", 0.40), ("goosebit", 15)):
            by_rate = statistics.median(round[name].rate / round[other].rate for round in rounds)
            by_cost = statistics.median(round[other].cost_us / round[name].cost_us for round in rounds)
            print(
                "Check-ins on %s relative to %s: %.2f by rate, %.2f by processor time (target %s)"
                % (name, other, by_rate, by_cost, wanted)
            )
        half = statistics.median(round[name].rate for round in rounds) / 2
        times = [open_loop(cloud, asked[name], half, 4) for _ in range(3)]
        p50, p99 = (statistics.median(load.latency.quantile(q) for load in times) * 1000 for q in (0.5, 0.99))
        print(
            "Open loop on %s at half of this rate, %.0f a second: median %.1f ms, p99 %.1f ms (target 50)"
            % (name, half, p50, p99),
            flush=True,
        )


def _round(turn, postgresql):
    """The Load of a turn, with the processor time of PostgreSQL as `database_us`."""
    start = postgresql.cpu_s()
    load = saturate(*turn, ROUND_S)
    load.database_us = (postgresql.cpu_s() - start) / load.answers * 1e6
    return load


def _print_rates(name, loads):
    rates = sorted(load.rate for load in loads)
    cost, own, database = (
        statistics.median(found)
        for found in zip(*((load.cost_us, load.own_us, load.database_us) for load in loads), strict=True)
    )
    print("   %-10s %6.0f a second (%.0f to %.0f), processor %4.0f us for each; PostgreSQL %3.0f us, this process "
          "%3.0f us" % (
        name, statistics.median(rates), rates[0], rates[-1], cost, database, own), flush=True)  # fmt: skip


def check_ins(cloud):
    """Register the devices; return HOURS check-ins of each."""
    ids = ["BENCH%05d" % n for n in range(DEVICES)]
    tokens = [
        json.loads(servers.post(cloud.port, "/device/register", PRODUCT, {"id": id, "model": "thermo"}))["token"]
        for id in ids
    ]
    return [check_in(cloud, id, token, hour) for hour in range(HOURS) for id, token in zip(ids, tokens, strict=True)]


def check_in(cloud, id, token, hour):
    """A check-in like that of a real board; some properties differ each time."""
    body = {
        "id": id, "product": PRODUCT, "version": "1.0.0", "iotoVersion": "0.1.0", "model": "thermo", "region": "north",
        "pro": True,
        "memory": 256, "chip": 0, "slotSize": 1703936, "accepts": ["raw"], "uptime": hour * 3600,
        "health": {
            "free": 81920 - hour * 16, "least": 40960, "resets": {"power": 1, "soft": hour % 3}, "rssi": -60 - hour % 7,
            "fs": 524288, "app": {"queue": hour, "errors": 0, "temperature": 21.5, "battery": 3.31},
        },
    }  # fmt: skip
    return request("POST", "/tok/provision/update", "127.0.0.1:%d" % cloud.port, token, json.dumps(body).encode())


def goosebit_polls(goosebit):
    host = "127.0.0.1:%d" % goosebit.port
    auth = "Authorization: TargetToken token-%d\r\nAccept: application/json\r\n"
    return [request("GET", "/DEFAULT/controller/v1/device-%d" % n, host, more=auth % n) for n in range(DEVICES)]

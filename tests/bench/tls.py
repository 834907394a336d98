"""The cost of TLS for check-ins through nginx: on kept connections, and on a new one for each, as boards do."""

import statistics
import tempfile
from pathlib import Path

from . import cloud as checkins
from . import images, servers
from .images import behind_nginx
from .load import saturate

ROUNDS = 5
ROUND_S = 1.5


def main():
    if not behind_nginx.PROGRAM:
        print("TLS: not measured, nginx is not installed (apt-get install nginx-light)")
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = Path(folder)
        checkins.fill(folder / "site")
        with servers.cloud(folder / "site") as cloud:
            requests = checkins.check_ins(cloud)
            with behind_nginx.Nginx(folder / "nginx", "http://127.0.0.1:%d" % cloud.port, folder / "site") as nginx:
                nginx.context.check_hostname = False
                compare(cloud, nginx, requests)


def compare(cloud, nginx, requests):
    before = images.ProcessGroup(
        nginx.port, lambda: sum(servers.cpu_s(pid) for pid in servers.family(nginx.process.pid))
    )
    ways = {"kept": True, "fresh": False}
    rounds = [
        {way: _round(cloud, before, requests, nginx.context, kept) for way, kept in ways.items()}
        for _ in range(ROUNDS + 1)
    ][1:]
    for way in ways:
        outer, inner, rate = (statistics.median(found) for found in zip(*(round[way] for round in rounds), strict=True))
        print(
            "Check-ins over TLS, %s connections: %.0f us of nginx, %.0f us of the cloud for each (%.0f a second)"
            % (way, outer, inner, rate),
            flush=True,
        )


def _round(cloud, nginx, requests, tls, kept):
    """(microseconds of nginx for each check-in, microseconds of the cloud, check-ins per second)."""
    start = cloud.cpu_s()
    load = saturate(nginx, requests, ROUND_S, tls=tls, keep_alive=kept)
    return load.cost_us, (cloud.cpu_s() - start) / load.answers * 1e6, load.rate

"""Where a check-in spends its time: Python's profiler around the real server under load."""

import pstats
import signal
import tempfile
from pathlib import Path

from . import cloud, servers
from .load import saturate

SECONDS = 5
LINES = 45


def main():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = Path(folder)
        cloud.fill(folder / "site")
        with servers.cloud(folder / "site", profile=folder / "profile") as server:
            requests = cloud.check_ins(server)
            load = saturate(server, requests, SECONDS)
            server.process.send_signal(signal.SIGINT)
            server.process.wait(30)
        print(
            "%d check-ins, with the profiler on; `ncalls` also counts %d registrations" % (load.answers, cloud.DEVICES)
        )
        stats = pstats.Stats(str(folder / "profile"))
        for order in ("tottime", "cumulative"):
            stats.sort_stats(order).print_stats(LINES)

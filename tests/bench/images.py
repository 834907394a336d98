"""Downloads through nginx as configured by `ioto cloud nginx`, and from Python alone, compared with nginx alone.

All use TLS on kept connections, except for Python, which does not terminate TLS in this setup. Processor time is that
of nginx and the cloud together.
"""

import json
import statistics
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import nginx_server as behind_nginx
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site.site import Site
from ioto_tools.fleet.http import request
from ioto_tools.image import esp

from . import servers
from .load import saturate

BYTES = 1640800 // 16 * 16  # MicroPython's own image
ROUNDS = 5
ROUND_S = 1.5
CONNECTIONS = 8
RESUMED = tuple("Range: bytes=%d-\r\n" % (start * BYTES // 16 // 4096 * 4096) for start in range(16))
# download -> header lines, one item for each request
ASKED = {"whole": ("",), "resumed somewhere": RESUMED, "the last 64 KiB": ("Range: bytes=-65536\r\n",)}


class ProcessGroup:
    """A port, and the processor time of the processes behind it."""

    def __init__(self, port, cpu_s):
        self.port, self.cpu_s = port, cpu_s


def main():
    if not behind_nginx.PROGRAM:
        print("Images: not measured, nginx is not installed (apt-get install nginx-light)")
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = Path(folder)
        checksum = fill(folder)
        with servers.cloud(folder / "site", "--public-url", "https://%s" % behind_nginx.NAME) as cloud:
            link = urlsplit(offered(cloud)["url"])
            port = servers.free_port()
            itself = (
                "server { listen 127.0.0.1:%d ssl; ssl_certificate %s/tls/server.pem; ssl_certificate_key "
                "%s/tls/server.key; root %s; sendfile on; tcp_nopush on; }"
            )
            more = itself % (port, folder / "nginx", folder / "nginx", folder / "site" / "images")
            with behind_nginx.Nginx(
                folder / "nginx", "http://127.0.0.1:%d" % cloud.port, folder / "site", more
            ) as nginx:
                nginx.context.check_hostname = False
                turns(cloud, nginx, port, link.path + "?" + link.query, "/%s/%s" % (checksum[:2], checksum))


def fill(folder):
    site = Site(folder / "site", make=True)
    new_product(site, "bench", "BENCHBENCH")
    (folder / "image.bin").write_bytes(esp.make_image(BYTES, "bench"))
    checksum = publish(site, folder / "image.bin", "bench", "1.1.0")[0]["checksum"]
    site.close()
    return checksum


def offered(cloud):
    token = json.loads(servers.post(cloud.port, "/device/register", "BENCHBENCH", {"id": "D1"}))["token"]
    return json.loads(servers.post(cloud.port, "/tok/provision/update", token, {"id": "D1", "version": "1.0.0"}))


def turns(cloud, nginx, port, link, file):
    def nginx_s():
        return sum(servers.cpu_s(pid) for pid in servers.family(nginx.process.pid))

    ways = {
        "nginx alone": (ProcessGroup(port, nginx_s), file, nginx.context),
        "nginx and the cloud": (ProcessGroup(nginx.port, lambda: nginx_s() + cloud.cpu_s()), link, nginx.context),
        "Python alone": (cloud, link, None),
    }
    for asked, lines in ASKED.items():
        rounds = [{way: _round(lines, *ways[way]) for way in ways} for _ in range(ROUNDS + 1)][1:]
        for way in ways:
            rate, cost = (
                statistics.median(getattr(round[way], each) for round in rounds) for each in ("rate", "cost_us")
            )
            print("   %s, %-22s %5.0f a second, processor %5.0f us for each" % (asked, way, rate, cost), flush=True)
        for way in list(ways)[1:]:
            by_rate = statistics.median(round[way].rate / round["nginx alone"].rate for round in rounds)
            by_cost = statistics.median(round["nginx alone"].cost_us / round[way].cost_us for round in rounds)
            print(
                "Images, %s, %s relative to nginx alone: %.2f by rate, %.2f by processor time"
                % (asked, way, by_rate, by_cost),
                flush=True,
            )


def _round(lines, server, target, tls):
    host = behind_nginx.NAME
    return saturate(server, [request("GET", target, host, more=more) for more in lines], ROUND_S, CONNECTIONS, tls=tls)

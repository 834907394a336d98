"""Test rig: a virtual board with the agent, and a device cloud on the simulated network, in simulated time."""

import functools
import json
import ssl
import sys
import tempfile
from pathlib import Path

from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.agent_build import agent_files
from ioto_tools.image import esp
from ioto_tools.virtual_board import Board
from ioto_tools.virtual_board.peers import AsgiServer, TlsServer
from ioto_tools.virtual_board.simulated_network import SimulatedNetwork

ROOT = Path(__file__).parent.parent.parent
PRODUCT = "PRODUCT7"
NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC

MAIN = """
import asyncio
from ioto import rWatch
from ioto.start import agent

def update(data, staged):
    print("DEVICE:UPDATE", staged.version, staged.attempt)
    staged.apply()

def progress(data, arg):
    print("PROGRESS", arg[0])

rWatch("device:update", update)
rWatch("device:confirmed", lambda data, version: print("CONFIRMED", version))
rWatch("device:update:failed", lambda data, e: print("FAILED", e.reason))
rWatch("device:rollback", lambda data, e: print("ROLLBACK", e.reason))
asyncio.run(agent(listener=lambda level, message: print(level, message)).run())
"""


def config(**changes):
    """The bytes of ioto.json for a device of the test cloud; `changes` are dotted keys with __ for each dot."""
    found = {
        "product": PRODUCT, "version": "1.0.0", "builder": "https://cloud.test", "tls.ca": "ca.pem",
        "network.dns": "10.0.0.1", "log.level": "debug",
        "update.jitter": 0, "update.period": "1 hour", "update.throttle": 0, "update.retry": 5,
        "ntp.server": "time.test",
        "network.timeout": 20, "registration.hosts": ["api.test"], "watchdog": 600, "trial.limit": 120,
    }  # fmt: skip
    found.update({k.replace("__", "."): v for k, v in changes.items()})
    nested = {}
    for key, value in found.items():
        *path, last = key.split(".")
        inside = nested
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return json.dumps(nested).encode()


@functools.cache
def authority():
    """A temporary folder with the certificates of all simulated hosts; the cache keeps it until the tests end."""
    folder = tempfile.TemporaryDirectory()
    names = ["%s.test" % name for name in ("cloud", "builder", "api", "images")] + ["localhost", "127.0.0.1"]
    certificates.make(folder.name, names)
    return folder


def ca():
    return (Path(authority().name) / "ca.pem").read_bytes()


@functools.cache
def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority().name + "/server.pem", authority().name + "/server.key")
    return context


def secure(peer):
    """Return a server that adds TLS to `peer`."""
    return TlsServer(peer, server_context())


class Rig:
    """One board and one cloud. `image(n)` returns small valid images; image 0 is installed in slot 0.

    `first`: another image for slot 0, on a board with 4 MB of flash.
    """

    def __init__(
        self, folder, blocks=3, device=None, main=MAIN, air=None, cloud=True, files=None, date=True, first=None,
        **changes,
    ):  # fmt: skip
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.blocks = blocks
        self.first = first or self.image(0)
        peers = {}
        if cloud:
            self.app = create_app(self.folder / "cloud", public_url="https://cloud.test",
                clock=lambda: NOW + self.now(), random_bytes=self.random, threads=False)  # fmt: skip
            self.site = self.app.state.site
            new_product(self.site, "product", PRODUCT)
            peers[("cloud.test", 443)] = secure(AsgiServer(self.app, "https", date))
        options = dict(peers=peers, names={"time.test": "10.0.9.9"}, unix_s=NOW)
        options.update(air or {})
        options["peers"] = {**peers, **(air or {}).get("peers", {})}
        self.air = SimulatedNetwork(**options)
        files = {**agent_files(), "ca.pem": ca(), **(files or {})}
        files["boot.py"] = (ROOT / "boot.py").read_bytes()
        files["main.py"] = main.encode()
        files["ioto.json"] = config(**changes)
        files["device.json"] = json.dumps(device or {"id": "DEVICE0001", "model": "virtual"}).encode()
        self.board = Board.create(
            self.folder / "board.flash", self.first, files, flash_bytes=4 << 20 if first else 1 << 20,
            slot_bytes=0x1A0000 if first else 0x10000, air=self.air,
        )  # fmt: skip
        self.first_otadata()

    def first_otadata(self):
        self.board.set_otadata("1/VALID -")

    def now(self):
        return self.board.clock.now_us // 1000000 if hasattr(self, "board") else 0

    def random(self, n):
        self.seed = getattr(self, "seed", 0) + 1
        return self.seed.to_bytes(n, "big")

    def image(self, n):
        return esp.make_image(self.blocks * 4096 - 2048, "image %d" % n)

    def publish(self, image, version, **said):
        path = self.folder / ("%s.bin" % version)
        path.write_bytes(image)
        return publish(self.site, path, PRODUCT, version, said=said)[0]

    def run(self, **limits):
        limits.setdefault("until_s", 4000)
        return self.board.run(**limits)

    def record(self):
        """The agent's record: the newer valid one of the two files."""
        from ioto.recall import decode

        files = self.board.files()
        found = [decode(files.get("state/record.%d" % i, b"")) for i in (0, 1)]
        return max((f for f in found if f), key=lambda f: f[0], default=(0, None))[1]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(folder)
        rig.publish(rig.image(1), "1.0.1")
        run = rig.run(console=print, until_s=float(sys.argv[1]) if len(sys.argv) > 1 else 300)
        print(run.ended, run.boots, rig.board.describe_otadata(), rig.record())

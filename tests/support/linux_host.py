"""A Linux host for tests, and a real device cloud on loopback.

The host is the agent as a process of the unix port, its folder and its supervisor.
"""

import json
import queue
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import uvicorn
from ioto.recall import decode
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.deploy.agent_build import agent_files
from rig import authority, ca

MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"
PRODUCT = "PRODUCT7"
LIMIT_S = 30  # longest wait for one event, in real seconds
RESTART = 85
IMAGE = random.Random(1).randbytes(100_000)
# The reports of an update that succeeds at the first attempt.
GOOD = [("downloading", "", 1), ("staged", "", 1), ("applied", "", 1), ("confirmed", "", 1)]

# main.py of the host: prints what the watchers receive. The two placeholders are code to insert and the agent's folder.
MAIN = """
import sys
sys.path.insert(0, "lib")
import asyncio, gc
from ioto import rWatch
from ioto.start import agent

def update(data, staged):
    print("DEVICE:UPDATE", staged.version, staged.attempt)
    staged.apply()

def progress(data, arg):
    gc.collect()
    print("PROGRESS", arg[0], gc.mem_alloc())

rWatch("device:update", update)
rWatch("device:update:progress", progress)
rWatch("device:confirmed", lambda data, version: print("CONFIRMED", version))
rWatch("device:update:failed", lambda data, e: print("FAILED", e.reason))
rWatch("device:rollback", lambda data, e: print("ROLLBACK", e.reason))
%s
asyncio.run(agent(%r, listener=lambda level, message: print(level, message)).run())
"""


class Served:
    """The device cloud, served by uvicorn in a thread. `requests` is a list of (method, path, Range or "")."""

    def __init__(self, folder):
        self.folder = folder
        sock = socket.create_server(("127.0.0.1", 0))
        self.url = "https://127.0.0.1:%d" % sock.getsockname()[1]
        self.requests = []
        self.meanwhile = None  # coroutine function that is called once, between a check-in and its reply
        self.app = create_app(folder / "cloud", self.url)
        self.site = self.app.state.site
        new_product(self.site, "product", PRODUCT)
        files = {"ssl_certfile": authority().name + "/server.pem", "ssl_keyfile": authority().name + "/server.key"}
        self.server = uvicorn.Server(
            uvicorn.Config(self._seen, interface="asgi3", http="h11", lifespan="off", log_level="error", **files)
        )
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [sock]}, daemon=True)
        self.thread.start()

    async def _seen(self, scope, receive, send):
        self.requests.append((scope["method"], scope["path"], dict(scope["headers"]).get(b"range", b"").decode()))
        if self.meanwhile and scope["path"].endswith("/update"):
            doing, self.meanwhile = self.meanwhile, None
            await doing()
        await self.app(scope, receive, send)

    def publish(self, content, version):
        path = self.folder / (version + ".file")
        path.write_bytes(content)
        return publish(self.site, path, PRODUCT, version, any_file=True)[0]

    def reports(self, version="1.0.1"):
        """[(state, reason, attempt)] of the device's reports about `version`; empty if there is no device yet."""
        found = [
            r for device in overview.devices(self.site) for r in overview.device(self.site, device["id"])["reports"]
        ]
        return [(r["state"], r["reason"], r["attempt"]) for r in found if r["version"] == version]

    def downloads(self):
        """The Range header of each request for an image."""
        return [found for method, path, found in self.requests if path.startswith("/image/")]

    def close(self):
        self.server.should_exit = True
        self.thread.join(10)
        self.site.close()


class Host:
    """One device: its folder, and `inside` it the agent's folder ("" or a path that ends in /).

    `does` is the shell code of the update script.
    """

    def __init__(self, folder, cloud, does="echo continue", inside="", before="", heap=None, **update):
        self.root = Path(folder) / "device"
        self.folder = self.root / inside
        self.cloud = cloud
        self.heap = heap
        self.process = None
        self.console = ""
        self.lines = queue.Queue()
        self.folder.mkdir(parents=True)
        for name, content in agent_files("linux").items():
            self.put(name, content, self.root)
        self.put("main.py", MAIN % (before, inside), self.root)
        self.put("device.json", json.dumps({"id": "auto", "model": "linux"}))
        self.put("ca.pem", ca())
        self.put("ioto.json", json.dumps(self._config(update)))
        self.script(does, update.get("script", "scripts/update"))

    def _config(self, update):
        trial = {"limit": update.get("limit", 10), "selftest": 2}
        update = {k: v for k, v in update.items() if k != "limit"}
        update = {"period": 1, "jitter": 0, "throttle": 0, "retry": 0, **update}
        return {
            "product": PRODUCT, "version": "1.0.0", "builder": self.cloud.url, "ntp": {"server": ""},
            "tls": {"ca": "ca.pem", "verify": update.get("transport") != "urequests"}, "log": {"level": "debug"},
            "network": {"timeout": 5}, "trial": trial, "update": update,
        }  # fmt: skip

    def put(self, name, content, folder=None):
        path = (folder or self.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def script(self, text, name="scripts/update"):
        path = self.put(name, "#!/bin/sh\n%s\n" % text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def start(self):
        """Start a process, after an earlier one was killed; until() and ended() read its output."""
        self.kill()
        command = [MICROPYTHON] + (["-X", "heapsize=" + self.heap] if self.heap else []) + ["main.py"]
        self.console, self.lines = "", queue.Queue()
        self.process = subprocess.Popen(
            command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        threading.Thread(target=self._read, args=(self.process, self.lines), daemon=True).start()
        return self

    @staticmethod
    def _read(process, lines):
        for line in process.stdout:
            lines.put(line.decode("utf-8", "replace").rstrip("\n"))
        lines.put(None)

    def _line(self, limit):
        try:
            return self.lines.get(timeout=max(0.0, limit - time.monotonic()))
        except queue.Empty:
            raise AssertionError("no more output within %d s:\n%s" % (LIMIT_S, self.console)) from None

    def until(self, text):
        """Wait for the next line that contains `text` and return it."""
        limit = time.monotonic() + LIMIT_S
        while (line := self._line(limit)) is not None:
            self.console += line + "\n"
            if text in line:
                return line
        raise AssertionError("the process has ended without the output %r:\n%s" % (text, self.console))

    def ended(self):
        """Wait until the process ends by itself and return its exit status."""
        limit = time.monotonic() + LIMIT_S
        while (line := self._line(limit)) is not None:
            self.console += line + "\n"
        return self.process.wait(LIMIT_S)

    def kill(self):
        """Kill the process with SIGKILL, which it can't handle."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT_S)

    def reported(self, state, version="1.0.1"):
        """Wait until the cloud has a report of `state` about `version`; return all reports about that version."""
        limit = time.monotonic() + LIMIT_S
        while state not in [s for s, _, _ in self.cloud.reports(version)]:
            assert time.monotonic() < limit and self.process.poll() is None, self.console + str(list(self.lines.queue))
            time.sleep(0.02)
        return self.cloud.reports(version)

    def becomes(self, wanted):
        """Wait until wanted(record) is true."""
        limit = time.monotonic() + LIMIT_S
        while not wanted(self.record()):
            assert time.monotonic() < limit, self.record()
            time.sleep(0.02)

    def record(self):
        found = [decode((self.folder / ("state/record.%d" % i)).read_bytes()) for i in (0, 1)]
        return max((f for f in found if f), key=lambda f: f[0])[1]


def keep(more="echo continue"):
    """A script that keeps a copy of the file in its first argument, then runs `more`."""
    return 'n=$(ls kept.* 2>/dev/null | wc -l); cp "$1" kept.$n; ' + more


def kept(device):
    return [path.read_bytes() for path in sorted(device.root.glob("kept.*"))]

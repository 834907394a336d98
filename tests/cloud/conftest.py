"""Fixtures of the device cloud's tests: a cloud stepped by hand, the command line, a real server."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
for folder in (ROOT / "lib", ROOT / "tools", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from cloud_under_test import COMMAND, ENV, Cloud  # noqa: E402


@pytest.fixture
def cloud(tmp_path):
    made = Cloud(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ioto(tmp_path):
    """ioto("devices", "--json") runs the command in the test's folder."""

    def run(*arguments, ok=True):
        done = subprocess.run([*COMMAND, *map(str, arguments)], cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=60)
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def serve(tmp_path):
    """serve(*options) starts `ioto cloud serve` in the test's folder: (process, address)."""
    started = []

    def start(*options):
        process = subprocess.Popen(
            [*COMMAND, "cloud", "serve", "--port", "0", *options], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, process.stdout.readline().split()[3].rstrip(",")

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20)
        process.stdout.close()

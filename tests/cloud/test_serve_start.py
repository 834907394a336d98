"""At startup, `ioto cloud serve` prints its address, its database and images, and warnings about unsafe options."""

import json
import os
import signal
import subprocess

import pytest
from cloud_under_test import COMMAND, ENV
from ioto_tools.cli.serve import _storage

BOTH = True
LOOPBACK = ("--host", "127.0.0.1")
ANYWHERE = ("--host", "0.0.0.0")
ROOT = ["running as root"] if os.geteuid() == 0 else []


def start(folder, *options):
    """Start a server, stop it once it accepts connections, and return (standard output, standard error)."""
    command = [*COMMAND, "cloud", "serve", "--data", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    while line := process.stdout.readline():
        said += line
        if line == "}\n" or "connections" in line:  # the last line
            break
    process.send_signal(signal.SIGINT)
    rest, warnings = process.communicate(timeout=30)
    assert process.returncode == 0 and not rest, warnings
    return said, warnings


@pytest.mark.sweep
@pytest.mark.parametrize(
    "options, wanted",
    [
        ((*LOOPBACK, "--requests-per-minute", "0"), []),
        ((*LOOPBACK, "--public-url", "http://updates.test"), ["--public-url http://updates.test is plain HTTP"]),
        ((*ANYWHERE, "--public-url", "https://updates.test"), ROOT),
        (
            (*ANYWHERE, "--requests-per-minute", "0", "--registrations-per-hour", "0"),
            ["plain HTTP", "--requests-per-minute 0", "--registrations-per-hour 0", *ROOT],
        ),
    ],
)
def test_what_is_unsafe(tmp_path, options, wanted):
    said, warnings = start(tmp_path / "site", "--json", *options)
    found = json.loads(said)["warnings"]
    assert len(found) == len(wanted) and all(each.startswith(text) for each, text in zip(found, wanted)), found
    assert [line.removeprefix("Warning: ") for line in warnings.splitlines()] == found


@pytest.mark.sweep
def test_what_it_uses(make_site, tmp_path, kind):
    make_site(tmp_path / "site").close()
    lines = start(tmp_path / "site", "--connections", "300")[0].splitlines()
    assert (
        lines[0].startswith("device cloud at http://127.0.0.1:") and lines[3] == "  1 worker of up to 300 connections"
    )
    if type(kind).__name__ == "InFolder":
        assert lines[1] == "  database: SQLite, %s" % (tmp_path / "site" / "cloud.db")
        assert lines[2] == "  images: %s" % (tmp_path / "site" / "images")
    else:
        assert lines[1].startswith("  database: postgresql") and lines[2].startswith("  images: bucket ")


def test_no_password_is_shown(tmp_path):
    (tmp_path / "site").mkdir(mode=0o700)
    (tmp_path / "site" / "site.toml").write_text('database = "postgresql://ioto:secret@127.0.0.1:1/none"\n')
    (tmp_path / "site" / "site.toml").chmod(0o600)
    assert _storage(str(tmp_path / "site"))["database"] == "postgresql://ioto:***@127.0.0.1:1/none"

"""`ioto fleet run` against a real `ioto cloud serve` with TLS, over kept and new connections."""

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from ioto_tools.cli import main
from ioto_tools.cloud.site import certificates
from ioto_tools.fleet import real_time
from ioto_tools.fleet.settings import Settings
from ioto_tools.image import esp

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "scale.md").read_text()
ENV = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "lib"), str(ROOT / "tools")]), COLUMNS="200")


def ioto(*arguments, ok=True):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(each) for each in arguments])
    assert (done.exit_code == 0) == ok, done.output
    return done.output


@pytest.fixture
def address(tmp_path):
    """The address of a cloud with TLS, a product and a release."""
    site = ("--data", tmp_path / "site")
    ioto("product", "new", "sim", "--id", "SIMPRODUCT", *site)
    (tmp_path / "image.bin").write_bytes(esp.make_image(60000, "1.1.0"))
    ioto("publish", tmp_path / "image.bin", "--product", "sim", "--version", "1.1.0", *site)
    certificates.make(tmp_path, ["127.0.0.1"])
    files = ("--certificate", tmp_path / "server.pem", "--key", tmp_path / "server.key")
    command = [sys.executable, "-m", "ioto_tools.cli", "cloud", "serve", *site, "--port", "0", "--no-packing", *files]
    process = subprocess.Popen([str(each) for each in command], env=ENV, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().split()[3].rstrip(",")
    process.terminate()
    process.wait(20)
    process.stdout.close()


@pytest.mark.sweep
@pytest.mark.parametrize("kept", [True, False])
def test_fleet_updates(address, tmp_path, kept):
    settings = Settings(
        "SIMPRODUCT", devices=20, period_s=1, apply_s=0.5, boot_s=0.1, download="whole", shares={"refuse": 0.2}
    )

    def over(fleet):
        return (
            len(fleet.devices.offers) == 1
            and all(fleet.devices.offers[0]["devices"])
            and set(fleet.devices.counts()[1]) == {"idle"}
        )

    tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    fleet = asyncio.run(real_time.run(settings, address, 120, over=over, tls=tls, keep_alive=kept))
    tally, (versions, _) = fleet.tally, fleet.devices.counts()
    refused = tally.reports["refused"]
    assert 0 < refused < 10 and versions == {"1.0.0": refused, "1.1.0": 20 - refused}
    assert tally.reports == {
        "refused": refused,
        **dict.fromkeys(("downloading", "staged", "applied", "confirmed"), 20 - refused),
    }
    assert tally.bytes == 60000 // 16 * 16 * (20 - refused) and not tally.faults
    assert all(each["answers"] == each["good"] and each["p50_ms"] > 0 for each in tally.rows())
    (states,) = [each["states"] for each in json.loads(ioto("updates", "--data", tmp_path / "site", "--json"))]
    assert states == {
        "confirmed": 20 - refused,
        "unfit": refused,
    }  # their reason, image_chip, means that the release is unfit


@pytest.mark.sweep
def test_command_prints_the_statistics(address, tmp_path):
    options = (
        "--devices",
        5,
        "--duration",
        "2 secs",
        "--period",
        "1 sec",
        "--ca",
        tmp_path / "ca.pem",
        "--property",
        "memory=128,256",
        "--no-keep-alive",
        "--download",
        "whole",
        "--image",
        tmp_path / "old.bin",
    )
    (tmp_path / "old.bin").write_bytes(esp.make_image(60000, "1.0.0"))
    found = json.loads(ioto("fleet", "run", address, "--product", "SIMPRODUCT", "--json", *options))
    assert set(found) == {"answers", "reports", "versions", "devices", "faults", "bytes", "files"}
    assert all(size == 60000 * count for count, size in found["files"].values()) and not found["faults"]
    assert (
        sum(found["versions"].values()) == 5 == sum(found["devices"].values())
        and found["answers"][0]["kind"] == "register"
    )
    assert {each["memory"] for each in properties(tmp_path / "site")} <= {128, 256}


@pytest.mark.sweep
def test_refusal_is_printed_with_its_text(address, tmp_path):
    options = ("--devices", 2, "--duration", "1 sec", "--period", "1 sec", "--ca", tmp_path / "ca.pem")
    said = ioto("fleet", "run", address, "--product", "SIMPRODUKT", *options)
    assert (
        said.count(
            "Warning: register, answer 401: Authorization: no product has this id; `ioto product list` lists the "
            "products and their ids\n"
        )
        == 1
    )


def properties(data):
    """The properties of all devices at their last check-in."""
    ids = [each["id"] for each in json.loads(ioto("devices", "--data", data, "--json"))]
    return [json.loads(ioto("device", "show", id, "--data", data, "--json"))["properties"] for id in ids]


def test_unreachable_cloud_and_invalid_options(tmp_path):
    said = ioto(
        "fleet",
        "run",
        "http://127.0.0.1:1",
        "--product",
        "P",
        "--devices",
        3,
        "--duration",
        "1 sec",
        "--period",
        "1 sec",
    )
    assert re.search(r"register +[0-9]+ +0 .* connect: ", said) and "new 3" in said
    for url in ("127.0.0.1:8080", "http://[::1"):
        assert "expected: the address of the cloud, such as http://127.0.0.1:8080" in ioto(
            "fleet", "run", url, "--product", "P", ok=False
        )
    assert "add up to more than 1" in ioto(
        "fleet", "run", "http://127.0.0.1:1", "--product", "P", "--crash", 0.6, "--lose", 0.6, ok=False
    )
    assert "--property" in ioto("fleet", "run", "http://127.0.0.1:1", "--product", "P", "--property", "x", ok=False)
    assert "not a duration" in ioto(
        "fleet", "run", "http://127.0.0.1:1", "--product", "P", "--period", "soon", ok=False
    )


def test_docs_name_every_option():
    command = main.get_command(None, "fleet").commands["run"]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and "`%s" % parameter.opts[0] in PAGE, parameter.opts

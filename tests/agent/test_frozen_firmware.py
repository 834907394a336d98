"""Firmware with frozen agent, boot.py, main.py and settings: updates work, whatever happens to the file system."""

import runpy

import pytest
from ioto_tools.cloud.operators import overview
from ioto_tools.deploy import frozen
from ioto_tools.deploy.agent_build import compiled_files
from ioto_tools.virtual_board import Board, Cut
from rig import MAIN, PRODUCT, ROOT, Rig, ca, config

BROKEN = b"\x00broken\xff" * 8


@pytest.fixture
def made(tmp_path):
    """The modules that firmware/manifest.py freezes from a device's folder."""
    folder = tmp_path / "device"
    folder.mkdir()
    for name, raw in {
        "boot.py": (ROOT / "boot.py").read_bytes(),
        "main.py": MAIN.encode(),
        "ioto.json": config(version="1.0.0-rc.1", product="ANOTHER"),
        "device.json": b'{"id": "DEVICE0001"}',
        "ca.pem": ca(),
    }.items():
        (folder / name).write_bytes(raw)
    assert frozen.build(folder) == ["ca.pem", "device.json", "ioto.json"]
    text = (folder / frozen.NAME).read_text()
    assert runpy.run_path(folder / frozen.NAME)["PRODUCT"] == "ANOTHER"
    text = text.replace('PRODUCT = "ANOTHER"', 'PRODUCT = "%s"' % PRODUCT).replace(
        'VERSION = "1.0.0-rc.1"', 'VERSION = "1.0.0"'
    )
    found = {"ioto/" + name: raw for name, raw in compiled_files().items()}
    found.update(
        {"boot.py": (folder / "boot.py").read_bytes(), "main.py": MAIN.encode(), "ioto_build.py": text.encode()}
    )
    return {**found, "_boot.py": (ROOT / "firmware" / "_boot.py").read_bytes()}


@pytest.fixture
def rig(tmp_path, made):
    """A board with this firmware. Its file system contains a broken agent and application, and different settings."""
    rig = Rig(tmp_path / "rig", version="1.0.0-rc.1", product="ANOTHER")
    damaged = {name: BROKEN for name in rig.board.files() if name.startswith("lib/")}
    rig.board.write_files({**damaged, "boot.py": BROKEN, "main.py": BROKEN})
    rig.board.close()
    rig.board = Board(tmp_path / "rig" / "board.flash", air=rig.air, frozen=made)
    rig.publish(rig.image(1), "1.0.1")
    return rig


def updated(rig, run):
    assert "CONFIRMED 1.0.1" in run.console and rig.board.describe_otadata() == "1/VALID 2/VALID", run.console
    assert [each["version"] for each in overview.devices(rig.site)] == ["1.0.1"]


def overwrite_file_system(rig, raw):
    part = rig.board.partition("vfs")
    rig.board.flash.data[part.address : part.address + part.size] = (raw * (part.size // len(raw) + 1))[: part.size]


def test_frozen_agent_and_application_run_instead_of_broken_files(rig):
    """Product and version are those of the build, whatever ioto.json contains."""
    run = rig.run(until_s=60)
    assert "boot is idle: ota_0 1.0.0, otadata valid" in run.console
    updated(rig, run)


@pytest.mark.parametrize("raw", [BROKEN, b"\0", b"\xff"], ids=["scribbled", "zeros", "blank"])
def test_broken_file_system_is_recreated(rig, raw):
    overwrite_file_system(rig, raw)
    run = rig.run(until_s=60)
    updated(rig, run)
    assert {"ca.pem", "device.json", "ioto.json"} <= set(rig.board.files()) and rig.board.files()["ca.pem"] == ca()


def test_lost_files_are_restored_and_others_stay(rig):
    rig.board.write_files(
        {"ca.pem": None, "ioto.json": None, "notes.txt": b"mine", "device.json": b'{"id": "DEVICE0002"}'}
    )
    updated(rig, rig.run(until_s=60))
    found = rig.board.files()
    assert found["ca.pem"] == ca() and found["notes.txt"] == b"mine" and b"DEVICE0002" in found["device.json"]


def test_empty_files_are_restored(rig):
    rig.board.write_files({"ioto.json": b"", "ca.pem": b""})
    updated(rig, rig.run(until_s=60))
    assert rig.board.files()["ca.pem"] == ca() and rig.board.files()["ioto.json"]


def recovery(rig):
    """(flash, number of operations) of a start that creates a new file system in place of a broken one."""
    overwrite_file_system(rig, BROKEN)
    before = bytes(rig.board.flash.data)
    operations = len(rig.run(until_s=60, stop=lambda line: "boot is" in line).trace.ops)
    rig.board.flash.data[:] = before
    return before, operations


@pytest.mark.sweep
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.sweep)])
def test_power_cut_while_the_file_system_is_recreated(rig, step):
    before, operations = recovery(rig)
    assert operations > 20
    for op in range(0, operations, step):
        for when in ("during", "after"):  # a cut before an operation equals a cut after the previous one
            rig.board.flash.data[:] = before
            assert rig.run(until_s=60, cut=Cut(op, when)).ended == "cut"
            run = rig.run(until_s=5)
            assert "boot is " in run.console, (op, when, run.console)
            assert {"ca.pem", "device.json", "ioto.json"} <= set(rig.board.files()), (op, when)


def test_stock_firmware_stops_at_a_broken_file_system(tmp_path):
    """This is why the project's own firmware differs from MicroPython's."""
    rig = Rig(tmp_path)
    overwrite_file_system(rig, BROKEN)
    assert rig.run(until_s=10).console == "The filesystem appears to be corrupted.\n" * 4

"""The chip's revision: where espefuse finds it, and how set_boot(), the agent and the cloud use it."""

import json
import random
import subprocess
import sys

import pytest
from ioto import image
from ioto.revision import ROW, TABLE, read
from ioto_tools.cloud.operators import overview
from ioto_tools.image.esp import ImageError, check_bytes, make_image, verify
from ioto_tools.virtual_board.efuses import registers
from rig import Rig
from signing import sealed, trusting

# espefuse's name -> chip id, {block: address}, from the chips' technical reference manuals
CHIPS = {
    "esp32": (0, {0: 0x3FF5A000}), "esp32s2": (2, {1: 0x3F41A044}), "esp32c3": (5, {1: 0x60008844}), "esp32s3": (9,
    {1: 0x60007044}),
    "esp32c2": (12, {2: 0x60008840}), "esp32c6": (13, {1: 0x600B0844}), "esp32h2": (16, {1: 0x600B0844}),
    "esp32p4": (18, {1: 0x5012D044}),
    "esp32c5": (23, {1: 0x600B4844}),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in ("esp32", "esp32s3") else pytest.param(name, marks=pytest.mark.sweep) for name in CHIPS]
)
def test_the_agent_reads_the_same_bits_as_espefuse(tmp_path, name):
    chip, blocks = CHIPS[name]
    command = [sys.executable, "-m", "espefuse", "--chip", name, "--virt", "--path-efuse-file", tmp_path / "fuses"]
    command += ["summary", "--format", "json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = json.loads(said[said.index("{") :])
    rng = random.Random(chip)
    for _ in range(50):
        memory = {}
        values = {"MAJOR": 0, "MINOR": 0}
        for key in sorted(fields, reverse=True):  # LO before HI
            part = fields[key]
            if part.get("word") is None or not ("WAFER_VERSION_M" in key or "CHIP_VER_REV" in key) or "DISABLE" in key:
                continue
            value = rng.randrange(1 << part["bit_len"])
            at = blocks[part["block"]] + 4 * part["word"]
            memory[at] = memory.get(at, 0) | value << part["pos"]
            if "WAFER" in key:
                number = key.split("_")[2]
                low = [f["bit_len"] for k, f in fields.items() if k == "WAFER_VERSION_%s_LO" % number]
                values[number] += value << (low[0] if key.endswith("_HI") else 0)
        if name == "esp32":
            rev1, rev2 = memory[0x3FF5A00C] >> 15 & 1, memory[0x3FF5A014] >> 20 & 1
            values["MAJOR"] = {(1, 0): 1, (1, 1): 2}.get((rev1, rev2), 0)
        assert read(chip, _Memory(memory)) == values["MAJOR"] * 100 + values["MINOR"], (memory, values)


class _Memory(dict):
    def __missing__(self, address):
        return 0


def test_the_virtual_chip_has_the_revision_that_was_set():
    for chip in TABLE[::ROW]:
        for revision in (0, 1, 3, 100, 102, 200, 301):
            assert read(chip, _Memory(registers(chip, revision))) == revision, (chip, revision)
    assert read(99, {}) is None
    # The first ESP32-S3 has eFuse block version 1.1, and other data in place of the major number.
    assert read(9, _Memory({0x60007044 + 40: 1, 0x60007044 + 12: 1 << 24, 0x60007044 + 20: 1 << 24})) == 0


def test_agent_and_bootloader_agree_on_every_limit():
    for least in (0, 1, 99, 100, 101, 300, 65535):
        for most in (0, 99, 100, 399, 65535):
            content = make_image(4096, revisions=(least, most))
            for revision in (0, 1, 99, 100, 101, 300, 301):
                try:
                    check_bytes(content)
                    verify(lambda a, n, content=content: content[a : a + n], 0, len(content), 0, revision)
                    starts = True
                except ImageError:
                    starts = False
                assert image.runs_on(content[:288], revision) == starts, (least, most, revision)
    assert not image.runs_on(bytes(14) + b"\3" + bytes(20), 200)  # an image from before the full revision numbers


@pytest.mark.sweep
@pytest.mark.parametrize("signed", [False, True])
def test_an_image_for_a_newer_chip_is_refused_before_the_first_erase(tmp_path, signed):
    rig, cloud = trusting(tmp_path / "rig", trusted=("ours",) if signed else ())
    rig.board = type(rig.board)(rig.board.flash.path, air=rig.air, revision=101)
    content = make_image(4096 * 3 - 2048, "new chips", revisions=(300, 399))
    cloud.release("1.0.1", sealed(content, "1.0.1") if signed else content)
    slot = rig.board.partition("ota_1")
    run = rig.run(until_s=1800)
    assert not [op for op in run.trace.ops if op[0] == "erase" and slot.address <= op[1] < slot.address + slot.size]
    assert [(r["state"], r["reason"]) for r in cloud.reports] == [("refused", "image_revision")], run.console
    assert cloud.devices["DEVICE0001"]["properties"]["revision"] == 101
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2"))
    assert "CONFIRMED 1.0.2" in rig.run(until_s=3 * 3600).console


@pytest.mark.sweep
def test_this_cloud_does_not_offer_an_image_for_a_newer_chip(tmp_path):
    """The cloud gets the revision from the check-in, so that old boards do not count as failures of the release."""
    rig = Rig(tmp_path / "rig")
    rig.board = type(rig.board)(rig.board.flash.path, air=rig.air, revision=101)
    rig.publish(make_image(4096 * 3 - 2048, "new chips", revisions=(300, 399)), "1.0.1")
    run = rig.run(until_s=2 * 3600)
    known = overview.device(rig.site, "DEVICE0001")
    assert (
        run.slots == ["ota_0"] and "FAILED" not in run.console and known["checkins"] >= 2 and known["reports"] == []
    ), run.console
    rig.publish(make_image(4096 * 3 - 2048, "both", revisions=(100, 399)), "1.0.2")
    assert "CONFIRMED 1.0.2" in rig.run(until_s=2 * 3600).console


def test_set_boot_refuses_an_image_for_a_newer_chip(tmp_path):
    """The agent can't read the revision of this chip."""
    from rig import MAIN

    main = MAIN.replace("asyncio.run(", "made = ").replace(
        ".run())", "\nmade.board.revision = lambda: None\nasyncio.run(made.run())"
    )
    rig = Rig(tmp_path / "rig", main=main)
    content = make_image(4096 * 3 - 2048, "new chips", revisions=(300, 0))
    rig.publish(content, "1.0.1")
    run = rig.run(until_s=4 * 3600)
    assert run.slots == ["ota_0"] and "FAILED boot_refused" in run.console, run.console
    # The image is as published, so there is no second attempt.
    assert run.console.count("DEVICE:UPDATE") == 1 and rig.record()["failed"], run.console

"""Faults of the flash: no otadata, one slot, a full file system, an invalid record."""

import functools
import hashlib
import tempfile

import pytest
from ioto_tools.cloud.operators import control, overview
from ioto_tools.image import layout
from ioto_tools.virtual_board import Cut
from ioto_tools.virtual_board.board import HARD, Board
from rig import Rig


def with_layout(rig, rows):
    """The same board with another partition table."""
    files = rig.board.files()
    path = rig.board.flash.path
    rig.board.close()
    rig.board = Board.create(path, rig.first, files, flash_bytes=1 << 20, rows=rows, air=rig.air)
    return rig


LAYOUTS = {
    "no-otadata": lambda: layout.ota(1 << 20, 0x10000, otadata=False),
    "one-slot": lambda: layout.ota(1 << 20, 0x10000, slots=1),
    "no-slots": lambda: [
        layout.Partition(layout.DATA, layout.NVS, 0x9000, 0x6000, "nvs"),
        layout.Partition(layout.APP, layout.FACTORY, 0x10000, 0x10000, "factory"),
        layout.Partition(layout.DATA, layout.LITTLEFS, 0x20000, 0xE0000, "vfs"),
    ],
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_board_without_ota_slots_reports_it_and_keeps_running(tmp_path, case):
    rig = with_layout(Rig(tmp_path), LAYOUTS[case]())
    rig.publish(rig.image(1), "1.0.1")
    before = [bytes(rig.board.flash.peek(p.address, p.size)) for p in rig.board.rows if p.type == layout.APP]
    run = rig.run(until_s=3 * 3600)
    assert len(run.boots) == 1 and "Traceback" not in run.console, run.console[-1500:]
    assert before == [bytes(rig.board.flash.peek(p.address, p.size)) for p in rig.board.rows if p.type == layout.APP]
    device = overview.device(rig.site, "DEVICE0001")
    assert device["properties"]["error"] == "no_slots", device["properties"]
    assert [(r["state"], r["reason"]) for r in device["reports"]] == [("refused", "no_slots")]
    assert device["checkins"] >= 2


OTADATA = [
    "- -",
    "1/VALID/badcrc -",
    "- 7/NEW/badcrc",
    "1/ABORTED -",
    "1/INVALID 2/ABORTED",
    "1/UNDEFINED -",
    "3/VALID 2/ABORTED",
    "2/VALID -",
    "2/VALID 1/VALID",
]


@pytest.mark.parametrize("words", OTADATA)
def test_update_completes_from_any_state_of_otadata(tmp_path, words):
    """The last two states select a blank slot: the bootloader falls back, so RUNNING is not BOOT."""
    rig = Rig(tmp_path)
    rig.board.set_otadata(words)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * 3600)
    assert run.slots == ["ota_0", "ota_1"] and "Traceback" not in run.console, run.console[-1500:]
    assert "boot is trial" in run.console, (run.console[-1500:], rig.board.describe_otadata())
    assert rig.board.read_slot("ota_1") == rig.image(1) and rig.board.read_slot("ota_0") == rig.first
    assert overview.devices(rig.site)[0]["version"] == "1.0.1"


SWAP = range(11)  # flash operations: erase and program of five otadata records, and the image's first bytes


def staged_after_a_fallback(folder, crashing):
    """The bootloader has fallen back to ota_0, an image is staged in ota_1, and the power is off."""
    rig = Rig(folder, update__period=300, update__retry=1)
    rig.board.set_otadata("2/VALID -")
    image = rig.image(1)
    if crashing:
        rig.board.faults[hashlib.sha256(image).hexdigest()] = "crash"
    rig.publish(image, "1.0.1")
    assert rig.run(until_s=600, stop=lambda line: line.startswith("DEVICE:UPDATE")).ended == "stopped"
    return rig


@functools.cache
def swap_operations(crashing):
    """Indices of a clean run's operations on otadata and slots; all others are on the file system and the NVS."""
    with tempfile.TemporaryDirectory() as folder:
        trace = staged_after_a_fallback(folder, crashing).run(until_s=600, cause=HARD).trace
    return [n for n, (_, address, _, _) in enumerate(trace.ops) if 0xD000 <= address < 0x30000]


@pytest.mark.sweep
@pytest.mark.parametrize("nth", [pytest.param(n, marks=pytest.mark.sweep) if n % 2 else n for n in SWAP])
@pytest.mark.parametrize("crashing", [False, pytest.param(True, marks=pytest.mark.sweep)])
def test_power_cut_in_a_swap_after_a_fallback(tmp_path, crashing, nth):
    """The new image never runs without a trial; if it crashes, the old image runs again."""
    rig = staged_after_a_fallback(tmp_path, crashing)
    run = rig.run(until_s=600, cut=Cut(op=swap_operations(crashing)[nth], when="during"), cause=HARD)
    assert run.ended == "cut"
    console = run.console
    for _ in range(2):
        run = rig.run(until_s=2 * 3600)
        console += run.console
    assert run.slots[-1] == ("ota_0" if crashing else "ota_1"), console
    assert crashing or "boot is trial" in console, console
    assert rig.board.read_slot("ota_0") == rig.first and overview.devices(rig.site)[0]["version"] == (
        "1.0.0" if crashing else "1.0.1"
    )


def fill(rig):
    """Fill the file system until no block is free."""
    files = {}
    for n in range(400):
        try:
            rig.board.write_files({"full/%d" % n: b"x" * 4096})
        except ValueError:
            break
    for n in range(50):
        try:
            rig.board.write_files({"full/small%d" % n: b"y" * 200})
        except ValueError:
            break
    return files


@pytest.mark.sweep
def test_update_completes_on_a_full_file_system(tmp_path):
    """From its first start on, the agent reserves space for all that it must write."""
    rig = Rig(tmp_path)
    rig.run(until_s=600)  # registers and saves the record
    fill(rig)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * 3600)
    assert run.slots[-1] == "ota_1" and "CONFIRMED 1.0.1" in run.console and "Traceback" not in run.console, (
        run.console[-1500:]
    )
    assert overview.devices(rig.site)[0]["version"] == "1.0.1"


@pytest.mark.sweep  # filling the file system takes long
def test_full_file_system_during_a_trial_confirms_once(tmp_path):
    """The next boot determines the outcome, which could not be recorded."""
    rig = Rig(tmp_path)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    fill(rig)
    before = overview.device(rig.site, "DEVICE0001")["checkins"]
    run = rig.run(until_s=600)
    assert (
        run.slots == ["ota_1"]
        and rig.board.describe_otadata() == "1/VALID 2/VALID"
        and run.console.count("CONFIRMED") == 1
    ), run.console
    assert overview.device(rig.site, "DEVICE0001")["checkins"] - before <= 3
    run = rig.run(until_s=600, cause=HARD)
    assert run.slots == ["ota_1"] and overview.device(rig.site, "DEVICE0001")["reports"][-1]["state"] == "confirmed"


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff" * 300, b"{}", b"[1, 2]\n00000000\n", b"\0" * 5000, "ä".encode("latin-1") * 50]
)
def test_invalid_record_is_logged_and_replaced(tmp_path, garbage):
    rig = Rig(tmp_path)
    rig.run(until_s=600)
    rig.board.write_files({"state/record.0": garbage, "state/record.1": garbage})
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=600)
    assert run.slots == ["ota_0", "ota_1"] and "Traceback" not in run.console, run.console[-1500:]
    assert ("record" in run.console.split("boot is")[0]) == bool(garbage)


@pytest.mark.sweep
def test_invalid_provision_json_leads_to_registration(tmp_path):
    rig = Rig(tmp_path)
    rig.run(until_s=600)
    rig.board.write_files({"state/provision.json": b"\xff{garbage"})
    rig.publish(rig.image(1), "1.0.1")
    control.claim(
        rig.site, "DEVICE0001"
    )  # the token still counts as in use; tests/agent/test_erased_flash.py does the same without an operator
    run = rig.run(until_s=2 * 3600)
    assert run.slots == ["ota_0", "ota_1"], run.console[-1500:]
    assert overview.devices(rig.site)[0]["registrations"] == 2


def swapped(folder):
    """A board that has selected the new image and has not started it yet."""
    rig = Rig(folder, update__period=20, update__retry=1)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    assert rig.board.describe_otadata() == "1/VALID 2/NEW"
    return rig


@functools.cache
def confirmation():
    """Indices of the operations that confirm the image: erase and program of an otadata record."""
    with tempfile.TemporaryDirectory() as folder:
        trace = swapped(folder).run(until_s=60, cause=HARD).trace
    return [n for n, (_, address, _, _) in enumerate(trace.ops) if 0xD000 <= address < 0xF000][-2:]


@pytest.mark.sweep
@pytest.mark.parametrize("nth, when", [(0, "during"), (0, "after"), (1, "during")])
def test_power_cut_in_the_confirmation_costs_no_attempt_and_no_wait(tmp_path, nth, when):
    """The old image runs again, with the update still staged.

    The cloud has seen the new version run, and continues to offer it.
    """
    rig = swapped(tmp_path)
    assert rig.run(until_s=60, cut=Cut(confirmation()[nth], when), cause=HARD).ended == "cut"
    assert (
        "VALID" not in rig.board.describe_otadata().split()[1]
        and overview.device(rig.site, "DEVICE0001")["update"]["state"] == "confirmed"
    )
    run = rig.run(until_s=300)
    assert "CONFIRMED 1.0.1" in run.console and run.slots == ["ota_0", "ota_1"], run.console
    update = overview.device(rig.site, "DEVICE0001")["update"]
    assert rig.record()["failed"] == [] and (update["state"], update["ended"], update["tries"]) == (
        "confirmed",
        "confirmed",
        1,
    )

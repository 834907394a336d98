"""Safe mode of boot.py: it is never entered by accident, and a failing application is replaced without a cable."""

import pytest
from ioto_tools.cloud.operators import overview
from rig import MAIN, ROOT, Rig

DIES = "import machine\nprint('APPLICATION')\nmachine.reset()\n"
LIVES = "import time\nprint('APPLICATION')\ntime.sleep(3600)\n"


def starts(run):
    return run.console.count("APPLICATION")


REPLACED = """
import sys, machine
from esp32 import Partition
if Partition(Partition.RUNNING).info()[4] == "ota_0":
    print("APPLICATION")
    machine.reset()
"""


def test_application_that_resets_the_board_is_replaced_over_the_air(tmp_path):
    """As if it were frozen into each image, the application fails in the old image and works in the new one."""
    rig = Rig(tmp_path, main=REPLACED + MAIN)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=400)
    assert run.slots == ["ota_0"] * 6 + ["ota_1"] and starts(run) == 5, run.slots
    assert "CONFIRMED 1.0.1" in run.console and rig.board.describe_otadata() == "1/VALID 2/VALID"
    assert overview.device(rig.site, "DEVICE0001")["reports"][-1]["state"] == "confirmed"


@pytest.mark.sweep
@pytest.mark.parametrize("ends", ["machine.soft_reset()", "raise SystemExit"])
def test_application_that_repeats_soft_resets_is_replaced_over_the_air(tmp_path, ends):
    rig = Rig(tmp_path, main=REPLACED.replace("machine.reset()", ends) + MAIN)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=400)
    assert run.slots == ["ota_0", "ota_1"] and starts(run) == 101, (run.slots, starts(run))
    assert "CONFIRMED 1.0.1" in run.console


@pytest.mark.sweep
def test_safe_mode_does_not_confirm_an_image(tmp_path):
    """If the new image's application fails too, the bootloader rolls back; in the end, the update fails."""
    rig = Rig(tmp_path, main=DIES, update__attempts=2)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3000)
    assert (
        rig.board.read_slot("ota_0") == rig.first
        and "ABORTED" in rig.board.describe_otadata()
        and run.slots.count("ota_1") == 2
    )
    device = overview.device(rig.site, "DEVICE0001")
    assert device["version"] == "1.0.0" and [r["state"] for r in device["reports"]][-1] == "failed"


@pytest.mark.parametrize("resets, boots", [(0, 12), (2, 3), (5, 6)])
def test_number_of_resets_before_safe_mode(tmp_path, resets, boots):
    rig = Rig(tmp_path, main=DIES)
    rig.board.write_files(
        {"boot.py": (ROOT / "boot.py").read_bytes().replace(b"SAFE_RESETS = 5", b"SAFE_RESETS = %d" % resets)}
    )
    run = rig.run(max_boots=12, until_s=100)
    assert starts(run) == (resets or 12) and len(run.boots) >= boots


def test_application_is_started_again_after_an_hour(tmp_path):
    """The failed starts may have been six power failures in a row."""
    run = Rig(tmp_path, main=DIES).run(until_s=2.5 * 3600)
    assert starts(run) == 15 and run.boots[6].at_s > 3600


@pytest.mark.parametrize("broken", [{"ioto.json": b"{}"}, {"ioto.json": b"\xff"}, {"device.json": None}])
def test_application_starts_if_safe_mode_cannot(tmp_path, broken):
    rig = Rig(tmp_path, main=DIES)
    rig.board.write_files(broken)
    assert starts(rig.run(max_boots=8, until_s=100)) == 8


@pytest.mark.sweep
def test_good_start_resets_the_count(tmp_path):
    rig = Rig(tmp_path)
    for _ in range(12):
        run = rig.run(until_s=15)
        assert "boot is idle" in run.console
    assert "safe" not in run.console
    rig.board.write_files({"main.py": LIVES.encode()})
    assert starts(rig.run(until_s=5)) == 1


@pytest.mark.parametrize("again", ["machine.deepsleep(2000)", "machine.soft_reset()"])
def test_wakes_and_a_few_soft_resets_do_not_lead_to_safe_mode(tmp_path, again):
    """The starts are wakes from deep sleep, and soft resets as made at the prompt."""
    rig = Rig(tmp_path, main="import machine, time\nprint('APPLICATION')\ntime.sleep(1)\n%s\n" % again)
    assert starts(rig.run(until_s=50)) > 12


def test_pin_selects_safe_mode(tmp_path):
    rig = Rig(tmp_path, main=LIVES)
    rig.board.write_files({"boot.py": (ROOT / "boot.py").read_bytes().replace(b"SAFE_PIN = None", b"SAFE_PIN = 4")})
    assert starts(rig.run(until_s=20)) == 1
    rig.board.hardware.pins[4] = 0
    run = rig.run(until_s=60)
    assert not starts(run) and overview.devices(rig.site), run.console


@pytest.mark.sweep
def test_one_start_in_six_is_safe_mode_if_power_fails_after_5_seconds(tmp_path):
    """The pattern stays the same, however long this continues."""
    rig = Rig(tmp_path, main=LIVES)
    assert [starts(rig.run(until_s=5)) for _ in range(18)] == [1, 1, 1, 1, 1, 0] * 3
    rig.publish(rig.image(1), "1.0.1")
    rig.board.write_files({"main.py": MAIN.encode()})
    assert rig.run(until_s=2 * 3600).slots == ["ota_0", "ota_1"] and rig.board.describe_otadata() == "1/VALID 2/VALID"


def test_starts_of_two_minutes_without_an_agent_are_good(tmp_path):
    rig = Rig(tmp_path, main=LIVES.replace("3600", "120") + "import machine\nmachine.reset()\n")
    assert starts(rig.run(until_s=40 * 60)) >= 19
    assert all(starts(rig.run(until_s=120)) for _ in range(12))


@pytest.mark.parametrize("before", [5, 15])
def test_soft_reset_continues_the_start(tmp_path, before):
    """A soft reset stops the timer, so boot.py starts another."""
    main = (
        "import machine, time\nprint('APPLICATION')\nif machine.reset_cause() != 5:\n    time.sleep(%d)\n    "
        "machine.soft_reset()\ntime.sleep(3600)\n"
    )
    rig = Rig(tmp_path, main=main % before)
    assert [starts(rig.run(until_s=60)) for _ in range(12)] == [2] * 12


BAD = """
import machine, time
from esp32 import Partition

here, head = Partition(Partition.RUNNING), bytearray(4096)
here.readblocks(0, head)
if b"image 1" in head:
    time.sleep(%d)
    %s
"""


@pytest.mark.sweep
@pytest.mark.parametrize("again", ["machine.soft_reset()", "machine.deepsleep(1000)", "raise SystemExit"])
@pytest.mark.parametrize("seconds", [3, 40])
def test_every_kind_of_start_counts_during_a_trial(tmp_path, again, seconds):
    """The new image starts again and again, without a reset that the bootloader would see.

    It is rolled back nevertheless.
    """
    rig = Rig(tmp_path, main=BAD % (seconds, again) + MAIN)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=2 * 3600)
    assert run.slots == ["ota_0", "ota_1"] * 3 + ["ota_0"] and rig.record()["failed"], run.console[-2000:]
    rig.publish(rig.image(2), "1.0.2")
    run = rig.run(until_s=2 * 3600)
    assert "CONFIRMED 1.0.2" in run.console and run.slots[-1] == "ota_1"

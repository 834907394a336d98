"""The first boot of an image: what makes it fail, and what the board does then."""

import hashlib

import pytest
from ioto_tools.cloud.operators import overview
from rig import MAIN, Rig

SELFTEST = """
import asyncio, time
from ioto import rWatch
%s
rWatch("device:selftest", test)
"""
BAD_TESTS = {
    "says-no": ("def test(data, arg):\n    return False", "selftest_failed"),
    "raises": ("def test(data, arg):\n    raise ValueError('no sensor')", "selftest_failed"),
    "coroutine-says-no": (
        "async def test(data, arg):\n    await asyncio.sleep(1)\n    return False",
        "selftest_failed",
    ),
    "coroutine-raises": (
        "async def test(data, arg):\n    await asyncio.sleep(1)\n    raise OSError(5)",
        "selftest_failed",
    ),
    "too-late": ("async def test(data, arg):\n    await asyncio.sleep(1000)", "selftest_timeout"),
    "hangs": ("def test(data, arg):\n    while True:\n        time.sleep(1)", "rolled_back"),
}


def reports(rig, version="1.0.1"):
    device = overview.devices(rig.site)[0]["id"]
    return [
        (r["state"], r["reason"], r["attempt"])
        for r in overview.device(rig.site, device)["reports"]
        if r["version"] == version
    ]


@pytest.mark.sweep
@pytest.mark.parametrize("case", BAD_TESTS)
def test_failed_self_test_rolls_back(tmp_path, case):
    code, reason = BAD_TESTS[case]
    rig = Rig(tmp_path, main=SELFTEST % code + MAIN, update__attempts=2, trial__selftest=20)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3000)
    assert run.slots == ["ota_0", "ota_1", "ota_0", "ota_1", "ota_0"], run.console[-1500:]
    assert rig.board.read_slot("ota_0") == rig.first
    told = reports(rig)
    assert (
        ("rolled_back", reason, 1) in told and ("rolled_back", reason, 2) in told and ("failed", reason, 2) in told
    ), told
    # The image is never tried again, neither at the next check-ins nor after a reset.
    assert rig.run(until_s=10000).slots == ["ota_0"]
    assert rig.record()["failed"], rig.record()


@pytest.mark.sweep
@pytest.mark.parametrize("fault", ["crash", "hang", "exception", "selftest"])
def test_image_that_fails_to_start_rolls_back(tmp_path, fault):
    rig = Rig(tmp_path, update__attempts=3)
    image = rig.image(1)
    rig.board.faults[hashlib.sha256(image).hexdigest()] = fault
    rig.publish(image, "1.0.1")
    run = rig.run(until_s=6000)
    assert run.slots == ["ota_0", "ota_1"] * 3 + ["ota_0"], run.slots
    assert [state for state, _, _ in reports(rig)].count("rolled_back") == 3
    assert reports(rig)[-1][0] == "failed" and "ABORTED" in rig.board.describe_otadata()
    rig.publish(rig.image(2), "1.0.2")
    run = rig.run(until_s=8000)
    assert run.slots[-1] == "ota_1" and reports(rig, "1.0.2")[-1][0] == "confirmed"


@pytest.mark.sweep
def test_trial_without_a_check_in_rolls_back(tmp_path):
    """The cloud becomes unreachable after the swap and before the trial: the board rolls back within the limit.

    The board tries the image again later (test_outage.py).
    """
    rig = Rig(tmp_path, trial__limit=60, update__attempts=1)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=600, max_boots=1)
    assert run.ended == "boots" and "2/NEW" in rig.board.describe_otadata()
    address = rig.air.names["cloud.test"]
    cloud = rig.air.peers.pop((address, 443))
    run = rig.run(until_s=400)
    assert run.slots == ["ota_1", "ota_0"], run.console
    assert 55 < run.boots[1].at_s - run.boots[0].at_s < 130
    rig.air.peers[(address, 443)] = cloud
    rig.run(until_s=8000)
    assert reports(rig)[-1] == ("confirmed", "", 1), reports(rig)


def test_power_cut_during_the_trial_costs_one_attempt(tmp_path):
    rig = Rig(tmp_path)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    run = rig.run(until_s=600, max_boots=1, stop=lambda line: "boot is trial" in line)
    assert run.ended == "stopped" and run.slots == ["ota_1"]
    run = rig.run(until_s=8000)
    assert run.slots == ["ota_0", "ota_1"], run.console
    assert reports(rig)[-1] == ("confirmed", "", 2)


def test_soft_reset_continues_the_trial(tmp_path):
    main = """
import machine
if machine.reset_cause() == 2:
    try:
        open("soft")
    except OSError:
        open("soft", "w").close()
        machine.soft_reset()
"""
    rig = Rig(tmp_path, main=main + MAIN)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=600)
    assert run.slots == ["ota_0", "ota_1"] and reports(rig)[-1][0] == "confirmed"


def test_image_is_not_confirmed_if_the_other_slot_boots_next(tmp_path):
    """The image in the record runs, but otadata selects the other slot."""
    rig = Rig(tmp_path)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    image = rig.board.read_slot("ota_1")
    rig.board.write_slot("ota_0", b"")  # from now on, only the new image starts
    rig.board.set_otadata("3/VALID 2/ABORTED")
    run = rig.run(until_s=600)
    assert run.slots == ["ota_1"] and "boot is stray" in run.console
    assert rig.board.describe_otadata() == "3/VALID 2/ABORTED" and rig.board.read_slot("ota_1") == image
    assert not any(state == "confirmed" for state, _, _ in reports(rig))


def test_agent_rolls_back_if_the_bootloader_does_not(tmp_path):
    """The state is UNDEFINED, so the agent itself selects the other slot."""
    rig = Rig(tmp_path, main=SELFTEST % "def test(data, arg):\n    return False" + MAIN, update__attempts=1)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    rig.board.set_otadata("1/UNDEFINED 2/UNDEFINED")
    run = rig.run(until_s=600)
    assert run.slots == ["ota_1", "ota_0"], run.console
    rig.run(until_s=8000)
    assert ("failed", "selftest_failed", 1) in reports(rig)


@pytest.mark.parametrize(
    "code, reason",
    [BAD_TESTS["hangs"], ("def test(data, arg):\n    import machine\n    machine.reset()", "rolled_back")],
)
def test_agent_rolls_back_after_a_hang_if_the_bootloader_does_not(tmp_path, code, reason):
    """The watchdog starts the same image once more, which then rolls back."""
    rig = Rig(tmp_path, main=SELFTEST % code + MAIN, update__attempts=1)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    rig.board.set_otadata("1/UNDEFINED 2/UNDEFINED")
    run = rig.run(until_s=3000)
    assert run.slots == ["ota_1", "ota_1", "ota_0"], run.slots
    assert ("failed", reason, 1) in reports(rig)


def test_new_image_is_confirmed_if_there_is_no_other(tmp_path):
    """The bootloader does not roll back, the old image is broken, and the power fails during the trial."""
    rig = Rig(tmp_path)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=600, max_boots=1)
    rig.board.write_slot("ota_0", b"")
    rig.board.set_otadata("1/UNDEFINED 2/UNDEFINED")
    assert rig.run(until_s=600, stop=lambda line: "boot is trial" in line).ended == "stopped"
    run = rig.run(until_s=600)
    assert run.slots == ["ota_1"] and reports(rig)[-1][0] == "confirmed", run.console


@pytest.mark.sweep
@pytest.mark.parametrize("again", [True, False], ids=["registers-again", "never-let-in"])
def test_device_forgotten_during_its_trial_registers_again(tmp_path, again):
    """The image is confirmed after the registration.

    If the cloud refuses the registration, the trial ends as if there were no reply.
    """
    from signing import sealed, trusting

    rig, cloud = trusting(tmp_path / "rig", trial__limit=60, update__attempts=1)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    rig.run(until_s=3600, max_boots=1)
    assert rig.board.describe_otadata() == "1/VALID 2/NEW"
    cloud.revoke("DEVICE0001")
    if not again:
        cloud._device = lambda headers, fields: (None, (401, {}, b"Authentication failed"))
    run = rig.run(until_s=600, cause=2)
    assert "Authentication failed" in run.console and "Traceback" not in run.console
    assert ("CONFIRMED 1.0.1" in run.console) == again and ("ROLLBACK trial_timeout" in run.console) != again, (
        run.console
    )
    assert run.slots[-1] == ("ota_1" if again else "ota_0")

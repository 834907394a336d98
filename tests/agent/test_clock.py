"""The sources of time that a board trusts: NTP without a reply, or with a forged one, on a virtual board.

Certificates and the clock: tests/network/test_clock.py.
"""

import pytest
from rig import NOW, Rig
from signing import sealed, slots, trusting

DAY = 86400


def test_clock_is_set_from_the_cloud_without_ntp(tmp_path):
    """The Date of a reply sets the clock, so the window from 08:00 to 09:00 opens before the first check-in."""
    rig = Rig(tmp_path, update__schedule="* 8 * * *", air={"ntp": False})
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3600)
    assert run.slots[-1] == "ota_1" and "CONFIRMED 1.0.1" in run.console, run.console
    assert rig.record()["time"] == 0  # only the cloud has sent this time


@pytest.mark.sweep
def test_ntp_that_is_behind_does_not_revive_an_expired_release(tmp_path):
    """NTP is 200 days behind, on a board that has lost its time.

    The record has a later time from the cloud, so the agent knows that NTP is wrong, and asks the cloud.
    """
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    assert "CONFIRMED 1.0.1" in rig.run(until_s=3600).console
    rig.air.ntp_ahead_s = -200 * DAY
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2", expires=NOW - 100 * DAY, created=NOW - 300 * DAY))
    before = slots(rig)
    run = rig.run(until_s=2 * 3600)
    assert "FAILED manifest_expired" in run.console and slots(rig) == before, run.console[-1500:]


@pytest.mark.sweep
def test_time_of_a_forged_ntp_reply_is_not_kept_in_the_record(tmp_path):
    """The record keeps only a time that the cloud confirms too."""
    rig = Rig(tmp_path)
    rig.air.ntp_ahead_s = 40 * 365 * DAY
    run = rig.run(until_s=600)
    assert "clock unset" not in run.console and NOW <= rig.record()["time"] <= NOW + 700, rig.record()
    rig.air.ntp_ahead_s = 0
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * 3600)
    assert "clock unset" not in run.console and "CONFIRMED 1.0.1" in run.console, run.console[-1500:]
    assert NOW <= rig.record()["tried"] <= NOW + 4 * 3600

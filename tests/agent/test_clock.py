"""Whom the board believes about the time: NTP that is silent, or forged, on a virtual board. (Certificates against the
clock: tests/network/test_clock.py.)
"""

from rig import NOW, Rig
from signing import sealed, slots, trusting

DAY = 86400


def test_without_ntp_the_cloud_says_what_time_it_is(tmp_path):
    """A window of one hour, 08:00 to 09:00, is opened by the Date of a cloud that nobody has checked in with before."""
    rig = Rig(tmp_path, update__schedule="* 8 * * *", air={"ntp": False})
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3600)
    assert run.slots[-1] == "ota_1" and "CONFIRMED 1.0.1" in run.console, run.console
    assert rig.record()["time"] == 0  # nobody but the cloud says so


def test_ntp_that_turns_the_clock_back_does_not_bring_back_what_has_expired(tmp_path):
    """By 200 days, in a board that has lost its clock: the cloud was heard since, so NTP is wrong, and the cloud is
    asked.
    """
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    assert "CONFIRMED 1.0.1" in rig.run(until_s=3600).console
    rig.air.ntp_ahead_s = -200 * DAY
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2", expires=NOW - 100 * DAY, created=NOW - 300 * DAY))
    before = slots(rig)
    run = rig.run(until_s=2 * 3600)
    assert "FAILED manifest_expired" in run.console and slots(rig) == before, run.console[-1500:]


def test_ntp_that_turns_the_clock_forward_does_so_for_as_long_as_it_lies(tmp_path):
    """What is kept as the last known time is what the cloud says too: nothing that a forged datagram says outlives
    it.
    """
    rig = Rig(tmp_path)
    rig.air.ntp_ahead_s = 40 * 365 * DAY
    run = rig.run(until_s=600)
    assert "no time" not in run.console and NOW <= rig.record()["time"] <= NOW + 700, rig.record()
    rig.air.ntp_ahead_s = 0
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=3 * 3600)
    assert "no time" not in run.console and "CONFIRMED 1.0.1" in run.console, run.console[-1500:]
    assert NOW <= rig.record()["tried"] <= NOW + 4 * 3600

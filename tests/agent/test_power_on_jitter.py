"""Jitter after power-on, on a virtual board: over all of update.jitter, but only once the device is registered."""

from faulty_cloud import FaultyCloud, board
from ioto.spread import spread

JITTER_S = 3600


def test_check_in_after_power_on_is_spread_over_jitter_once_registered(tmp_path):
    place = spread("DEVICE0001", JITTER_S)
    assert place > 600, "choose another id: this one would prove little"
    faulty = FaultyCloud({})
    rig = board(tmp_path, faulty, update__jitter=JITTER_S, update__period="1 day")
    peers, rig.air.peers = rig.air.peers, {}
    rig.run(until_s=200)
    assert faulty.checks == 0 and rig.record()["failures"] > 0
    rig.air.peers = peers
    rig.run(until_s=200)  # second power-on: the device is not registered yet, so it is not delayed
    assert faulty.checks == 1 and rig.record()["failures"] == 0
    rig.board.clock.advance(36 * 3600 * 1000000)  # no power for 36 hours: the check-in is half a day late
    run = rig.run(until_s=place - 5)
    assert faulty.checks == 1 and "info next check-in in %d s" % place in run.console, run.console[-800:]
    run = rig.run(until_s=place + 60)  # after another power-on
    assert faulty.checks == 2, run.console[-800:]

"""Outages: a staged image waits for the cloud, and after a trial without an answer, the old image finds the cause."""

import pytest
from ioto_tools.cloud.operators import control, overview
from rig import MAIN, NOW, Rig
from signing import installed, trusting

HOUR = 3600
LATER = MAIN.replace("    staged.apply()", "    asyncio.create_task(later(staged))").replace(
    "def update",
    """
async def later(staged):
    await asyncio.sleep(%d)
    print("APPLY")
    staged.apply()

def update""",
)
# Only the new image can't reach the cloud.
LOST = MAIN.replace(
    "asyncio.run(agent(",
    """
from esp32 import Partition
head = bytearray(4096)
Partition(Partition.RUNNING).readblocks(0, head)
made = agent(listener=lambda level, message: print(level, message))
if b"image 1" in head:
    made.config["api"] = "https://nowhere.test"
asyncio.run(made.run())
#""",
)


def take_offline(rig, host="cloud.test"):
    """Stop the cloud from answering; return the function that lets it answer again."""
    key = (rig.air.names[host], 443)
    peer = rig.air.peers.pop(key)
    return lambda: rig.air.peers.update({key: peer})


def states(rig, version="1.0.1"):
    return [
        (r["state"], r["reason"], r["attempt"])
        for r in overview.device(rig.site, "DEVICE0001")["reports"]
        if r["version"] == version
    ]


def run_until_first_start(rig):
    """Run until the first start of the new image."""
    run = rig.run(until_s=2 * HOUR, max_boots=1)
    assert run.ended == "boots" and "2/NEW" in rig.board.describe_otadata(), run.console


@pytest.mark.sweep
@pytest.mark.parametrize("minutes", [4, 50, 24 * 60])
def test_outage_during_the_trial_costs_no_attempt(tmp_path, minutes):
    rig = Rig(tmp_path, update__attempts=1)
    rig.publish(rig.image(1), "1.0.1")
    run_until_first_start(rig)
    back = take_offline(rig)
    run = rig.run(until_s=minutes * 60, cause=2)
    assert run.slots == ["ota_1", "ota_0"] and rig.record()["phase"] == "staged" and not rig.record()["failed"], (
        run.console[-2000:]
    )
    back()
    run = rig.run(until_s=4 * HOUR, cause=2)
    installed(rig, run)
    assert [state for state, _, _ in states(rig)][-1] == "confirmed" and {n for _, _, n in states(rig)} == {1}


@pytest.mark.sweep
def test_image_that_cannot_reach_the_cloud_fails(tmp_path):
    rig = Rig(tmp_path, main=LOST, update__attempts=3)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=72 * HOUR)
    assert run.slots == ["ota_0", "ota_1"] * 3 + ["ota_0"], run.slots
    assert states(rig)[-1] == ("failed", "trial_timeout", 3) and ("rolled_back", "trial_timeout", 1) in states(rig)
    rig.publish(rig.image(2), "1.0.2")
    installed(rig, rig.run(until_s=4 * HOUR), "1.0.2")


@pytest.mark.sweep
def test_pauses_between_trials_grow_during_outages(tmp_path):
    """However many trials end in an outage, the update is never recorded as failed."""
    rig = Rig(tmp_path, main=LOST)
    rig.publish(rig.image(1), "1.0.1")
    trials = []
    for _ in range(10):
        rig.run(until_s=12 * HOUR, max_boots=1)
        assert "NEW" in rig.board.describe_otadata()
        trials.append(rig.now())
        back = take_offline(rig)
        rig.run(until_s=200, cause=2)
        back()
    pauses = [b - a - 200 for a, b in zip(trials, trials[1:])]
    assert len(pauses) == 9 and all(b > 1.5 * a for a, b in zip(pauses, pauses[1:])), pauses
    assert not rig.record()["failed"]


@pytest.mark.sweep
@pytest.mark.parametrize("hours", [1, 30])
def test_swap_waits_until_the_cloud_answers(tmp_path, hours):
    rig = Rig(tmp_path, update__apply="* 11 * * *")  # the rig starts at 8 o'clock
    rig.publish(rig.image(1), "1.0.1")
    assert rig.run(until_s=HOUR).slots == ["ota_0"] and rig.record()["phase"] == "staged"
    back = take_offline(rig)
    run = rig.run(until_s=hours * HOUR + 2.3 * HOUR, cause=2)
    assert run.slots == ["ota_0"] and "DEVICE:UPDATE" not in run.console
    back()
    run = rig.run(until_s=25 * HOUR, cause=2)
    installed(rig, run)
    assert 11 * HOUR <= (NOW + run.boots[1].at_s) % 86400 < 12 * HOUR


@pytest.mark.sweep
def test_check_ins_before_a_swap_are_bounded_during_an_outage(tmp_path):
    rig = Rig(tmp_path, update__apply="* 11-23 * * *")
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=HOUR)
    take_offline(rig)
    run = rig.run(until_s=24 * HOUR, cause=2)
    assert 20 < run.console.count("check-in:") < 70, run.console.count("check-in:")


@pytest.mark.sweep
def test_third_party_cloud_is_not_asked_before_the_swap(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", trusted=(), update__apply="* 11 * * *")
    cloud.release("1.0.1", rig.image(1))
    assert rig.run(until_s=HOUR).slots == ["ota_0"] and rig.record()["phase"] == "staged"
    take_offline(rig, "api.test")
    assert rig.run(until_s=4 * HOUR, cause=2).slots[:2] == ["ota_0", "ota_1"]


def stop(rig, release):
    control.enable(rig.site, release, False)


@pytest.mark.parametrize("wait_s", [0, 60, 1800])
def test_late_apply_asks_the_cloud_first(tmp_path, wait_s):
    """If the cloud's last offer is old, apply() checks in first."""
    rig = Rig(tmp_path, main=LATER % wait_s)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=wait_s + 120)
    installed(rig, run)
    assert run.console.count("APPLY") == 1 and run.console.count("DEVICE:UPDATE") == 1


def test_late_apply_of_a_stopped_release_is_refused(tmp_path):
    rig = Rig(tmp_path, main=LATER % 1800)
    release = rig.publish(rig.image(1), "1.0.1")["id"]
    rig.run(until_s=300, stop=lambda line: "DEVICE:UPDATE" in line)
    stop(rig, release)
    run = rig.run(until_s=3 * HOUR, cause=2)
    assert run.slots == ["ota_0"] and "FAILED withdrawn" in run.console, run.console
    assert states(rig)[-1] == ("refused", "withdrawn", 1)


@pytest.mark.sweep
def test_stopped_release_is_withdrawn_and_may_be_offered_again(tmp_path):
    rig = Rig(tmp_path, update__apply="* 11 * * *")
    release = rig.publish(rig.image(1), "1.0.1")["id"]
    rig.run(until_s=HOUR)
    stop(rig, release)
    run = rig.run(until_s=4 * HOUR, cause=2)
    assert run.slots == ["ota_0"] and rig.record()["phase"] == "idle" and "DEVICE:UPDATE" not in run.console
    assert states(rig)[-1] == ("refused", "withdrawn", 1)
    control.enable(rig.site, release, True)
    installed(rig, rig.run(until_s=26 * HOUR, cause=2))


@pytest.mark.sweep
def test_other_offer_withdraws_the_staged_update(tmp_path):
    """The other offer is an older release, which this device refuses."""
    rig = Rig(tmp_path, main=MAIN.replace("    staged.apply()", "    pass"))
    release = rig.publish(rig.image(2), "1.0.2")["id"]
    rig.run(until_s=HOUR)
    stop(rig, release)
    older = rig.publish(rig.image(1), "1.0.1")["id"]
    run = rig.run(until_s=3 * HOUR, cause=2)
    assert states(rig, "1.0.2")[-1][0] == "refused" and rig.record()["update"]["update"] == older, run.console

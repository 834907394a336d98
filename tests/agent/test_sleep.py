"""A board on a battery: it wakes, calls run_once(), and sleeps. An update takes as many wakes as it needs."""

import pytest
from ioto_tools.cloud.operators import overview
from rig import NOW, Rig

MAIN = """
import asyncio, machine, time
from ioto import rWatch
from ioto.start import agent

def update(data, staged):
    %s

rWatch("device:update", update)
rWatch("device:confirmed", lambda data, version: print("CONFIRMED", version))
began = time.ticks_ms()
wait_s = asyncio.run(agent(listener=lambda level, message: print(level, message)).run_once(20))
print("AWAKE", time.ticks_diff(time.ticks_ms(), began) // 1000, "WAIT", wait_s)
machine.deepsleep(min(wait_s, %d) * 1000)
"""
DAY = 86400


def asleep(folder, decides="staged.apply()", most_s=4 * 3600, **changes):
    options = {"update__schedule": "* 2 * * 0", "update__period": "1 day", "watchdog": 300, **changes}
    return Rig(folder, blocks=14, main=MAIN % (decides, most_s), **options)


def awake(run):
    return [int(line.split()[1]) for line in run.console.splitlines() if line.startswith("AWAKE")]


def version(rig):
    return overview.devices(rig.site)[0]["version"]


def check_updated(rig, days):
    run = rig.run(until_s=days * DAY)
    assert "CONFIRMED 1.0.1" in run.console, run.console[-3000:]
    assert "ota_1" in run.slots and rig.board.describe_otadata() == "1/VALID 2/VALID"
    return run


@pytest.mark.sweep
def test_weekly_update_of_a_board_awake_for_20_seconds(tmp_path):
    """The window is on Sunday from 2 to 3. At 4 s per block, the image takes more than one wake."""
    rig = asleep(tmp_path, most_s=600, update__throttle=4000, air={"unix_s": NOW + 150_000})  # Sunday, 1:40
    rig.publish(rig.image(1), "1.0.1")
    run = check_updated(rig, 0.1)
    assert run.console.count("download paused") >= 1 and run.console.count("download resumed") >= 1
    assert max(awake(run)) <= 20 + 8 * 4 + 1  # checked every 8 blocks


@pytest.mark.sweep
def test_hourly_wakes_for_two_weeks(tmp_path):
    rig = asleep(tmp_path, most_s=3600)
    rig.publish(rig.image(1), "1.0.1")
    run = check_updated(rig, 14)
    assert max(awake(run)[1:]) <= 25 and version(rig) == "1.0.1"
    assert sum(awake(run)) < 300  # if there is nothing to do, not even the link is started


def test_wakes_with_nothing_to_do_use_neither_network_nor_flash(tmp_path):
    rig = asleep(tmp_path, update__schedule="anytime")
    rig.run(until_s=3600)
    run = rig.run(until_s=20 * 3600, cause=4)
    assert len(awake(run)) >= 4 and not run.trace.ops, run.trace.ops
    assert max(awake(run)) == 0 and "warn check-in" not in run.console


def test_deferral_lasts_over_deep_sleep(tmp_path):
    decides = 'print("ASKED", staged.version)\n    staged.defer(7200) if time.time() < %d else staged.apply()' % (
        NOW - 946684800 + 5400
    )
    rig = asleep(tmp_path, decides, update__schedule="anytime")
    rig.publish(rig.image(1), "1.0.1")
    run = check_updated(rig, 0.5)
    assert run.console.count("ASKED") == 2


def test_wake_ends_without_a_decision(tmp_path):
    rig = asleep(tmp_path, "pass", update__schedule="anytime")
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=4000)
    assert rig.record()["phase"] == "staged" and max(awake(run)) <= 21

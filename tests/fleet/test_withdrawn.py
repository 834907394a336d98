"""A release is stopped while a fleet waits for its windows, and devices that failed are tried again: simulated
fleets.
"""

import pytest
from ioto_tools.cloud.operators import control
from ioto_tools.cloud.operators import overview as known

HOUR_S = 3600
DAY_S = 24 * HOUR_S
STOPS = {
    "cancelled": lambda site: control.move(site, "sim@1.1.0", "cancelled"),
    "policy": lambda site: control.set_terms(site, "sim@1.1.0", {"policy": "false"}),
}


@pytest.mark.parametrize("how", STOPS)
def test_nobody_that_asks_applies_what_was_stopped(world, how):
    """24 devices, some of them strangers; each has it staged within two hours and waits for a window within a day."""
    fleet = world.settle(devices=24, period_s=2 * HOUR_S, apply_s=DAY_S, strangers=0.3)
    world.publish("1.1.0")
    world.simulation.run(4 * HOUR_S)
    strangers = [n for n in range(24) if not world.settings.asks(n)]
    applied = fleet.devices.counts()[0].get("1.1.0", 0)
    STOPS[how](world.site)
    stopped = known.update(world.site, "sim@1.1.0")
    assert (
        stopped["unapplied"]["told"] + stopped["unapplied"]["strangers"] + applied == 24
        and stopped["unapplied"]["strangers"] > 2
    )
    world.simulation.run(DAY_S + 3 * HOUR_S)
    versions = [fleet.devices.versions[version] for version in fleet.devices.version]
    assert all(versions[n] == "1.1.0" for n in strangers)  # they can't be kept from it
    ended = known.update(world.site, "sim@1.1.0")
    assert (
        versions.count("1.1.0")
        == ended["states"]["confirmed"]
        == len(strangers) + sum(versions[n] == "1.1.0" for n in range(24) if n not in strangers)
        <= applied + stopped["unapplied"]["strangers"]
    )
    assert ended["states"]["withdrawn"] == stopped["unapplied"]["told"] and ended["unapplied"]["told"] == 0
    assert ended["ended"] == {"confirmed": ended["states"]["confirmed"]}


def test_a_resumed_release_goes_to_all_that_had_it_staged(world):
    fleet = world.settle(devices=15, period_s=2 * HOUR_S, apply_s=DAY_S)
    world.publish("1.1.0", said={"limit": "10"})
    world.simulation.run(3 * HOUR_S)
    control.move(world.site, "sim@1.1.0", "paused")
    world.simulation.run(3 * HOUR_S)
    states = known.update(world.site, "sim@1.1.0")["states"]
    assert set(states) <= {"withdrawn", "confirmed"} and states["withdrawn"] > 4
    control.move(world.site, "sim@1.1.0", "resumed")
    world.simulation.run(DAY_S + 5 * HOUR_S)
    assert fleet.devices.counts()[0] == {"1.0.0": 5, "1.1.0": 10}
    assert known.update(world.site, "sim@1.1.0")["states"]["confirmed"] == 10


def test_devices_that_failed_are_tried_again_when_the_cause_is_gone(world):
    fleet = world.settle(
        devices=20, period_s=4 * HOUR_S, apply_s=HOUR_S, shares={"crash": 0.2, "fail": 0.2, "refuse": 0.2}
    )
    world.publish("1.1.0", said={"limit": "20"})
    world.simulation.run(3 * DAY_S)
    before = known.update(world.site, "sim@1.1.0")
    good = before["states"]["confirmed"]
    assert good < 15 and fleet.devices.counts()[0]["1.1.0"] == good
    world.settings.shares.clear()
    world.simulation.run(3 * DAY_S)
    assert known.update(world.site, "sim@1.1.0")["states"]["confirmed"] < 20  # by itself it does not go on
    assert control.retry(world.site, "sim@1.1.0") == 20 - known.update(world.site, "sim@1.1.0")["states"]["confirmed"]
    world.simulation.run(DAY_S)
    after = known.update(world.site, "sim@1.1.0")
    assert after["states"] == {"confirmed": 20} == after["ended"] and fleet.devices.counts()[0] == {"1.1.0": 20}

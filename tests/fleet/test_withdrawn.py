"""Simulated fleets: a release is stopped while devices wait for their apply windows; failed devices try again."""

import pytest
from ioto_tools.cloud.operators import control, overview

HOUR_S = 3600
DAY_S = 24 * HOUR_S
STOPS = {
    "cancelled": lambda site: control.change_state(site, "sim@1.1.0", "cancelled"),
    "policy": lambda site: control.set_terms(site, "sim@1.1.0", {"policy": "false"}),
}


@pytest.mark.sweep
@pytest.mark.parametrize("how", STOPS)
def test_devices_that_ask_do_not_apply_a_stopped_release(world, how):
    """Each of 24 devices stages the update within two hours and applies it within a day, some without asking."""
    fleet = world.start_fleet(devices=24, period_s=2 * HOUR_S, apply_s=DAY_S, strangers=0.3)
    world.publish("1.1.0")
    world.simulation.run(4 * HOUR_S)
    strangers = [n for n in range(24) if not world.settings.asks_before_apply(n)]
    applied = fleet.devices.counts()[0].get("1.1.0", 0)
    STOPS[how](world.site)
    stopped = overview.update(world.site, "sim@1.1.0")
    assert (
        stopped["unapplied"]["told"] + stopped["unapplied"]["strangers"] + applied == 24
        and stopped["unapplied"]["strangers"] > 2
    )
    world.simulation.run(DAY_S + 3 * HOUR_S)
    versions = [fleet.devices.versions[version] for version in fleet.devices.version]
    assert all(versions[n] == "1.1.0" for n in strangers)  # the cloud cannot stop them
    ended = overview.update(world.site, "sim@1.1.0")
    assert (
        versions.count("1.1.0")
        == ended["states"]["confirmed"]
        == len(strangers) + sum(versions[n] == "1.1.0" for n in range(24) if n not in strangers)
        <= applied + stopped["unapplied"]["strangers"]
    )
    assert ended["states"]["withdrawn"] == stopped["unapplied"]["told"] and ended["unapplied"]["told"] == 0
    assert ended["ended"] == {"confirmed": ended["states"]["confirmed"]}


def test_resumed_release_returns_to_devices_that_had_it_staged(world):
    fleet = world.start_fleet(devices=15, period_s=2 * HOUR_S, apply_s=DAY_S)
    world.publish("1.1.0", said={"limit": "10"})
    world.simulation.run(3 * HOUR_S)
    control.change_state(world.site, "sim@1.1.0", "paused")
    world.simulation.run(3 * HOUR_S)
    states = overview.update(world.site, "sim@1.1.0")["states"]
    assert set(states) <= {"withdrawn", "confirmed"} and states["withdrawn"] > 4
    control.change_state(world.site, "sim@1.1.0", "resumed")
    world.simulation.run(DAY_S + 5 * HOUR_S)
    assert fleet.devices.counts()[0] == {"1.0.0": 5, "1.1.0": 10}
    assert overview.update(world.site, "sim@1.1.0")["states"]["confirmed"] == 10


@pytest.mark.sweep
def test_failed_devices_try_again_after_retry(world):
    fleet = world.start_fleet(
        devices=20, period_s=4 * HOUR_S, apply_s=HOUR_S, shares={"crash": 0.2, "fail": 0.2, "refuse": 0.2}
    )
    world.publish("1.1.0", said={"limit": "20"})
    world.simulation.run(3 * DAY_S)
    before = overview.update(world.site, "sim@1.1.0")
    good = before["states"]["confirmed"]
    assert good < 15 and fleet.devices.counts()[0]["1.1.0"] == good
    world.settings.shares.clear()
    world.simulation.run(3 * DAY_S)
    assert overview.update(world.site, "sim@1.1.0")["states"]["confirmed"] < 20  # no device tries again by itself
    assert (
        control.retry(world.site, "sim@1.1.0") == 20 - overview.update(world.site, "sim@1.1.0")["states"]["confirmed"]
    )
    world.simulation.run(DAY_S)
    after = overview.update(world.site, "sim@1.1.0")
    assert after["states"] == {"confirmed": 20} == after["ended"] and fleet.devices.counts()[0] == {"1.1.0": 20}

"""Two workers of one site: a cache may be up to a second old, but never causes a wrong offer."""

import pytest
from device_actions import ask, second_worker, send_report, why
from ioto_tools.cloud.operators import control, overview


def test_change_reaches_another_worker_within_a_second(cloud):
    other = second_worker(cloud)
    cloud.publish("2.0.0", limit=1)
    assert ask(other, "D1") == "2.0.0"
    assert ask(cloud, "D1") == ask(other, "D1") == "2.0.0"  # no matter which worker granted it
    assert ask(other, "D2") is None
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "5"})
    control.remove(cloud.site, "D1")
    assert ask(other, "D2") is None and other.check_in("D1", other.tokens["D1"], "1.0.0").status == 200  # no change yet
    other.moments[0] += 1
    assert ask(other, "D2") == "2.0.0"
    assert other.check_in("D1", other.tokens["D1"], "1.0.0").body == b"Cannot find device"
    other.close()


def test_stale_cache_causes_no_wrong_offer(cloud):
    """After a failure, a disabled release or a grant elsewhere, a worker with a stale cache makes no wrong offer."""
    other = second_worker(cloud)
    cloud.publish("2.0.0", limit=3)
    assert ask(other, "D1") == ask(other, "D2") == "2.0.0"
    send_report(cloud, "D1", "failed")
    assert ask(other, "D1") is None and why(cloud, "D1") == {"2.0.0": "waits"}
    control.enable(cloud.site, "thermo@2.0.0", False)
    assert ask(other, "D2") is None and ask(other, "D3") is None
    control.enable(cloud.site, "thermo@2.0.0", True)
    other.moments[0] += 1
    assert ask(cloud, "D4") == "2.0.0" and ask(other, "D4") == "2.0.0" and ask(other, "D5") is None
    assert overview.updates(cloud.site)[0]["granted"] == 3
    other.close()


@pytest.mark.parametrize("change", [{"policy": "false"}, {"percentage": "0"}, {"start": "2036-01-01"}])
def test_changed_terms_apply_at_once_on_every_worker(cloud, change):
    other = second_worker(cloud)
    cloud.publish("2.0.0")
    assert ask(other, "D1") == ask(other, "D1") == "2.0.0" and ask(other, "D2", "9.0.0") is None
    control.set_terms(cloud.site, "thermo@2.0.0", change)
    assert ask(other, "D2") is None
    assert ask(other, "D1") == ("2.0.0" if "percentage" in change else None)  # a device with a slot keeps it
    other.close()


def test_device_with_a_higher_offer_gets_no_lower_one(cloud):
    """A worker whose cache lacks the higher offer, and that gets no slot of that release, offers no lower release."""
    other = second_worker(cloud)
    cloud.publish("2.0.0")
    cloud.publish("3.0.0", limit=1)
    assert ask(other, "D1", "9.0.0") is ask(other, "D1", "9.0.0") is None  # now the device is in its cache
    assert ask(cloud, "D1") == "3.0.0" and ask(other, "D2") == "2.0.0"
    assert ask(other, "D1") == "3.0.0"
    assert {each["version"]: each["states"] for each in overview.updates(cloud.site)} == {
        "3.0.0": {"offered": 1},
        "2.0.0": {"offered": 1},
    }
    other.close()


def test_report_reaches_another_worker_within_a_second(cloud):
    other = second_worker(cloud)
    cloud.publish("2.0.0")
    assert ask(cloud, "D1") == "2.0.0"
    send_report(cloud, "D1", "rolled_back")
    assert ask(other, "D1") is ask(other, "D1") is None  # the next try is due in an hour
    send_report(cloud, "D1", "downloading", attempt=2)  # but this board tries again by itself, earlier
    other.moments[0] += 1
    assert ask(other, "D1") == "2.0.0"
    other.close()

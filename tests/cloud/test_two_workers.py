"""Two workers at one site: what either holds in memory is up to a second old, and never the last word."""

import pytest
from asking import ask, second_worker, tell, why
from ioto_tools.cloud.operators import control, overview


def test_a_change_is_heard_by_another_worker_within_its_second(cloud):
    other = second_worker(cloud)
    cloud.publish("2.0.0", limit=1)
    assert ask(other, "D1") == "2.0.0"
    assert ask(cloud, "D1") == ask(other, "D1") == "2.0.0"  # whoever granted it
    assert ask(other, "D2") is None
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "5"})
    control.remove(cloud.site, "D1")
    assert ask(other, "D2") is None and other.check_in("D1", other.tokens["D1"], "1.0.0").status == 200  # not yet
    other.moments[0] += 1
    assert ask(other, "D2") == "2.0.0"
    assert other.check_in("D1", other.tokens["D1"], "1.0.0").body == b"Cannot find device"
    other.close()


def test_what_a_worker_holds_is_a_hint_only(cloud):
    """Paused, switched off, ended or granted elsewhere: another worker that does not know it yet offers nothing
    wrong.
    """
    other = second_worker(cloud)
    cloud.publish("2.0.0", limit=3)
    assert ask(other, "D1") == ask(other, "D2") == "2.0.0"
    tell(cloud, "D1", "failed")
    assert ask(other, "D1") is None and why(cloud, "D1") == {"2.0.0": "waits"}
    control.enable(cloud.site, "thermo@2.0.0", False)
    assert ask(other, "D2") is None and ask(other, "D3") is None
    control.enable(cloud.site, "thermo@2.0.0", True)
    other.moments[0] += 1
    assert ask(cloud, "D4") == "2.0.0" and ask(other, "D4") == "2.0.0" and ask(other, "D5") is None
    assert overview.updates(cloud.site)[0]["granted"] == 3
    other.close()


@pytest.mark.parametrize("change", [{"policy": "false"}, {"percentage": "0"}, {"start": "2036-01-01"}])
def test_what_an_operator_changed_holds_at_once_on_every_worker(cloud, change):
    other = second_worker(cloud)
    cloud.publish("2.0.0")
    assert ask(other, "D1") == ask(other, "D1") == "2.0.0" and ask(other, "D2", "9.0.0") is None
    control.set_terms(cloud.site, "thermo@2.0.0", change)
    assert ask(other, "D2") is None
    assert ask(other, "D1") == ("2.0.0" if "percentage" in change else None)  # those who are in it are
    other.close()


def test_nobody_is_led_from_a_higher_offer_to_a_lower_one(cloud):
    """By a worker that has not heard of the higher one yet, and knows that it has no place left."""
    other = second_worker(cloud)
    cloud.publish("2.0.0")
    cloud.publish("3.0.0", limit=1)
    assert ask(other, "D1", "9.0.0") is ask(other, "D1", "9.0.0") is None  # now it holds the device in memory
    assert ask(cloud, "D1") == "3.0.0" and ask(other, "D2") == "2.0.0"
    assert ask(other, "D1") == "3.0.0"
    assert {each["version"]: each["states"] for each in overview.updates(cloud.site)} == {
        "3.0.0": {"offered": 1},
        "2.0.0": {"offered": 1},
    }
    other.close()


def test_a_report_is_heard_by_another_worker_within_its_second(cloud):
    other = second_worker(cloud)
    cloud.publish("2.0.0")
    assert ask(cloud, "D1") == "2.0.0"
    tell(cloud, "D1", "rolled_back")
    assert ask(other, "D1") is ask(other, "D1") is None  # an hour has to go by
    tell(cloud, "D1", "downloading", attempt=2)  # not for a board that tries again by itself
    other.moments[0] += 1
    assert ask(other, "D1") == "2.0.0"
    other.close()

"""Rollouts through check-ins and reports: offers, outcomes, the stop rule, and the audit log."""

import itertools
from fractions import Fraction

import pytest
from cloud_under_test import PRODUCT
from device_actions import ask, second_worker, send_report, state, why
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases.publish import dry_run, new_product
from ioto_tools.cloud.rollout import lost_devices
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.storage import audit

HOUR, DAY = 3600, 86400


def audited(cloud):
    """[(action, who)] of the audit log, oldest first."""
    return [(row["action"], row["who"]) for row in cloud.site.database.read(audit.newest)][::-1]


# ---- which devices are offered a release


def test_a_policy_uses_the_properties_of_the_current_check_in(cloud):
    cloud.publish(
        "2.0.0", policy="device.version < update.version && (device.region == 'us-west' || device.pro == true)"
    )
    assert ask(cloud, "D1", region="us-west") == ask(cloud, "D2", pro=True) == ask(cloud, "D3", pro="true") == "2.0.0"
    assert (
        ask(cloud, "D4") is ask(cloud, "D5", region="us-east", pro=False) is ask(cloud, "D6", "2.0.0", pro=True) is None
    )
    assert ask(cloud, "D4", region="us-west") == "2.0.0"
    assert ask(cloud, "D1", region="moved") is None and why(cloud, "D1") == {"2.0.0": "policy"}


@pytest.mark.sweep
def test_limit_and_percentage_admit_only_selected_devices(cloud):
    cloud.publish("2.0.0", limit=7, percentage=40)
    devices = ["D%d" % n for n in range(60)]
    update = overview.updates(cloud.site)[0]["update"]
    inside = [id for id in devices if update_states.rollout_position(update, id) < 40]
    got = [id for id in devices if ask(cloud, id)]
    assert got == inside[:7] and len(inside) > 14
    assert [id for id in devices if ask(cloud, id)] == got  # their offers are still open
    assert why(cloud, inside[7])["2.0.0"] == "limit" and {
        why(cloud, id)["2.0.0"] for id in set(devices) - set(inside)
    } == {"percentage"}
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "9"})
    assert [id for id in devices if ask(cloud, id)] == inside[:9]
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "none", "percentage": "0"})
    assert [id for id in devices if ask(cloud, id)] == inside[:9]
    control.set_terms(cloud.site, "thermo@2.0.0", {"percentage": "40"})
    assert [id for id in devices if ask(cloud, id)] == inside
    assert overview.updates(cloud.site)[0]["granted"] == len(inside)


def test_devices_beyond_the_limit_are_offered_a_lower_release(cloud):
    cloud.publish("1.1.0")
    cloud.publish("1.2.0", limit=2)
    assert [ask(cloud, "D%d" % n) for n in range(4)] == ["1.2.0", "1.2.0", "1.1.0", "1.1.0"]


def test_a_schedule_begins_and_ends_to_the_second(cloud):
    cloud.publish("2.0.0", start="2027-01-15T09:00+01:00", end="2027-01-15T10:00Z")  # 8:00 to 10:00 in UTC
    assert cloud.now_s == 1_800_000_000  # 2027-01-15T08:00:00Z
    cloud.now_s -= 1
    assert ask(cloud, "D1") is None and why(cloud, "D1") == {"2.0.0": "early"}
    cloud.now_s += 1
    assert ask(cloud, "D1") == "2.0.0"
    cloud.now_s += 2 * HOUR - 1
    assert ask(cloud, "D1") == ask(cloud, "D2") == "2.0.0"
    cloud.now_s += 1
    assert ask(cloud, "D1") is ask(cloud, "D3") is None and why(cloud, "D3") == {"2.0.0": "late"}


def test_approve_pause_resume_and_cancel(cloud):
    cloud.publish("2.0.0", by_hand=True)
    steps = (("awaiting", None), ("approved", "2.0.0"), ("paused", None), ("resumed", "2.0.0"), ("cancelled", None))
    for number, (action, wanted) in enumerate(steps):
        if number:
            assert control.change_state(cloud.site, "thermo@2.0.0", action)["update"]
        assert ask(cloud, "D1") == ask(cloud, "NEW%d" % number) == wanted, action
    assert why(cloud, "D1") == {"2.0.0": "cancelled"}
    for action in ("approved", "paused", "resumed", "cancelled"):
        with pytest.raises(CloudError, match="is cancelled: only a release that is .* can be " + action):
            control.change_state(cloud.site, "thermo@2.0.0", action)
    assert [action for action, _ in audited(cloud)] == [
        "product.new", "release.published", "release.approved", "release.paused", "release.resumed", "release.cancelled"
    ]  # fmt: skip


def test_only_allowed_changes_of_a_releases_state_are_accepted(cloud):
    from ioto_tools.cloud.rollout.lifecycle import MOVES
    from ioto_tools.cloud.rules.selection import RELEASE_STATES

    ways = {"awaiting": (), "active": ("approved",), "paused": ("approved", "paused"), "cancelled": ("cancelled",)}
    assert set(ways) == set(RELEASE_STATES)
    for number, (before, action) in enumerate(
        itertools.product(RELEASE_STATES, ("approved", "paused", "resumed", "cancelled"))
    ):
        version = "2.0.%d" % number
        cloud.publish(version, by_hand=True)
        for step in ways[before]:
            control.change_state(cloud.site, "thermo@" + version, step)
        after = MOVES[action].get(before)
        if after:
            assert control.change_state(cloud.site, "thermo@" + version, action)["state"] == after
        else:
            with pytest.raises(CloudError, match="%s: only a release that is .* can be %s" % (before, action)):
                control.change_state(cloud.site, "thermo@" + version, action)
            assert overview.update(cloud.site, "thermo@" + version)["state"] == before


def test_a_pinned_device_is_offered_only_that_version(cloud):
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        cloud.publish(version)
    assert ask(cloud, "D1", "1.2.0") == "1.3.0"
    control.pin(cloud.site, "D1", "1.1.0")
    assert ask(cloud, "D1", "1.2.0") == "1.1.0" and state(cloud, "D1") == "offered"
    assert why(cloud, "D1") == {"1.3.0": "pinned", "1.2.0": "pinned", "1.1.0": None}
    assert ask(cloud, "D1", "1.1.0") is None and state(cloud, "D1") == "confirmed"
    control.pin(cloud.site, "D1", None)
    assert ask(cloud, "D1", "1.1.0") == "1.3.0" and ask(cloud, "D2", "1.2.0") == "1.3.0"
    for bad in ("1.1", "latest", ""):
        with pytest.raises(CloudError, match="SemVer"):
            control.pin(cloud.site, "D1", bad)
    with pytest.raises(CloudError, match="D9"):
        control.pin(cloud.site, "D9", "1.0.0")


# ---- outcomes


def test_a_check_in_with_the_new_version_confirms_the_update(cloud):
    """The client never sends reports."""
    cloud.publish("2.0.0+b1")
    assert ask(cloud, "D1") == "2.0.0+b1" and state(cloud, "D1") == "offered"
    assert ask(cloud, "D1", "2.0.0+b2") is None and state(cloud, "D1") == "confirmed"
    cloud.now_s += HOUR
    assert ask(cloud, "D1", "2.0.0") is None
    assert overview.updates(cloud.site)[0]["states"] == overview.updates(cloud.site)[0]["ended"] == {"confirmed": 1}


def test_a_reverted_update_is_offered_again_after_an_hour(cloud):
    cloud.publish("2.0.0")
    ask(cloud, "D1")
    ask(cloud, "D1", "2.0.0")
    # The first check-in with the old version may be from another board with this id.
    assert ask(cloud, "D1") is None and state(cloud, "D1") == "confirmed"
    assert ask(cloud, "D1") is None and state(cloud, "D1") == "reverted" and why(cloud, "D1") == {"2.0.0": "waits"}
    assert overview.updates(cloud.site)[0]["ended"] == {"reverted": 1}
    cloud.now_s += HOUR
    assert ask(cloud, "D1") == "2.0.0" and overview.device(cloud.site, "D1")["update"]["tries"] == 2
    [update] = overview.updates(cloud.site)
    assert update["states"] == {"offered": 1} and update["ended"] == {"reverted": 1}  # unchanged until the next outcome
    ask(cloud, "D1", "2.0.0")
    assert overview.updates(cloud.site)[0]["ended"] == {"confirmed": 1}


@pytest.mark.sweep
def test_a_board_that_checks_in_during_its_trial(cloud):
    """The check-in confirms the update, the report `rolled_back` undoes that, and the next attempt is counted again."""
    cloud.publish("2.0.0")
    ask(cloud, "D1")
    for report in ("downloading", "staged", "applied"):
        send_report(cloud, "D1", report)
    for attempt in (1, 2):
        assert ask(cloud, "D1", "2.0.0") is None and state(cloud, "D1") == "confirmed"
        send_report(cloud, "D1", "rolled_back", attempt)
        assert state(cloud, "D1") == "rolled_back"
        assert ask(cloud, "D1") is None  # the board tries again by itself
        send_report(cloud, "D1", "applied", attempt + 1)
        assert state(cloud, "D1") == "applied"
    ask(cloud, "D1", "2.0.0")
    send_report(cloud, "D1", "confirmed", 3)
    assert overview.updates(cloud.site)[0]["states"] == overview.updates(cloud.site)[0]["ended"] == {"confirmed": 1}


def test_a_newer_offer_supersedes_only_an_open_one(cloud):
    cloud.publish("1.1.0")
    for id in ("D1", "D2"):
        ask(cloud, id)
    send_report(cloud, "D2", "failed")
    cloud.publish("1.2.0")
    assert ask(cloud, "D1") == ask(cloud, "D2") == "1.2.0"
    found = {each["version"]: each for each in overview.updates(cloud.site)}
    assert found["1.1.0"]["states"] == {"superseded": 1, "failed": 1} and found["1.1.0"]["ended"] == {"failed": 1}
    # After a pause, the older release is offered again: to D1 at once, to D2, where it failed, after an hour.
    control.change_state(cloud.site, "thermo@1.2.0", "paused")
    assert ask(cloud, "D1") == "1.1.0" and ask(cloud, "D2") is None
    cloud.now_s += HOUR
    assert ask(cloud, "D2") == "1.1.0"


def test_a_device_is_lost_after_a_day_of_silence_and_can_return(cloud, monkeypatch):
    monkeypatch.setattr(lost_devices, "EVERY_S", DAY)  # as if a server had been running all the time
    cloud.publish("2.0.0")
    for id in ("GONE", "BACK", "AWAKE", "REPORTS", "REMOVED"):
        ask(cloud, id, next=HOUR)
    control.remove(cloud.site, "REMOVED")
    cloud.now_s += HOUR
    assert ask(cloud, "AWAKE", next=HOUR) == "2.0.0"
    send_report(cloud, "REPORTS", "deferred")
    cloud.now_s += DAY - HOUR - 1
    assert lost_devices.mark_silent(cloud.site) == 0
    cloud.now_s += 1
    assert lost_devices.mark_silent(cloud.site) == 2 and lost_devices.mark_silent(cloud.site) == 0
    assert {id: state(cloud, id) for id in ("GONE", "BACK", "AWAKE", "REPORTS", "REMOVED")} == {
        "GONE": "lost", "BACK": "lost", "AWAKE": "offered", "REPORTS": "deferred", "REMOVED": "offered"
    }  # fmt: skip
    send_report(cloud, "BACK", "staged")  # a late report
    assert state(cloud, "BACK") == "staged"
    cloud.now_s += HOUR
    assert lost_devices.mark_silent(cloud.site) == 2 and state(cloud, "AWAKE") == state(cloud, "REPORTS") == "lost"
    assert ask(cloud, "GONE", next=30) == "2.0.0" and overview.device(cloud.site, "GONE")["update"]["tries"] == 2
    assert ask(cloud, "AWAKE") is None and ask(cloud, "AWAKE", "2.0.0") is None and state(cloud, "AWAKE") == "confirmed"
    assert ask(cloud, "BACK", next=30) == "2.0.0"
    cloud.site.lost_after_s = 60
    cloud.now_s += 60
    assert lost_devices.mark_silent(cloud.site) == 2 and state(cloud, "GONE") == state(cloud, "BACK") == "lost"


def test_more_lost_devices_than_fit_into_one_transaction(cloud, monkeypatch):
    monkeypatch.setattr(lost_devices, "AT_ONCE", 3)
    cloud.publish("2.0.0", stop="50% after 5")
    for n in range(8):
        ask(cloud, "D%d" % n, next=HOUR)
    cloud.now_s += DAY
    assert [lost_devices.mark_silent(cloud.site) for _ in range(4)] == [3, 3, 2, 0]
    assert overview.updates(cloud.site)[0]["state"] == "paused" and audited(cloud)[-1] == ("release.stopped", "cloud")


def test_a_clock_that_was_ahead_delays_neither_a_rate_nor_the_next_try(cloud):
    """The clock was 48 hours ahead: the rate waits for one period; a device that failed meanwhile does not wait."""
    cloud.publish("2.0.0", rate=2, period="1 hour")
    cloud.now_s += 48 * HOUR
    assert [ask(cloud, "D%d" % n) for n in range(3)] == ["2.0.0", "2.0.0", None]
    send_report(cloud, "D0", "failed")
    cloud.now_s -= 48 * HOUR
    assert ask(cloud, "D0") == "2.0.0"
    assert ask(cloud, "D2") is None and why(cloud, "D2") == {"2.0.0": "rate"}
    cloud.now_s += HOUR - 1
    assert ask(cloud, "D2") is None
    cloud.now_s += 1
    assert [ask(cloud, "D%d" % n) for n in range(2, 5)] == ["2.0.0", "2.0.0", None]


# ---- the stop rule


@pytest.mark.parametrize("least,percent", [(1, 40), (4, 50), (5, 20), (10, 5)])
def test_the_stop_rule_acts_with_the_first_report_that_fulfils_it(cloud, least, percent):
    """Every second device fails, in all possible ways; refusals due to the device do not count."""
    cloud.publish("2.0.0", stop="%d%% after %d" % (percent, least))
    other = second_worker(cloud)
    assert ask(other, "FIRST") == "2.0.0"  # the other worker has leased slots for more devices
    ended = []
    for n, bad in zip(range(24), itertools.cycle(sorted(update_states.FAILURES - {"lost"}))):
        id, end = "D%d" % n, bad if n % 2 else "confirmed"
        if ask(cloud, id) is None:
            break
        ask(cloud, id + "-own")
        send_report(cloud, id + "-own", "refused", reason="record_failed")
        if end == "reverted":
            ask(cloud, id, "2.0.0")
            ask(cloud, id), ask(cloud, id)
        else:
            send_report(cloud, id, "deferred")
            send_report(cloud, id, *(("refused", 1, "signature_invalid") if end == "unfit" else (end,)))
        ended.append(end)
        holds = (
            len(ended) >= least
            and 0 < sum(e in update_states.FAILURES for e in ended)
            and Fraction(sum(e in update_states.FAILURES for e in ended), len(ended)) >= Fraction(percent, 100)
        )
        update = overview.update(cloud.site, "thermo@2.0.0")
        assert (update["state"] == "paused") == holds == update["stops"], ended
        if holds:
            # The other worker's cache is not refreshed yet, and the worker has leased slots; still, no device gets one.
            assert ask(other, "LATE") is None and ask(cloud, "LATER") is None
            break
    else:
        raise AssertionError("never stopped: %s" % ended)
    [row] = [row for row in cloud.site.database.read(audit.newest) if row["action"] == "release.stopped"]
    assert (
        row["who"] == "cloud"
        and sum(row["detail"]["ended"].values()) == 2 * len(ended)
        and row["detail"]["version"] == "2.0.0"
    )
    granted = overview.update(cloud.site, "thermo@2.0.0")["granted"]
    assert granted == 2 * len(ended) + 1
    # After the release is resumed, the next outcome pauses it again, unless its stop rule is changed.
    control.change_state(cloud.site, "thermo@2.0.0", "resumed")
    send_report(cloud, "FIRST", "failed")
    assert overview.update(cloud.site, "thermo@2.0.0")["state"] == "paused"
    control.set_terms(cloud.site, "thermo@2.0.0", {"stop": "none"})
    control.change_state(cloud.site, "thermo@2.0.0", "resumed")
    assert ask(cloud, "LATER") == "2.0.0"
    send_report(cloud, "LATER", "failed")
    assert overview.update(cloud.site, "thermo@2.0.0")["state"] == "active"
    other.close()


def test_repeated_and_foreign_reports_never_stop_a_release(cloud):
    cloud.publish("2.0.0", stop="50% after 2")
    ask(cloud, "D1")
    for _ in range(5):
        send_report(cloud, "D1", "failed")
    update = overview.device(cloud.site, "D1")["update"]["update"]
    ask(cloud, "NEVER", "2.0.0")  # this device was never offered the release
    cloud.report("NEVER", cloud.tokens["NEVER"], update, False)
    assert cloud.report("D1", cloud.tokens["NEVER"], update, False).status == 401
    found = overview.update(cloud.site, update)
    assert found["state"] == "active" and found["ended"] == {"failed": 1}


# ---- claimed devices, dry runs, search


def test_claimed_and_released_devices(cloud):
    new_product(cloud.site, "held", "HELD7", by_hand=True)
    reply = cloud.register("C1", "HELD7")
    assert reply.status == 200 and reply.json() == {"registered": True, "id": "C1"}
    assert cloud.register("C1", "HELD7").json() == {"registered": True, "id": "C1"}
    control.claim(cloud.site, "C1")
    token = cloud.register("C1", "HELD7").json()["token"]
    assert cloud.post("/tok/provision/update", {"id": "C1", "version": "1.0.0"}, token).status == 200
    control.unclaim(cloud.site, "C1")
    for path, more in (("update", {"version": "1.0.0"}), ("updateReport", {"update": "U", "success": True})):
        assert cloud.post("/tok/provision/" + path, {"id": "C1", **more}, token).body == b"Cannot find device"
    assert cloud.register("C1", "HELD7").json() == {"registered": True, "id": "C1"}
    assert cloud.post("/tok/provision/update", {"id": "C1", "version": "1.0.0"}, token).body == b"Authentication failed"
    control.claim(cloud.site, "C1")
    assert "token" in cloud.register("C1", "HELD7").json()
    # A released device is not claimed again, even if its product claims devices automatically.
    token = cloud.device("D1")
    control.unclaim(cloud.site, "D1")
    assert (
        cloud.check_in("D1", token, "1.0.0").body == b"Cannot find device"
        and "token" not in cloud.register("D1").json()
    )
    claims = ["device.claimed", "device.released"] * 2
    assert [action for action, _ in audited(cloud)][-4:] == claims


def test_a_dry_run_lists_devices_with_reasons_and_changes_nothing(cloud):
    cloud.publish("1.0.0")
    for n in range(12):
        ask(cloud, "D%02d" % n, "1.%d.0" % (n % 3), region="west" if n < 8 else "east")
    ask(cloud, "D99", "unknown")
    before = cloud.site.database.read(audit.newest)
    said = {"policy": "version < newVersion && region == 'west'", "limit": "2", "age": "none"}
    found = dry_run(cloud.site, cloud.folder / "image.bin", "thermo", "1.1.0", said=said)
    assert found["devices"] == 13
    assert found["found"] == {
        "offered": {"count": 2, "examples": ["D00", "D03"]},
        "limit": {"count": 1, "examples": ["D06"]},
        "runs": {"count": 4, "examples": ["D01", "D04", "D07", "D10"]},
        "policy": {"count": 5, "examples": ["D02", "D05", "D08", "D09", "D11"]},
        "version": {"count": 1, "examples": ["D99"]},
    }
    assert [each["version"] for each in overview.updates(cloud.site)] == ["1.0.0"] and cloud.site.database.read(
        audit.newest
    ) == before
    cloud.publish("1.1.0", policy="version < newVersion && region == 'west'")
    assert [
        n for n in range(12) if ask(cloud, "D%02d" % n, "1.%d.0" % (n % 3), region="west" if n < 8 else "east")
    ] == [0, 3, 6]


def test_devices_can_be_searched_with_a_policy(cloud):
    from ioto_tools.cloud import policy

    for n in range(5):
        ask(cloud, "D%d" % n, "1.%d.0" % n, memory=n * 100, tags={"beta": n == 2})
    for text, wanted in (
        ("memory >= 300", "34"),
        ("version < '1.2.0'", "01"),
        ("tags.beta == true", "2"),
        ("nothing == 1", ""),
        ("", "01234"),
    ):
        assert [each["id"] for each in overview.devices(cloud.site, None, policy.compile(text))] == [
            "D" + n for n in wanted
        ], text
    assert PRODUCT and overview.devices(cloud.site, "thermo", policy.compile("memory == 0"))[0]["id"] == "D0"

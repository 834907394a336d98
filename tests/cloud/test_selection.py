"""Which release is offered, and why the others are not: all combinations compared with brute force and `semver`."""

import functools
import itertools
import random

import pytest
import semver
from cloud_under_test import esp_image
from ioto import semver as ours
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.rules import selection
from ioto_tools.cloud.rules.selection import Grant, Release, RequestingDevice
from ioto_tools.cloud.rules.update_states import OPEN, STATES, next_try, rollout_position
from ioto_tools.image import esp

VERSIONS = ("0.9.0", "1.0.0-alpha", "1.0.0-alpha.2", "1.0.0-alpha.10", "1.0.0", "1.0.1+build.7")
RUNNING = VERSIONS + ("0.0.1", "1.0.0+other", "1.0.1", "10.0.0", "9.99.0-rc.1")
NOW = 1000


@functools.cache
def compared(one, other):
    return semver.Version.parse(one).compare(other)


def newer(device, facts):
    return ours.compare(device["version"], facts["version"]) < 0


def release(version, enabled=True, state="active", policy=newer, **more):
    return Release(
        "U" + version, version, ours.parse(version), "c", 1, enabled, state, policy, {"version": version}, **more
    )


def asker(version, grants=None, pin=None, **properties):
    order = ours.parse(version) if ours.is_valid(version) else None
    return RequestingDevice("D1", order, {"version": version, **properties}, pin and ours.parse(pin), grants or {})


def never_full(release):
    return None


def sorted_releases(releases):
    return sorted(releases, key=functools.cmp_to_key(lambda a, b: compared(b.version, a.version)))


def test_every_set_of_enabled_and_disabled_releases():
    """With the default policy, the newest enabled release that is newer than the device's version is offered."""
    count = 0
    made = {(version, enabled): release(version, enabled) for version in VERSIONS for enabled in (False, True)}
    for switches in itertools.product((None, False, True), repeat=len(VERSIONS)):
        releases = sorted_releases([made[pair] for pair in zip(VERSIONS, switches) if pair[1] is not None])
        for running in RUNNING:
            fits = [each for each in releases if each.enabled and compared(each.version, running) > 0]
            assert selection.select_release(releases, asker(running), NOW, never_full) is (fits[0] if fits else None), (
                switches,
                running,
            )
            count += 1
    assert count == 3 ** len(VERSIONS) * len(RUNNING)


def test_device_without_a_valid_version_is_offered_nothing():
    for version in ("", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "latest", "1.0.0 ", "-1.0.0"):
        for policy in (newer, lambda device, facts: True):
            releases = [release("99.0.0", policy=policy)]
            assert selection.select_release(releases, asker(version), NOW, never_full) is None, version
            assert selection.explain(releases, asker(version), NOW, never_full) == [(releases[0], "version")]


# (reason in REASONS_NOT_OFFERED, a change that makes an acceptable release unacceptable for this reason).
SAME_REVISION, NEWER_REVISION = (
    esp.make_image(384, revisions=revisions)[:24] for revisions in ((101, 101), (102, 199))
)
REASONS_AGAINST = (
    ("disabled", {"enabled": False}), ("paused", {"state": "paused"}), ("awaiting", {"state": "awaiting"}),
        ("cancelled", {"state": "cancelled"}),
    ("chip", {"chip": 9}), ("revision", {"head": NEWER_REVISION}), ("too_large", {"image_bytes": 1001}), ("minimum",
        {"minimum": ours.parse("1.0.1")}), ("expired", {"expires_s": NOW - 1}),
    ("early", {"start_s": NOW + 1}), ("late", {"end_s": NOW}), ("policy", {"policy": lambda device, facts: False}),
        ("percentage", {"percentage": 0}), ("stage", {"percentage": 0, "in_stages": True}),
)  # fmt: skip
ACCEPTABLE = {
    "start_s": NOW,
    "end_s": NOW + 1,
    "percentage": 100,
    "chip": 0,
    "head": SAME_REVISION,
    "image_bytes": 1000,
    "minimum": ours.parse("1.0.0"),
    "expires_s": NOW,
}
BOARD = {"chip": 0, "revision": 101, "slotSize": 1000}  # with these values, the release is still acceptable


def test_every_combination_of_reasons_against_a_release():
    """For every set of reasons, the first in REASONS_NOT_OFFERED is given, and the next release is offered instead."""
    lower = release("1.5.0")
    order = list(selection.REASONS_NOT_OFFERED)
    for chosen in itertools.product((False, True), repeat=len(REASONS_AGAINST)):
        changes, reasons = dict(ACCEPTABLE), []
        for use, (why, change) in zip(chosen, REASONS_AGAINST):
            if use and not (set(change) & {"state"} and "state" in changes):
                changes.update(change)
                reasons.append(why)
        higher = release("2.0.0", **changes)
        found = selection.explain([higher, lower], asker("1.0.0", **BOARD), NOW, never_full)
        first = min(reasons, key=order.index, default=None)
        assert [why for _, why in found] == ([None, "below"] if first is None else [first, None]), changes
        assert selection.select_release([higher, lower], asker("1.0.0", **BOARD), NOW, never_full) is (
            lower if first else higher
        )
    for why in ("limit", "rate"):
        full = lambda each: why if each.version == "2.0.0" else None
        assert [w for _, w in selection.explain([release("2.0.0"), lower], asker("1.0.0"), NOW, full)] == [why, None]


def test_missing_properties_are_no_reason_against_a_release():
    """Values of another type are no reason either: other clients may use these names.

    A pin does not override the hardware.
    """
    board = release("2.0.0", chip=9, head=NEWER_REVISION, image_bytes=1000)
    for sent in (
        {},
        {"chip": "0"},
        {"chip": None},
        {"slotSize": "10"},
        {"slotSize": True},
        {"chip": 9, "slotSize": 1000},
        {"chip": 9.0},
        {"revision": 0},
        {"chip": 9, "revision": "0"},
        {"chip": 9, "revision": True},
        {"chip": 9, "revision": 150},
    ):
        assert selection.reason_not_offered(board, asker("1.0.0", **sent), NOW, never_full) is None, sent
        assert selection.reason_not_offered(release("2.0.0"), asker("1.0.0", **sent), NOW, never_full) is None, sent
    for sent, why in (
        ({"chip": 0}, "chip"),
        ({"chip": 9, "revision": 101}, "revision"),
        ({"slotSize": 999}, "too_large"),
    ):
        assert selection.reason_not_offered(board, asker("1.0.0", pin="2.0.0", **sent), NOW, never_full) == why
    device = asker("1.0.0")
    device.claimed = False
    assert selection.reason_not_offered(board, device, NOW, never_full) == "unclaimed"


def test_search_ends_at_the_running_release():
    """A lower release whose policy ignores versions is not offered to a device that runs a higher release."""
    always = lambda device, facts: True
    lower, runs, higher = (release(version, policy=always) for version in ("1.0.0", "2.0.0", "3.0.0-rc.1"))
    off = release("3.0.0-rc.1", enabled=False)
    assert selection.explain([off, runs, lower], asker("2.0.0+5"), NOW, never_full) == [
        (off, "disabled"),
        (runs, "runs"),
        (lower, "below"),
    ]
    assert selection.select_release([higher, runs, lower], asker("2.0.0"), NOW, never_full) is higher
    # A disabled release does not end the search, and a policy may select a lower version.
    runs.enabled = False
    assert selection.select_release([off, runs, lower], asker("2.0.0"), NOW, never_full) is lower


def test_pin_replaces_policy_schedule_and_percentage():
    excludes_all = {"policy": lambda device, facts: False, "start_s": NOW + 9, "percentage": 0}
    high, low = release("2.0.0"), release("1.0.0", **excludes_all)
    for running, pin, wanted in (
        ("1.5.0", "1.0.0", ["pinned", None]),
        ("1.0.0", "1.0.0", ["pinned", "runs"]),
        ("1.5.0", "2.0.0", [None, "below"]),
        ("2.0.0", "1.0.0+x", ["pinned", None]),
        ("1.5.0", "1.7.0", ["pinned", "pinned"]),
    ):
        assert [why for _, why in selection.explain([high, low], asker(running, pin=pin), NOW, never_full)] == wanted, (
            running,
            pin,
        )
    for change, why in (({"enabled": False}, "disabled"), ({"state": "paused"}, "paused")):
        assert (
            selection.reason_not_offered(release("1.0.0", **change), asker("1.5.0", pin="1.0.0"), NOW, never_full)
            == why
        )
    assert selection.reason_not_offered(low, asker("1.5.0", pin="1.0.0"), NOW, lambda each: "limit") == "limit"


def test_device_with_a_slot_needs_no_new_one():
    """A release is offered while its grant is open or the next try is due, for each state, number of tries and age."""
    full = release("2.0.0", percentage=0)
    for state, tries, attempt, age in itertools.product(STATES, (1, 2, 3), (0, 1, 3), (0, 3599, 3600, 86400)):
        held = {full.id: Grant("2.0.0", "1.0.0", tries, attempt, state, None, NOW, NOW - age)}
        found = selection.reason_not_offered(full, asker("1.0.0", held), NOW, lambda each: "limit")
        due = next_try(state, tries, attempt, NOW - age)
        wanted = None if state in OPEN else "tried" if due is None else "waits" if due[1] > NOW else None
        wanted = "percentage" if state == "withdrawn" else wanted  # a withdrawn grant has no slot
        assert found == wanted, (state, tries, attempt, age)
        # Reasons that concern the release itself apply to this device too.
        assert (
            selection.reason_not_offered(release("2.0.0", state="paused"), asker("1.0.0", held), NOW, never_full)
            == "paused"
        )
        assert (
            selection.reason_not_offered(
                release("2.0.0", policy=lambda d, u: False), asker("1.0.0", held), NOW, never_full
            )
            == "policy"
        )


def expected_offer(releases, device, running, pin, now_s):
    """The rule, as simple as possible: the first acceptable release in descending order of versions."""
    for each in sorted_releases(releases):
        counts = each.enabled and each.state == "active" and (pin is None or compared(each.version, pin) == 0)
        if counts and compared(each.version, running) == 0:
            return None
        held = device.grants.get(each.id)
        had = held is not None and held.state != "withdrawn"
        due = (
            held is None
            or held.state in OPEN
            or (n := next_try(held.state, held.tries, held.attempt, held.changed_s))
            and n[1] <= now_s
        )
        meant = (
            pin is not None
            or (each.start_s or 0) <= now_s < (each.end_s or 10**9)
            and each.policy(device.properties, each.facts)
        )
        inside = had or pin is not None or rollout_position(each.id, device.id) < each.percentage
        if counts and meant and due and inside:
            return each
    return None


@pytest.mark.sweep
def test_random_catalogues_against_brute_force():
    draw = random.Random(6)
    policies = (
        newer,
        lambda device, facts: True,
        lambda device, facts: False,
        lambda device, facts: "rc" in facts["version"],
    )
    offered = 0
    for round in range(20_000):
        releases = [
            release(version, draw.random() < 0.8, draw.choice(("active", "active", "active", "paused")),
            draw.choice(policies),
                    percentage=draw.choice((0, 30, 60, 100, 100)), start_s=draw.choice((None, NOW, NOW + 1)),
                    end_s=draw.choice((None, NOW, NOW + 1)))
            for version in draw.sample(RUNNING[:-4] + RUNNING[-2:], draw.randrange(5))
        ]  # fmt: skip
        held = {
            each.id: Grant(each.version, "0.0.1", draw.randrange(1, 4), draw.randrange(4), draw.choice(STATES), None,
            NOW, NOW - draw.choice((0, 3600, 90000))) for each in releases if draw.random() < 0.3
        }  # fmt: skip
        running, pin = draw.choice(RUNNING), draw.choice((None, None, None, *VERSIONS))
        device = RequestingDevice(
            "D%d" % round, ours.parse(running), {"version": running}, pin and ours.parse(pin), held
        )
        found = selection.select_release(sorted_releases(releases), device, NOW, never_full)
        assert found is expected_offer(releases, device, running, pin, NOW), (round, running, pin, releases, held)
        explained = selection.explain(sorted_releases(releases), device, NOW, never_full)
        assert [each for each, why in explained if why is None] == ([found] if found else []), round
        # The same with the results of all policies in the cache, as at the next check-in.
        device.verdicts = {each.id: bool(each.policy(device.properties, each.facts)) for each in releases}
        assert selection.select_release(sorted_releases(releases), device, NOW, never_full) is found, round
        assert {why for _, why in explained} <= {None, *selection.REASONS_NOT_OFFERED}
        offered += found is not None
    assert offered > 1500


@pytest.mark.sweep
def test_the_same_through_the_application(cloud):
    versions = ("1.0.0-rc.1", "1.0.0", "1.1.0", "1.10.0")
    updates = {version: cloud.publish(version, esp_image(version.encode()))["id"] for version in versions}
    count = 0
    for switches in itertools.product((False, True), repeat=len(versions)):
        for version, enabled in zip(versions, switches):
            control.enable(cloud.site, updates[version], enabled)
        for running in versions + ("0.1.0", "1.9.0"):
            count += 1
            id = "D%d" % count
            fits = [v for v, s in zip(versions, switches) if s and compared(v, running) > 0]
            reply = cloud.check_in(id, cloud.device(id), running)
            assert reply.status == 200
            if not fits:
                assert reply.body == b"{}", (switches, running)
            else:
                assert reply.json()["version"] == fits[-1] and reply.json()["update"] == updates[fits[-1]]
            # `ioto device show` explains the same decision.
            explained = overview.device(cloud.site, id)["offers"]
            assert [each["version"] for each in explained if each["why"] is None] == fits[-1:], (
                switches,
                running,
                explained,
            )


def test_devices_are_offered_only_releases_of_their_product(cloud):
    from cloud_under_test import PRODUCT
    from ioto_tools.cloud.releases.publish import new_product

    new_product(cloud.site, "other", "OTHER")
    cloud.publish("5.0.0", product="other")
    token = cloud.device()
    assert cloud.check_in("D1", token, "1.0.0").json() == {}
    assert cloud.register("D1", "OTHER").json()["token"] != token and cloud.check_in("D1", token, "1.0.0").json() == {}
    other = cloud.register("D2", "OTHER").json()["token"]
    offered = cloud.post("/tok/provision/update", {"id": "D2", "version": "1.0.0"}, other).json()
    assert offered["version"] == "5.0.0"
    refused = cloud.post("/tok/provision/update", {"id": "D2", "version": "1.0.0", "product": PRODUCT}, other)
    assert refused.status == 403 and "other" in refused.json()["error"]

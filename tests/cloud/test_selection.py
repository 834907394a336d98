"""Which release is offered, and why the others are not: every combination against brute force, with the `semver`
library.
"""

import functools
import itertools
import random

import semver
from cloud_under_test import esp_image
from ioto import semver as ours
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.rules import selection
from ioto_tools.cloud.rules.selection import Asker, Grant, Release
from ioto_tools.cloud.rules.update_states import OPEN, STATES, next_try, share
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
    return Asker("D1", order, {"version": version, **properties}, pin and ours.parse(pin), grants or {})


def everywhere(release):
    return None


def sorted_releases(releases):
    return sorted(releases, key=functools.cmp_to_key(lambda a, b: compared(b.version, a.version)))


def test_every_set_of_releases_and_switches():
    """With the policy that a release has by itself: of the enabled and newer ones, the one that none is newer than."""
    count = 0
    made = {(version, enabled): release(version, enabled) for version in VERSIONS for enabled in (False, True)}
    for switches in itertools.product((None, False, True), repeat=len(VERSIONS)):
        releases = sorted_releases([made[pair] for pair in zip(VERSIONS, switches) if pair[1] is not None])
        for running in RUNNING:
            fits = [each for each in releases if each.enabled and compared(each.version, running) > 0]
            assert selection.offer(releases, asker(running), NOW, everywhere) is (fits[0] if fits else None), (
                switches,
                running,
            )
            count += 1
    assert count == 3 ** len(VERSIONS) * len(RUNNING)


def test_no_version_is_offered_nothing():
    for version in ("", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "latest", "1.0.0 ", "-1.0.0"):
        for policy in (newer, lambda device, facts: True):
            releases = [release("99.0.0", policy=policy)]
            assert selection.offer(releases, asker(version), NOW, everywhere) is None, version
            assert selection.explain(releases, asker(version), NOW, everywhere) == [(releases[0], "version")]


# What may speak against a release: (key of WHY, what to change of a release that nothing speaks against).
HERE, NEWER = (esp.make(384, revisions=revisions)[:24] for revisions in ((101, 101), (102, 199)))
AGAINST = (
    ("disabled", {"enabled": False}), ("paused", {"state": "paused"}), ("awaiting", {"state": "awaiting"}),
        ("cancelled", {"state": "cancelled"}),
    ("chip", {"chip": 9}), ("revision", {"head": NEWER}), ("too_large", {"image_bytes": 1001}), ("minimum",
        {"minimum": ours.parse("1.0.1")}), ("expired", {"expires_s": NOW - 1}),
    ("early", {"start_s": NOW + 1}), ("late", {"end_s": NOW}), ("policy", {"policy": lambda device, facts: False}),
        ("percentage", {"percentage": 0}),
)  # fmt: skip
EDGES = {
    "start_s": NOW,
    "end_s": NOW + 1,
    "percentage": 100,
    "chip": 0,
    "head": HERE,
    "image_bytes": 1000,
    "minimum": ours.parse("1.0.0"),
    "expires_s": NOW,
}
BOARD = {"chip": 0, "revision": 101, "slotSize": 1000}  # for which they still speak for it


def test_everything_that_speaks_against_a_release_alone_and_together():
    """Every set of reasons; the one that is told is the first of WHY, and the next release is offered instead."""
    lower = release("1.5.0")
    order = list(selection.WHY)
    for chosen in itertools.product((False, True), repeat=len(AGAINST)):
        changes, reasons = dict(EDGES), []
        for use, (why, change) in zip(chosen, AGAINST):
            if use and not (set(change) & {"state"} and "state" in changes):
                changes.update(change)
                reasons.append(why)
        higher = release("2.0.0", **changes)
        found = selection.explain([higher, lower], asker("1.0.0", **BOARD), NOW, everywhere)
        first = min(reasons, key=order.index, default=None)
        assert [why for _, why in found] == ([None, "below"] if first is None else [first, None]), changes
        assert selection.offer([higher, lower], asker("1.0.0", **BOARD), NOW, everywhere) is (
            lower if first else higher
        )
    for why in ("limit", "rate"):
        full = lambda each: why if each.version == "2.0.0" else None
        assert [w for _, w in selection.explain([release("2.0.0"), lower], asker("1.0.0"), NOW, full)] == [why, None]


def test_what_a_device_does_not_say_speaks_against_nothing():
    """Nor what only looks like a chip or a size: strangers have properties of these names. A pin lets nothing of it
    pass.
    """
    board = release("2.0.0", chip=9, head=NEWER, image_bytes=1000)
    for said in (
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
        assert selection.against(board, asker("1.0.0", **said), NOW, everywhere) is None, said
        assert selection.against(release("2.0.0"), asker("1.0.0", **said), NOW, everywhere) is None, said
    for said, why in (
        ({"chip": 0}, "chip"),
        ({"chip": 9, "revision": 101}, "revision"),
        ({"slotSize": 999}, "too_large"),
    ):
        assert selection.against(board, asker("1.0.0", pin="2.0.0", **said), NOW, everywhere) == why
    device = asker("1.0.0")
    device.claimed = False
    assert selection.against(board, device, NOW, everywhere) == "unclaimed"


def test_what_runs_ends_the_search():
    """A lower release whose policy names no version is not offered to a device that runs a higher one of the list."""
    everybody = lambda device, facts: True
    lower, runs, higher = (release(version, policy=everybody) for version in ("1.0.0", "2.0.0", "3.0.0-rc.1"))
    off = release("3.0.0-rc.1", enabled=False)
    assert selection.explain([off, runs, lower], asker("2.0.0+5"), NOW, everywhere) == [
        (off, "disabled"),
        (runs, "runs"),
        (lower, "below"),
    ]
    assert selection.offer([higher, runs, lower], asker("2.0.0"), NOW, everywhere) is higher
    # Switched off it holds nobody any more, and a policy may lead down.
    runs.enabled = False
    assert selection.offer([off, runs, lower], asker("2.0.0"), NOW, everywhere) is lower


def test_a_pin_stands_for_policy_schedule_and_percentage():
    nobody = {"policy": lambda device, facts: False, "start_s": NOW + 9, "percentage": 0}
    high, low = release("2.0.0"), release("1.0.0", **nobody)
    for running, pin, wanted in (
        ("1.5.0", "1.0.0", ["pinned", None]),
        ("1.0.0", "1.0.0", ["pinned", "runs"]),
        ("1.5.0", "2.0.0", [None, "below"]),
        ("2.0.0", "1.0.0+x", ["pinned", None]),
        ("1.5.0", "1.7.0", ["pinned", "pinned"]),
    ):
        assert [why for _, why in selection.explain([high, low], asker(running, pin=pin), NOW, everywhere)] == wanted, (
            running,
            pin,
        )
    for change, why in (({"enabled": False}, "disabled"), ({"state": "paused"}, "paused")):
        assert selection.against(release("1.0.0", **change), asker("1.5.0", pin="1.0.0"), NOW, everywhere) == why
    assert selection.against(low, asker("1.5.0", pin="1.0.0"), NOW, lambda each: "limit") == "limit"


def test_a_device_that_has_it_is_not_asked_for_a_place_again():
    """For every state, number of tries and age of the grant: offered while it stands, else when the next try is due."""
    full = release("2.0.0", percentage=0)
    for state, tries, attempt, age in itertools.product(STATES, (1, 2, 3), (0, 1, 3), (0, 3599, 3600, 86400)):
        held = {full.id: Grant("2.0.0", "1.0.0", tries, attempt, state, None, NOW, NOW - age)}
        found = selection.against(full, asker("1.0.0", held), NOW, lambda each: "limit")
        due = next_try(state, tries, attempt, NOW - age)
        wanted = None if state in OPEN else "tried" if due is None else "waits" if due[1] > NOW else None
        wanted = "percentage" if state == "withdrawn" else wanted  # it has no slot any more
        assert found == wanted, (state, tries, attempt, age)
        # What speaks against the release itself speaks against its offer to those who have it, too.
        assert selection.against(release("2.0.0", state="paused"), asker("1.0.0", held), NOW, everywhere) == "paused"
        assert (
            selection.against(release("2.0.0", policy=lambda d, u: False), asker("1.0.0", held), NOW, everywhere)
            == "policy"
        )


def brute(releases, device, running, pin, now_s):
    """Once more, from the rule's words: the first release in order of version that everything holds for."""
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
        inside = had or pin is not None or share(each.id, device.id) < each.percentage
        if counts and meant and due and inside:
            return each
    return None


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
        device = Asker("D%d" % round, ours.parse(running), {"version": running}, pin and ours.parse(pin), held)
        found = selection.offer(sorted_releases(releases), device, NOW, everywhere)
        assert found is brute(releases, device, running, pin, NOW), (round, running, pin, releases, held)
        told = selection.explain(sorted_releases(releases), device, NOW, everywhere)
        assert [each for each, why in told if why is None] == ([found] if found else []), round
        assert {why for _, why in told} <= {None, *selection.WHY}
        offered += found is not None
    assert offered > 1500


def test_the_same_through_the_whole_cloud(cloud):
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
            # What device show says is what the device was told.
            told = overview.device(cloud.site, id)["offers"]
            assert [each["version"] for each in told if each["why"] is None] == fits[-1:], (switches, running, told)


def test_two_products_never_meet(cloud):
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

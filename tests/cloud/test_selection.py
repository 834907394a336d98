"""Every combination of published versions, switches and running versions, against brute force with the `semver` library."""

import functools
import itertools

import semver
from cloud_under_test import esp_image
from ioto_tools.cloud import selection

VERSIONS = ("0.9.0", "1.0.0-alpha", "1.0.0-alpha.2", "1.0.0-alpha.10", "1.0.0", "1.0.1+build.7")
RUNNING = VERSIONS + ("0.0.1", "1.0.0+other", "1.0.1", "10.0.0", "9.99.0-rc.1")


def brute(releases, running):
    """Straight from the rule: of the enabled and newer ones, the one that none is newer than."""
    fits = [r for r in releases if r["enabled"] and newer(r["version"], running)]
    tops = [r for r in fits if not any(newer(o["version"], r["version"]) for o in fits)]
    return tops[0] if tops else None


@functools.cache
def newer(one, other):
    return semver.Version.parse(one) > semver.Version.parse(other)


def test_every_set_of_releases_and_switches():
    count = 0
    for states in itertools.product((None, False, True), repeat=len(VERSIONS)):
        releases = [{"version": v, "enabled": s} for v, s in zip(VERSIONS, states) if s is not None]
        releases = releases[::-1] if len(releases) % 2 else releases  # no order may matter
        for running in RUNNING:
            assert selection.offer(releases, running) == brute(releases, running), (states, running)
            count += 1
    assert count == 3 ** len(VERSIONS) * len(RUNNING)


def test_nothing_is_newer_than_no_version():
    for version in ("", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "latest", "1.0.0 ", "-1.0.0"):
        assert selection.offer([{"version": "99.0.0", "enabled": True}], version) is None, version


def test_the_same_through_the_whole_cloud(cloud):
    versions = ("1.0.0-rc.1", "1.0.0", "1.1.0", "1.10.0")
    images = {version: esp_image(version.encode()) for version in versions}
    updates = {version: cloud.publish(version, images[version])["id"] for version in versions}
    token = cloud.device()
    from ioto_tools.cloud import fleet

    for switches in itertools.product((False, True), repeat=len(versions)):
        releases = [{"version": v, "enabled": s} for v, s in zip(versions, switches)]
        for version, enabled in zip(versions, switches):
            fleet.enable(cloud.site, updates[version], enabled)
        for running in versions + ("0.1.0", "1.9.0"):
            wanted = brute(releases, running)
            reply = cloud.check_in("D1", token, running)
            assert reply.status == 200
            if wanted is None:
                assert reply.body == b"{}", (switches, running)
            else:
                assert reply.json()["version"] == wanted["version"], (switches, running)
                assert reply.json()["update"] == updates[wanted["version"]]


def test_two_products_never_meet(cloud):
    from cloud_under_test import PRODUCT
    from ioto_tools.cloud.publish import new_product

    new_product(cloud.site, "other", "OTHER")
    cloud.publish("5.0.0", product="other")
    token = cloud.device()
    assert cloud.check_in("D1", token, "1.0.0").json() == {}
    assert cloud.register("D1", "OTHER").status == 409
    other = cloud.register("D2", "OTHER").json()["token"]
    offered = cloud.post("/tok/provision/update", {"id": "D2", "version": "1.0.0"}, other).json()
    assert offered["version"] == "5.0.0"
    refused = cloud.post("/tok/provision/update", {"id": "D2", "version": "1.0.0", "product": PRODUCT}, other)
    assert refused.status == 403 and "other" in refused.json()["error"]

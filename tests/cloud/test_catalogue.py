"""The catalogue in memory: the order of releases, and cached results of policies."""

import itertools

from ioto_tools.cloud.rollout import catalogue
from ioto_tools.cloud.rollout.catalogue import Product
from ioto_tools.cloud.rules.selection import RequestingDevice, select_release

VALUES = (True, 1, 1.0, "1", "true", False, 0, 0.0, "0", None, "", [1], {"x": 1}, [], "1.0.0")
POLICIES = (
    "a === 1",
    "a === true",
    "a == 1",
    "a",
    "!a",
    "a.x == 1",
    "a >< 1",
    "major == 1 && a != null",
    "device.b == device.a",
    "update.size == 7",
    "newVersion > '1.0.0'",
)


def row(number, policy):
    return {
        "id": "U%d" % number, "product": "P", "version": "1.%d.0" % number, "policy": policy, "description": "",
        "checksum": "c", "size": 7,
        "enabled": True, "state": "active", "percentage": 100, "start_s": None, "end_s": None, "limit": None,
        "rate": None, "age_s": 0, "manifest": None, "chip": None, "head": None,
        "stages": None, "stage": None, "stage_s": None, "held": False,
        "kind": "feature", "notes": "", "advisory": "", "no_defer_after_s": None,
    }  # fmt: skip


def test_releases_of_each_product_are_sorted_by_descending_version():
    rows = [row(number, "") for number in (2, 10, 1)] + [dict(row(3, ""), product="Q", version="1.0.0-rc.1")]
    found = catalogue.compiled([("P", "one"), ("Q", "two"), ("R", "none")], rows)
    assert [each.version for each in found["P"].releases] == ["1.10.0", "1.2.0", "1.1.0"]
    assert (
        [each.id for each in found["Q"].releases] == ["U3"] and found["R"].releases == [] and found["Q"].name == "two"
    )


def test_cached_results_are_those_of_the_policy():
    """Each policy is evaluated with each pair of values, and returns the same results as without a cache."""
    products = catalogue.compiled([("P", "one")], [row(number, policy) for number, policy in enumerate(POLICIES)])
    products.update((policy, catalogue.compiled([("P", "one")], [row(0, policy)])["P"]) for policy in POLICIES)
    for a, b, product in itertools.product(VALUES, VALUES, products.values()):
        device = {"version": "1.0.0", "a": a, "b": b, "uptime": 5}
        held = product.verdicts(device)
        for release in product.releases:
            holds = release.policy(device, release.facts)
            assert held.get(release.id) in (None, holds), (release.policy, a, b)
            asker = RequestingDevice("D", ([(0, 0, "")] * 3, True, []), device, verdicts=held)
            assert (select_release([release], asker, 0, lambda each: None) is release) == holds
    assert all(len(product._verdicts) for product in products.values())


def test_the_number_of_cached_results_is_limited(monkeypatch):
    monkeypatch.setattr(catalogue, "KEPT", 10)
    [product] = catalogue.compiled([("P", "one")], [row(1, "a == 1")]).values()
    for number in range(100):
        product.verdicts({"a": number})["U1"] = number == 1
        assert len(product._verdicts) <= 10
    held = product.verdicts({"a": "x" * 100})
    held["U1"] = False
    assert product.verdicts({"a": "x" * 100}) is held
    product.verdicts({"a": "x" * 101})["U1"] = False
    assert product.verdicts({"a": "x" * 101}) == {}  # not cached
    assert product.verdicts({"a": [1]}) == {} and Product("P", "one", [], None).verdicts({"a": 1}) == {}

"""The metrics of a known fleet, read by Prometheus' own parser, from each worker."""

import pytest
from cloud_under_test import Cloud, call
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.operators import operator_tokens, webhooks
from ioto_tools.cloud.rollout import fleet_samples
from ioto_tools.cloud.storage import audit, counters
from prometheus_client.parser import text_string_to_metric_families

# Last report of a device -> the metric that counts it, besides `offered` and `started`.
ENDS = {
    "downloading": None, "staged": None, "applied": None, "deferred": "deferred", "confirmed": "success",
    "failed": "failed", "rolled_back": "failed", "refused": "refused",
}  # fmt: skip


def page(app, token, status=200):
    reply = call(app, "GET", "/metrics", {"Authorization": "Bearer " + token} if token else {})
    assert reply.status == status, reply.body
    return reply


def samples(app, token):
    """{(name, labels as a sorted tuple): value}."""
    reply = page(app, token)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(reply.body.decode()):
        assert family.documentation and family.type in ("counter", "gauge"), family
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def release(found, update):
    """{metric: value} of one release."""
    return {name[len("ioto_release_") :]: value for (name, labels), value in found.items()
            if name.startswith("ioto_release_") and ("update", update) in labels}  # fmt: skip


@pytest.mark.sweep
def test_metrics_of_a_known_fleet(cloud):
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    update = cloud.publish("2.0.0")["id"]
    silent = cloud.publish("1.0.0-rc.1")["id"]  # offered to no device: all run a higher version
    wanted = {
        "requests_total": 0,
        "offered": 0,
        "started": 0,
        "success": 0,
        "failed": 0,
        "refused": 0,
        "withdrawn": 0,
        "deferred": 0,
        "lost": 0,
    }
    for number, (state, figure) in enumerate(list(ENDS.items()) * 3):
        id = "D%d" % number
        device = cloud.device(id)
        for _ in range(1 + number % 3):
            cloud.check_in(id, device, "1.0.0")
            wanted["requests_total"] += 1
        cloud.report(id, device, update, success=figure in (None, "success", "deferred"), state=state, attempt=1)
        for name in ("offered", "started", figure):
            if name:
                wanted[name] += 1
    found = samples(cloud.app, token)
    assert release(found, update) == wanted
    assert set(release(found, silent).values()) == {0} and set(release(found, silent)) == set(wanted)


def test_all_workers_return_the_same_counts_also_after_a_restart(cloud):
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    update = cloud.publish("2.0.0")["id"]
    device = cloud.device()
    other = create_app(cloud.site.data, "https://updates.test", clock=lambda: cloud.now_s, rate=0, threads=False)
    first = Cloud.check_in
    for n in range(10):
        first(cloud, "D1", device, "1.0.0")
        cloud.app, other = other, cloud.app
        cloud.now_s += 2
    for app in (cloud.app, other):
        app.state.counters.flush()
    for app in (cloud.app, other):
        found = samples(app, token)
        assert release(found, update)["requests_total"] == 10
        assert found["ioto_http_requests_total", (("call", "check_in"), ("status", "200"))] == 10
    third = create_app(cloud.site.data, "https://updates.test", clock=lambda: cloud.now_s, threads=False)
    assert release(samples(third, token), update)["requests_total"] == 10
    for app in (other, third):
        app.state.site.close()


def test_requests_by_call_and_status(cloud):
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    device = cloud.device()
    cloud.check_in("D1", device, "1.0.0")
    cloud.check_in("D1", "wrong", "1.0.0")
    cloud.report("D1", device, "NOBODY")
    for path in ("/image/x", "/nothing", "/api/v1/products"):
        call(cloud.app, "GET", path)
    found = {
        labels: value
        for (name, labels), value in samples(cloud.app, token).items()
        if name == "ioto_http_requests_total"
    }
    said = {(dict(labels)["call"], dict(labels)["status"]): value for labels, value in found.items()}
    assert said == {("register", "200"): 1, ("check_in", "200"): 1, ("check_in", "401"): 1, ("report", "200"): 1,
        ("image", "403"): 1,
                    ("other", "404"): 1, ("api", "401"): 1}  # fmt: skip


def test_product_names_are_escaped(cloud):
    from ioto_tools.cloud.releases.publish import new_product

    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    for number, name in enumerate(('a"b', "a\\b", "a\\\\n", "}{", 'a",b="c')):
        new_product(cloud.site, name)
        cloud.publish("1.0.%d" % number, product=name)
        assert any(("product", name) in labels for _, labels in samples(cloud.app, token)), name


def test_numbers_of_the_fleet(cloud, monkeypatch):
    monkeypatch.setattr(fleet_samples, "MOST_VERSIONS", 3)
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    for n, version in enumerate(["1.0.0", "1.0.0", "other", "none", "1.1.0", "1.2.0", None]):
        device = cloud.device("D%d" % n)
        if version:
            cloud.check_in("D%d" % n, device, version)
    found = samples(cloud.app, token)
    versions = {dict(labels)["version"]: n for (name, labels), n in found.items() if name == "ioto_fleet_versions"}
    assert versions == {"1.0.0": 2, "1.1.0": 1, "1.2.0": 1, "other": 2, "none": 1}
    product = (("product", "thermo"),)
    names = "devices", "checked_in", "updated", "silent", "unclaimed"
    assert [found["ioto_fleet_" + name, product] for name in names] == [7, 6, 0, 0, 0]
    cloud.now_s += 40 * 3600
    assert [samples(cloud.app, token)["ioto_fleet_" + name, product] for name in names] == [7, 0, 0, 6, 0]


def test_labels_of_versions_are_unique(cloud):
    """A device may send any text as its version, also the label of other versions."""
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    for n, version in enumerate(["other", "none", "other"]):
        cloud.check_in("D%d" % n, cloud.device("D%d" % n), version)
    found = samples(cloud.app, token)
    versions = {dict(labels)["version"]: n for (name, labels), n in found.items() if name == "ioto_fleet_versions"}
    assert versions == {"other": 2, "none": 1}


def test_access_and_the_other_metrics(cloud):
    device = cloud.device()
    for token in (None, device, "PRODUCT7"):
        assert b"error" in page(cloud.app, token, 401).body
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    hook = webhooks.new(cloud.site, "https://hooks.test/")["id"]
    operator_tokens.revoke(cloud.site, "prometheus")
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    found = samples(cloud.app, token)
    assert found["ioto_webhook_waiting", (("webhook", hook),)] == 2
    assert found["process_resident_memory_bytes", ()] > 1e6 and found["process_open_fds", ()] > 2
    assert found["process_cpu_seconds_total", ()] > 0 and found["process_start_time_seconds", ()] > 1e9
    assert len(cloud.site.database.read(audit.newest)) >= 4


@pytest.mark.parametrize("error", [OSError("disk")])
def test_counts_are_kept_until_they_can_be_written(cloud, monkeypatch, error):
    def broken(*arguments):
        raise error

    good = cloud.site.database.write_later
    monkeypatch.setattr(cloud.site.database, "write_later", broken)
    for _ in range(5):
        cloud.app.state.counters.add("x")
        cloud.now_s += 5
    monkeypatch.setattr(cloud.site.database, "write_later", good)
    cloud.app.state.counters.flush()
    assert cloud.site.database.read(counters.read)["x"] == 5


def test_every_metric_is_documented(cloud):
    from cloud_under_test import ROOT

    guide = (ROOT / "docs" / "hosting.md").read_text()
    token = operator_tokens.new(cloud.site, "prometheus", "read")["token"]
    cloud.publish("1.0.0")
    webhooks.new(cloud.site, "https://hooks.test/")
    cloud.device()
    names = {name for name, _ in samples(cloud.app, token)}
    assert len(names) > 12 and all("`%s`" % name in guide for name in names), names

"""The API for operators: who may do what, the same answers as the command line, bad input of every kind."""

import json

import pytest
from cloud_under_test import PRODUCT, call, esp_image
from ioto_tools.cloud import audit, fleet, operators, webhooks
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.api.operations import OPERATIONS
from ioto_tools.cloud.refusal import CloudError

API = openapi.PREFIX
SPECIAL = (b"Authentication failed", b"Cannot find device")


def ask(cloud, method, path, token, body=None, raw=None):
    headers = {"Authorization": "bearer " + token} if token else {}
    return call(cloud.app, method, API + path, headers, raw if raw is not None else json.dumps(body).encode() if body is not None else b"")


def admin(cloud, scope="admin", name="boss"):
    return operators.new(cloud.site, name, scope)["token"]


GOOD = {  # an operation's path and body, as it is to succeed
    "products": ("/products", None), "new_product": ("/products", {"name": "other"}),
    "publish": ("/products/thermo/releases?version=3.0.0", esp_image(b"3", 3000)), "releases": ("/releases", None),
    "release": ("/releases/thermo@2.0.0", None), "change_release": ("/releases/thermo@2.0.0", {"enabled": False}),
    "devices": ("/devices?product=thermo", None), "new_device": ("/devices", {"id": "D2", "product": "thermo"}),
    "device": ("/devices/D1", None), "change_device": ("/devices/D1", {"tokens": "rotate"}), "remove_device": ("/devices/D1", None),
    "audited": ("/audit?limit=5", None), "tokens": ("/tokens", None), "new_token": ("/tokens", {"name": "ci", "scope": "publish"}),
    "webhooks": ("/webhooks", None), "new_webhook": ("/webhooks", {"url": "https://hooks.test/a", "events": "release.published"}),
    "remove_webhook": ("/webhooks/HOOK", None), "test_webhook": ("/webhooks/HOOK/test", None),
    "revoke_token": ("/tokens/spare", None), "new_link_key": ("/link-key", {"revoke": False}),
}  # fmt: skip


def asked(cloud, operation, token):
    path, body = GOOD[operation.run.__name__]
    if "HOOK" in path:
        path = path.replace("HOOK", webhooks.listed(cloud.site)[0]["id"])
    raw = body if isinstance(body, bytes) else None
    return ask(cloud, operation.method, path, token, None if raw else body, raw)


def test_every_operation_with_every_kind_of_token(cloud):
    cloud.publish("2.0.0")
    device = cloud.device()
    cloud.check_in("D1", device, "1.0.0")
    webhooks.new(cloud.site, "https://hooks.test/b")
    given = {scope: admin(cloud, scope, scope) for scope in operators.SCOPES}
    spare = admin(cloud, "admin", "spare")
    ended = admin(cloud, "admin", "ended")
    operators.revoke(cloud.site, "ended")
    expired = operators.new(cloud.site, "expired", "admin", 60)["token"]
    cloud.now_s += 60
    assert set(GOOD) == {operation.run.__name__ for operation in OPERATIONS}
    for operation in OPERATIONS:
        name = operation.run.__name__
        before = cloud.site.database.read(audit.last)
        for token in (None, "", device, PRODUCT, ended, expired, given["admin"][:-1], given["admin"] + "x", given["admin"].swapcase()):
            reply = asked(cloud, operation, token)
            assert reply.status == 401 and reply.json()["error"] and not any(text in reply.body for text in SPECIAL), (name, reply.body)
        for scope, token in given.items():
            if operators.SCOPES.index(scope) < operators.SCOPES.index(operation.scope):
                reply = asked(cloud, operation, token)
                assert reply.status == 403 and scope in reply.json()["error"] and operation.scope in reply.json()["error"], (name, scope)
        assert cloud.site.database.read(audit.last) == before, name
        reply = asked(cloud, operation, given[operation.scope])
        assert reply.status == 200 and reply.json() is not None, (name, reply.body)
        if cloud.site.database.read(audit.last) != before:
            assert cloud.site.database.read(audit.last, 1)[0]["who"] == "operator " + operation.scope, name
    assert spare and ask(cloud, "GET", "/products", spare).status == 401  # revoke_token ended it


def test_it_says_what_the_command_line_says(cloud):
    token = admin(cloud, "read")
    cloud.publish("2.0.0")
    cloud.check_in("a/b c", cloud.device("a/b c"), "1.0.0")
    for path, found in (
        ("/products", fleet.products(cloud.site)), ("/releases", fleet.updates(cloud.site)), ("/devices", fleet.devices(cloud.site)),
        ("/releases?product=" + PRODUCT, fleet.updates(cloud.site)), ("/audit", cloud.site.database.read(audit.last)),
        ("/devices/a/b c", fleet.device(cloud.site, "a/b c")),
    ):  # fmt: skip
        assert ask(cloud, "GET", path, token).json() == json.loads(json.dumps(found)), path
    assert ask(cloud, "GET", "/openapi.json", None).json()["openapi"].startswith("3.1")


def test_a_published_release_is_offered_and_named_in_the_audit(cloud):
    token = admin(cloud, "publish", "ci")
    image = esp_image(b"new", 100_000)
    made = ask(cloud, "POST", "/products/thermo/releases?version=2.0.0&description=quieter", token, raw=image).json()
    assert made["new"] is True and made["product"] == "thermo" and made["description"] == "quieter" and made["size"] == len(image)
    assert ask(cloud, "POST", "/products/thermo/releases?version=2.0.0", token, raw=image).json()["new"] is False
    assert cloud.check_in("D1", cloud.device(), "1.0.0").json()["update"] == made["update"]
    assert call(cloud.app, "GET", cloud.link(made["update"])).body == image
    ask(cloud, "PATCH", "/releases/" + made["update"], token, {"enabled": False})
    assert ask(cloud, "GET", "/releases/" + made["update"], token).json()["enabled"] is False


BAD = (
    ("POST", "/products", b"{", 400), ("POST", "/products", b"[]", 400), ("POST", "/products", b"{}", 400), ("POST", "/products", b'{"name": 5}', 400),
    ("POST", "/products", b'{"name": "a", "more": 1}', 400), ("POST", "/products", b'{"name": "thermo"}', 409), ("POST", "/products", b'{"name": "a b"}', 400),
    ("POST", "/products", b'{"name": "' + b"x" * 70000 + b'"}', 413), ("GET", "/devices?nothing=1", b"", 400), ("GET", "/devices?product=nobody", b"", 404),
    ("GET", "/devices/nobody", b"", 404), ("PATCH", "/devices/nobody", b'{"tokens": "revoke"}', 404), ("PATCH", "/devices/x", b'{"tokens": "burn"}', 400),
    ("DELETE", "/devices/nobody", b"", 404), ("GET", "/releases/nobody", b"", 404), ("PATCH", "/releases/thermo@1.0.0", b'{"enabled": true}', 404),
    ("PATCH", "/releases/x", b'{"enabled": 1}', 400), ("GET", "/audit?limit=0", b"", 400), ("GET", "/audit?limit=1001", b"", 400), ("GET", "/audit?limit=x", b"", 400),
    ("GET", "/audit?limit=" + "9" * 400, b"", 400), ("DELETE", "/tokens/nobody", b"", 404), ("POST", "/tokens", b'{"name": "a/b", "scope": "read"}', 409),
    ("POST", "/tokens", b'{"name": "a", "scope": "root"}', 400), ("POST", "/products/thermo/releases?version=1.0.0", b"", 400),
    ("POST", "/products/thermo/releases?version=1.0.0", b"no image", 409), ("POST", "/products/thermo/releases", b"x", 400),
    ("POST", "/products/nobody/releases?version=1.0.0", b"x", 404), ("POST", "/products/thermo/releases?version=one", b"x", 409),
    ("GET", "/nothing", b"", 404), ("PUT", "/products", b"", 405),
)  # fmt: skip


def test_bad_requests_name_what_is_wrong_and_change_nothing(cloud):
    token = admin(cloud)
    before = [fleet.products(cloud.site), fleet.updates(cloud.site), cloud.site.database.read(audit.last)]
    for method, path, body, status in BAD:
        reply = ask(cloud, method, path, token, raw=body)
        assert reply.status == status and reply.json()["error"], (method, path, body[:40], reply.status, reply.body)
    assert before == [fleet.products(cloud.site), fleet.updates(cloud.site), cloud.site.database.read(audit.last)]


def test_an_endless_upload_is_read_no_further_than_its_limit(cloud, monkeypatch):
    from ioto_tools.cloud.api import app

    monkeypatch.setattr(app, "IMAGE_BYTES", 100_000)
    read = []

    def endless():
        for n in range(1000):
            read.append(n)
            yield b"x" * 1000

    headers = {"Authorization": "bearer " + admin(cloud)}
    reply = call(cloud.app, "POST", API + "/products/thermo/releases?version=1.0.0", headers, pieces=endless())
    assert reply.status == 413 and len(read) == 101 and fleet.updates(cloud.site) == []


def test_tokens_are_shown_once_and_kept_nowhere(cloud):
    token = admin(cloud)
    made = ask(cloud, "POST", "/tokens", token, {"name": "ci", "scope": "read", "lifetime_s": 3600}).json()
    assert made["token"].startswith(operators.PREFIX) and made["expires_s"] == cloud.now_s + 3600
    assert all("token" not in row and "hash" not in row for row in ask(cloud, "GET", "/tokens", token).json())
    kept = cloud.kind.kept(cloud.site)
    assert made["token"].encode() not in kept and b"ci" in kept
    with pytest.raises(CloudError, match="there is one"):
        operators.new(cloud.site, "ci", "read")

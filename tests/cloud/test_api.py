"""The API for operators: scopes, the same results as the command line, invalid requests."""

import json

import pytest
from cloud_under_test import PRODUCT, call, esp_image
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.api.operations import OPERATIONS
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import groups, operator_tokens, overview, webhooks
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.storage import audit
from ioto_tools.image import keys

API = openapi.PREFIX
PUBLIC_KEY = keys.public_bytes(keys.generate().public_key()).decode()
SPECIAL = (b"Authentication failed", b"Cannot find device")


def ask(cloud, method, path, token, body=None, raw=None):
    headers = {"Authorization": "bearer " + token} if token else {}
    return call(
        cloud.app,
        method,
        API + path,
        headers,
        raw if raw is not None else json.dumps(body).encode() if body is not None else b"",
    )


def admin(cloud, scope="admin", name="boss"):
    return operator_tokens.new(cloud.site, name, scope)["token"]


GOOD = {  # operation -> path and body of a request that succeeds
    "site_overview": ("/overview", None),
    "products": ("/products", None),
    "product_versions": ("/products/thermo/versions", None),
    "new_product": ("/products", {"name": "other", "by_hand": True}),
    "change_product": ("/products/other", {"keep_images": 5}),
    "product_keys": ("/products/other/keys", None),
    "add_product_key": ("/products/other/keys", {"public_key": PUBLIC_KEY}),
    "delete_product": ("/products/other", None),
    "publish": ("/products/thermo/releases?version=3.0.0&percentage=10&stop=5%25%20after%2020", esp_image(b"3", 3000)),
    "dry_run": ("/products/thermo/dry-run?version=4.0.0", esp_image(b"4", 3000)),
    "releases": ("/releases", None),
    "release": ("/releases/thermo@2.0.0", None),
    "release_failures": ("/releases/thermo@2.0.0/failures", None),
    "change_release": ("/releases/thermo@2.0.0", {"enabled": False, "limit": "7"}),
    "move_release": ("/releases/thermo@2.0.0/move", {"move": "pause"}),
    "archive_release": ("/releases/thermo@3.0.0/archive", None),
    "delete_release": ("/releases/thermo@3.0.0", None),
    "retry_release": ("/releases/thermo@2.0.0/retry", {}),
    "retry_devices": ("/devices/retry?release=thermo@2.0.0", {}),
    "change_devices": ("/devices/change?product=thermo", {"action": "pin", "pin": "2.0.0"}),
    "devices": ("/devices?product=thermo", None),
    "new_device": ("/devices", {"id": "D2", "product": "thermo"}),
    "device": ("/devices/D1", None),
    "change_device": ("/devices/D1", {"tokens": "rotate", "pin": "2.0.0"}),
    "remove_device": ("/devices/D1", None),
    "list_groups": ("/groups", None),
    "keep_group": ("/groups/beta", {"policy": "device.beta == true"}),
    "remove_group": ("/groups/beta", None),
    "audited": ("/audit?limit=5", None),
    "tokens": ("/tokens", None),
    "new_token": ("/tokens", {"name": "ci", "scope": "publish"}),
    "webhooks": ("/webhooks", None),
    "new_webhook": ("/webhooks", {"url": "https://hooks.test/a", "events": "release.published"}),
    "remove_webhook": ("/webhooks/HOOK", None),
    "test_webhook": ("/webhooks/HOOK/test", None),
    "revoke_token": ("/tokens/spare", None),
    "new_link_key": ("/link-key", {"revoke": False}),
}


def send(cloud, operation, token):
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
    given = {scope: admin(cloud, scope, scope) for scope in operator_tokens.SCOPES}
    spare = admin(cloud, "admin", "spare")
    ended = admin(cloud, "admin", "ended")
    operator_tokens.revoke(cloud.site, "ended")
    expired = operator_tokens.new(cloud.site, "expired", "admin", 60)["token"]
    cloud.now_s += 60
    assert set(GOOD) == {operation.run.__name__ for operation in OPERATIONS}
    for operation in OPERATIONS:
        name = operation.run.__name__
        before = cloud.site.database.read(audit.newest)
        for token in (
            None,
            "",
            device,
            PRODUCT,
            ended,
            expired,
            given["admin"][:-1],
            given["admin"] + "x",
            given["admin"].swapcase(),
        ):
            reply = send(cloud, operation, token)
            assert reply.status == 401 and reply.json()["error"] and not any(text in reply.body for text in SPECIAL), (
                name,
                reply.body,
            )
        for scope, token in given.items():
            if operator_tokens.SCOPES.index(scope) < operator_tokens.SCOPES.index(operation.scope):
                reply = send(cloud, operation, token)
                assert (
                    reply.status == 403 and scope in reply.json()["error"] and operation.scope in reply.json()["error"]
                ), (name, scope)
        assert cloud.site.database.read(audit.newest) == before, name
        reply = send(cloud, operation, given[operation.scope])
        assert reply.status == 200 and reply.json() is not None, (name, reply.body)
        if operation.method != "GET" and name != "dry_run":
            assert cloud.site.database.read(audit.newest, 1)[0]["who"] == "operator " + operation.scope, name
    assert spare and ask(cloud, "GET", "/products", spare).status == 401  # revoked by revoke_token


def test_results_are_those_of_the_command_line(cloud):
    token = admin(cloud, "publish")
    cloud.publish("2.0.0")
    cloud.check_in("a/b c", cloud.device("a/b c"), "1.0.0")
    for path, found in (
        ("/products", overview.products(cloud.site)),
        ("/releases", overview.updates(cloud.site)),
        ("/devices", overview.devices(cloud.site)),
        ("/releases?product=" + PRODUCT, overview.updates(cloud.site)),
        ("/audit", cloud.site.database.read(audit.newest)),
        ("/devices/a/b c", overview.device(cloud.site, "a/b c")),
    ):
        assert ask(cloud, "GET", path, token).json() == json.loads(json.dumps(found)), path
    assert ask(cloud, "GET", "/openapi.json", None).json()["openapi"].startswith("3.1")


def test_names_in_a_path_may_contain_slashes(cloud):
    token = admin(cloud, "publish")
    new_product(cloud.site, "a/versions", "SLASH/ID")
    release = cloud.publish("2.0.0", product="a/versions")["id"]
    groups.set_policy(cloud.site, "east/west", "region == 'e'")
    for name in ("a/versions", "SLASH/ID"):
        assert ask(cloud, "GET", "/products/%s/versions" % name, token).json()["name"] == "a/versions"
        assert ask(cloud, "GET", "/releases/%s@2.0.0" % name, token).json()["update"] == release
        assert ask(cloud, "GET", "/releases/%s@2.0.0/failures" % name, token).json() == []
    assert ask(cloud, "POST", "/releases/a/versions@2.0.0/move", token, {"move": "pause"}).json()["state"] == "paused"
    assert ask(cloud, "DELETE", "/groups/east/west", token).status == 200 and groups.listed(cloud.site) == []


def test_published_release_is_offered(cloud):
    token = admin(cloud, "publish", "ci")
    image = esp_image(b"new", 100_000)
    made = ask(cloud, "POST", "/products/thermo/releases?version=2.0.0&description=quieter", token, raw=image).json()
    assert (
        made["new"] is True
        and made["product"] == "thermo"
        and made["description"] == "quieter"
        and made["size"] == len(image)
    )
    assert ask(cloud, "POST", "/products/thermo/releases?version=2.0.0", token, raw=image).json()["new"] is False
    assert cloud.check_in("D1", cloud.device(), "1.0.0").json()["update"] == made["update"]
    assert call(cloud.app, "GET", cloud.link(made["update"])).body == image
    ask(cloud, "PATCH", "/releases/" + made["update"], token, {"enabled": False})
    assert ask(cloud, "GET", "/releases/" + made["update"], token).json()["enabled"] is False


BAD = (
    ("POST", "/products", b"{", 400),
    ("POST", "/products", b"[]", 400),
    ("POST", "/products", b"{}", 400),
    ("POST", "/products", b'{"name": 5}', 400),
    ("POST", "/products", b'{"name": "a", "more": 1}', 400),
    ("POST", "/products", b'{"name": "thermo"}', 409),
    ("POST", "/products", b'{"name": "a b"}', 400),
    ("POST", "/products", b'{"name": "' + b"x" * 70000 + b'"}', 413),
    ("GET", "/devices?nothing=1", b"", 400),
    ("GET", "/devices?product=nobody", b"", 404),
    ("GET", "/devices/nobody", b"", 404),
    ("PATCH", "/devices/nobody", b'{"tokens": "revoke"}', 404),
    ("PATCH", "/devices/x", b'{"tokens": "burn"}', 400),
    ("DELETE", "/devices/nobody", b"", 404),
    ("GET", "/releases/nobody", b"", 404),
    ("PATCH", "/releases/thermo@1.0.0", b'{"enabled": true}', 404),
    ("PATCH", "/releases/x", b'{"enabled": 1}', 400),
    ("GET", "/audit?limit=0", b"", 400),
    ("GET", "/releases?archived=1", b"", 400),
    ("POST", "/releases/nobody/archive", b"", 404),
    ("PATCH", "/products/thermo", b'{"keep_images": -1}', 400),
    ("PATCH", "/products/thermo", b'{"keep_images": 1001}', 400),
    ("PATCH", "/products/thermo", b'{"keep_images": "5"}', 400),
    ("PATCH", "/products/thermo", b"{}", 400),
    ("PATCH", "/products/nobody", b'{"keep_images": 5}', 404),
    ("GET", "/audit?limit=1001", b"", 400),
    ("GET", "/audit?limit=x", b"", 400),
    ("GET", "/audit?limit=" + "9" * 400, b"", 400),
    ("DELETE", "/tokens/nobody", b"", 404),
    ("POST", "/tokens", b'{"name": "a/b", "scope": "read"}', 400),
    ("POST", "/tokens", b'{"name": "a", "scope": "root"}', 400),
    ("POST", "/products/thermo/releases?version=1.0.0", b"", 400),
    ("POST", "/products/thermo/releases?version=1.0.0", b"no image", 400),
    ("POST", "/products/thermo/releases", b"x", 400),
    ("POST", "/products/nobody/releases?version=1.0.0", b"x", 404),
    ("POST", "/products/thermo/releases?version=one", b"x", 400),
    ("POST", "/releases/thermo@2.0.0/move", b'{"move": "burn"}', 400),
    ("POST", "/releases/thermo@2.0.0/move", b'{"move": "resume"}', 409),
    ("PATCH", "/releases/thermo@2.0.0", b'{"policy": "1 +"}', 400),
    ("PATCH", "/releases/thermo@2.0.0", b'{"percentage": "101"}', 400),
    ("POST", "/products/thermo/releases?version=2.0.0", esp_image(b"other"), 409),
    ("PUT", "/groups/a", b'{"policy": "("}', 400),
    ("DELETE", "/groups/nobody", b"", 404),
    ("POST", "/products/thermo/releases?version=3.0.0&group=nobody", esp_image(b"3"), 404),
    ("PATCH", "/devices/nobody", b'{"pin": "1.0.0"}', 404),
    ("GET", "/nothing", b"", 404),
    ("PUT", "/products", b"", 405),
)


def test_bad_requests_name_the_error_and_change_nothing(cloud):
    token = admin(cloud)
    cloud.publish("2.0.0")
    before = [overview.products(cloud.site), overview.updates(cloud.site), cloud.site.database.read(audit.newest)]
    for method, path, body, status in BAD:
        reply = ask(cloud, method, path, token, raw=body)
        assert reply.status == status and reply.json()["error"], (method, path, body[:40], reply.status, reply.body)
    assert before == [
        overview.products(cloud.site),
        overview.updates(cloud.site),
        cloud.site.database.read(audit.newest),
    ]


def test_rollout_by_the_api_alone(cloud):
    """A dry run, then publish, pause, change, resume and pin: each takes effect at the devices' next check-in."""
    token = admin(cloud, "admin", "boss")
    devices = {id: cloud.device(id) for id in ("D1", "D2", "D3")}

    def offered():
        cloud.now_s += 60
        replies = {id: cloud.check_in(id, device, "1.0.0", beta=id != "D3").json() for id, device in devices.items()}
        return {id for id, reply in replies.items() if "url" in reply}

    assert offered() == set()
    image = esp_image(b"new", 5000)
    ask(cloud, "PUT", "/groups/beta", token, {"policy": "device.beta == true"})
    dry = ask(
        cloud, "POST", "/products/thermo/dry-run?version=2.0.0&group=beta&limit=1&age=none", token, raw=image
    ).json()
    assert (
        dry["devices"] == 3
        and dry["found"]["offered"] == {"count": 1, "examples": ["D1"]}
        and overview.updates(cloud.site) == []
    )
    made = ask(
        cloud,
        "POST",
        "/products/thermo/releases?version=2.0.0&group=beta&limit=1&age=none&by_hand=true",
        token,
        raw=image,
    ).json()
    assert made["state"] == "awaiting" and made["terms"]["limit"] == 1 and offered() == set()
    where = "/releases/" + made["update"]
    assert ask(cloud, "POST", where + "/move", token, {"move": "approve"}).json()[
        "state"
    ] == "active" and offered() == {"D1"}
    assert (
        ask(cloud, "POST", where + "/move", token, {"move": "pause"}).json()["state"] == "paused" and offered() == set()
    )
    assert ask(cloud, "PATCH", where, token, {"limit": "none"}).json()["terms"]["limit"] is None and offered() == set()
    assert ask(cloud, "POST", where + "/move", token, {"move": "resume"}).json()["state"] == "active" and offered() == {
        "D1",
        "D2",
    }
    assert ask(cloud, "PATCH", "/devices/D2", token, {"pin": "1.0.0"}).json()["pin"] == "1.0.0" and offered() == {"D1"}
    assert ask(cloud, "PATCH", "/devices/D2", token, {"pin": ""}).json()["pin"] is None and offered() == {"D1", "D2"}
    assert (
        ask(cloud, "POST", where + "/move", token, {"move": "cancel"}).json()["state"] == "cancelled"
        and offered() == set()
    )
    actions = [row["action"] for row in ask(cloud, "GET", "/audit?subject=" + made["update"], token).json()]
    assert actions == [
        "release." + action for action in ("cancelled", "resumed", "set", "paused", "approved", "published")
    ]


def test_devices_are_listed_in_pages(cloud):
    token = admin(cloud, "read")
    ids = ["D%03d" % n for n in range(23)]
    for id in ids:
        cloud.device(id)
    for limit in (1, 7, 22, 23, 24):
        seen, after = [], ""
        while page := ask(cloud, "GET", "/devices?limit=%d&after=%s" % (limit, after), token).json():
            assert len(page) <= limit
            seen += [each["id"] for each in page]
            after = seen[-1]
        assert seen == ids, limit


def test_endless_upload_is_read_only_to_its_limit(cloud, monkeypatch):
    from ioto_tools.cloud.api import routes

    monkeypatch.setattr(routes, "IMAGE_BYTES", 100_000)
    read = []

    def endless():
        for n in range(1000):
            read.append(n)
            yield b"x" * 1000

    headers = {"Authorization": "bearer " + admin(cloud)}
    reply = call(cloud.app, "POST", API + "/products/thermo/releases?version=1.0.0", headers, pieces=endless())
    assert reply.status == 413 and len(read) == 101 and overview.updates(cloud.site) == []


def test_tokens_are_shown_once_and_not_stored(cloud):
    token = admin(cloud)
    made = ask(cloud, "POST", "/tokens", token, {"name": "ci", "scope": "read", "lifetime_s": 3600}).json()
    assert made["token"].startswith(operator_tokens.PREFIX) and made["expires_s"] == cloud.now_s + 3600
    assert all("token" not in row and "hash" not in row for row in ask(cloud, "GET", "/tokens", token).json())
    kept = cloud.kind.kept(cloud.site)
    assert made["token"].encode() not in kept and b"ci" in kept
    with pytest.raises(CloudError, match="this name is in use"):
        operator_tokens.new(cloud.site, "ci", "read")


@pytest.mark.parametrize("call_", ("releases?version=3.0.0&any_file=true", "dry-run?version=3.0.0&any_file=true"))
def test_form_around_a_file_is_refused(cloud, call_):
    """A form, as sent by `curl -F image=@FILE`, is recognized by its content type, and the proposed remedy works.

    Its content alone cannot show that it is a form: a file for Linux devices may have any content.
    """
    form = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n#!/bin/sh\r\n--x--\r\n'
    headers = {"Authorization": "bearer " + admin(cloud), "Content-Type": "multipart/form-data; boundary=x"}
    reply = call(cloud.app, "POST", API + "/products/thermo/" + call_, headers, form)
    assert (
        reply.status == 415
        and "send only the image, for example with `curl --data-binary @FILE`" in reply.json()["error"]
    )
    headers["Content-Type"] = "application/x-www-form-urlencoded"  # curl's default
    assert overview.updates(cloud.site) == []
    assert call(cloud.app, "POST", API + "/products/thermo/" + call_, headers, b"#!/bin/sh").status == 200


def test_number_instead_of_text_is_refused_with_the_text(cloud):
    cloud.publish("2.0.0")
    token = admin(cloud)
    for number in (5, 0.5):
        error = ask(cloud, "PATCH", "/releases/thermo@2.0.0", token, {"percentage": number}).json()["error"]
        assert error == 'percentage: expected: string, such as "%s"' % number
        assert ask(cloud, "PATCH", "/releases/thermo@2.0.0", token, {"percentage": error.split('"')[1]}).status == 200

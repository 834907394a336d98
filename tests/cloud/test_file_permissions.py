"""Scope `read` does not show product ids and webhook addresses; access rights of a site's files."""

import json
import os

import pytest
from cloud_under_test import PRODUCT, call
from ioto_tools.cloud.api.operations import OPERATIONS
from ioto_tools.cloud.operators import hidden_fields, operator_tokens, webhooks
from ioto_tools.cloud.site.site import Site, exposed
from web_session import Session

HOOK = "https://hooks.test/services/T0123456"


def filled(cloud):
    """Store the product's id and a webhook's address in every place that allows it; return (webhook, update's id)."""
    hook = webhooks.new(cloud.site, HOOK)
    webhooks.remove(cloud.site, webhooks.new(cloud.site, HOOK)["id"])
    cloud.check_in("D1", cloud.device("D1"), "1.0.0")
    release = cloud.publish("2.0.0", policy="device.product == '%s' && version < newVersion" % PRODUCT)
    cloud.check_in("D1", cloud.device("D1"), "1.0.0")
    return hook, release["id"]


def test_the_api_hides_secrets_from_scope_read(cloud):
    _, release = filled(cloud)
    token = operator_tokens.new(cloud.site, "reader", "read")["token"]
    admin = operator_tokens.new(cloud.site, "boss", "admin")["token"]
    seen = {}
    for operation in OPERATIONS:
        if operation.method == "GET" and operation.scope == "read":
            path = "/api/v1" + operation.path.format(release=release, device="D1", product="thermo")
            reply = call(cloud.app, "GET", path, {"Authorization": "Bearer " + token})
            assert reply.status == 200, path
            assert PRODUCT.encode() not in reply.body and b"hooks.test" not in reply.body, (path, reply.body)
            seen[operation.path] = reply.json()
            assert b"hooks.test" not in call(cloud.app, "GET", path, {"Authorization": "Bearer " + admin}).body
    assert seen["/products"][0]["id"] == "thermo" and seen["/devices/{device}"]["properties"]["product"] == "thermo"
    found = call(cloud.app, "GET", "/api/v1/products", {"Authorization": "Bearer " + admin})
    assert found.json()[0]["id"] == PRODUCT
    for word in (PRODUCT, "thermo"):  # the name can be used instead of the id
        reply = call(cloud.app, "GET", "/api/v1/releases?product=" + word, {"Authorization": "Bearer " + token})
        assert [each["update"] for each in reply.json()] == [release]


def test_the_page_hides_secrets_from_scope_read(cloud):
    _, release = filled(cloud)
    reader = Session(cloud, "reader", "read")
    for page in (
        "",
        "product?id=thermo",
        "release?id=" + release,
        "devices",
        "devices?product=thermo",
        "device?id=D1",
        "audit",
    ):
        body = reader.get(page).body
        assert PRODUCT.encode() not in body and b"hooks.test" not in body, page
    for condition in ("policy=device.product+%3D%3D+'{}'", "property=product={}"):  # can't be used to guess the id
        assert b"device?id=D1" not in reader.get("devices?" + condition.format(PRODUCT)).body
        assert b"device?id=D1" in reader.get("devices?" + condition.format("thermo")).body
    # The id begins with `P`, the name with `t`.
    assert b"device?id=D1" in reader.get("devices?property=product%3Et").body
    assert b"device?id=D1" not in reader.get("devices?property=product%3Ct").body
    assert PRODUCT.encode() in Session(cloud, "boss", "admin").get("product?id=thermo").body


def test_ids_are_hidden_inside_texts_short_ones_only_as_whole_values():
    names = {"LONGENOUGH": "one", "P7": "two"}
    value = {"P7": ["P7", "P77", "x == 'LONGENOUGH'"], "n": 7, "none": None, "deep": ({"id": "LONGENOUGH"},)}
    assert hidden_fields.hide(value, names) == {
        "two": ["two", "P77", "x == 'one'"],
        "n": 7,
        "none": None,
        "deep": ({"id": "one"},),
    }
    assert hidden_fields.hide(value, {}) is value


def test_files_of_a_site_are_accessible_to_their_owner_only(tmp_path):
    before = os.umask(0o022)
    try:
        site = Site(tmp_path / "site", make=True)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [tmp_path / "site", *(tmp_path / "site").iterdir()]}
    assert modes == {"site": 0o700, "cloud.db": 0o600, "cloud.db-wal": 0o600, "cloud.db-shm": 0o600}
    assert exposed(tmp_path / "site") == [] == exposed(tmp_path / "nothing")
    site.close()
    (tmp_path / "site").chmod(0o711)
    (tmp_path / "site" / "site.toml").write_text("")
    (tmp_path / "site" / "site.toml").chmod(0o640)
    (tmp_path / "site" / "cloud.db").chmod(0o644)
    assert [each.partition(" is")[0] for each in exposed(tmp_path / "site")] == [
        str(tmp_path / "site" / name) for name in ("cloud.db", "site.toml")
    ]
    (tmp_path / "site").chmod(0o755)
    assert "chmod 700" in exposed(tmp_path / "site")[0]


@pytest.mark.sweep
def test_a_server_warns_about_files_that_other_users_can_read(tmp_path, ioto):
    ioto("product", "new", "thermo", "--data", "site")
    (tmp_path / "site" / "cloud.db").chmod(0o644)
    done = ioto("cloud", "serve", "--data", "site", "--host", "nowhere.invalid", ok=False)
    assert "Warning: site/cloud.db is accessible to other users of this machine: chmod 600" in done.stderr, done.stderr
    backup = tmp_path / "backup"
    ioto("cloud", "backup", "backup", "--data", "site")
    assert (
        backup.stat().st_mode & 0o777 == 0o700
        and json.loads((backup / "copy.json").read_text())["whole"]
        and exposed(backup) == []
    )

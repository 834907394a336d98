"""The pages that delete and archive releases, set what a product keeps, and manage groups and webhooks."""

import hashlib
import hmac
import json
import re

import pytest
from cloud_under_test import PRODUCT
from ioto_tools.cloud.operators import control, groups, overview, webhooks
from ioto_tools.cloud.storage import audit
from web_session import REFUSED, Session, problem, text


@pytest.fixture
def operator(cloud):
    return Session(cloud)


def actions(reply):
    return set(re.findall(r'name="action" value="(\w+)"', reply.body.decode()))


# ---- releases and products


def test_release_is_deleted_or_archived_as_its_use_allows(cloud, operator):
    release = cloud.publish("2.0.0")["id"]
    page = "retire?id=" + release
    assert 'href="%s"' % page in operator.get("release?id=" + release).body.decode()
    shown = operator.get(page)
    assert actions(shown) == {"archive", "delete"} and "No device uses the release." in text(shown)
    cloud.check_in("D1", cloud.device(), "1.0.0")
    shown = operator.get(page)
    assert actions(shown) == {"archive"}
    assert "can't be deleted: 1 device was offered it and has not finished." in text(shown)
    reply = operator.post("retire", {"id": release, "action": "delete"}, hx_request="true")
    assert reply.status in REFUSED and "is in use: 1 device was offered it" in problem(reply)
    assert operator.post("retire", {"id": release, "action": "burn"}).status in REFUSED
    reply = operator.post("retire", {"id": release, "action": "archive"})
    assert (reply.status, reply.headers["location"]) == (303, "release?id=" + release)
    assert "archived" in text(operator.get("release?id=" + release)) and actions(operator.get(page)) == set()
    assert release not in operator.get("product?id=thermo").body.decode()
    assert release in operator.get("product?id=thermo&archived=1").body.decode()
    control.remove(cloud.site, "D1")
    reply = operator.post("retire", {"id": release, "action": "delete"})
    assert (reply.status, reply.headers["location"]) == (303, "product?id=thermo")
    assert overview.updates(cloud.site, archived=True) == [] and operator.get(page).status == 404
    done = [row["action"] for row in cloud.site.database.read(audit.newest) if row["who"] == "operator jo"]
    assert done == ["release.deleted", "release.archived"]


def test_settings_of_a_product(cloud, operator):
    page = "product-settings?id=" + PRODUCT
    assert 'href="%s"' % page in operator.get("product?id=thermo").body.decode()
    cloud.publish("1.0.0")
    shown = operator.get(page)
    assert "can't be deleted: product thermo has 1 release:" in text(shown) and actions(shown) == set()
    assert operator.post("product-settings", {"id": PRODUCT, "keep_images": "5"}).status == 303
    assert overview.products(cloud.site)[0]["keep_images"] == 5 and 'value="5"' in operator.get(page).body.decode()
    for wrong in ("0", "-1", "1001", "x", "", "9" * 5000, "²"):
        reply = operator.post("product-settings", {"id": PRODUCT, "keep_images": wrong}, hx_request="true")
        assert reply.status in REFUSED and "expected: a number from 1 to 1000, or all" in problem(reply), wrong
    assert overview.products(cloud.site)[0]["keep_images"] == 5
    assert operator.post("product-settings", {"id": PRODUCT, "keep_images": "all"}).status == 303
    assert overview.products(cloud.site)[0]["keep_images"] is None
    reply = operator.post("product-settings", {"id": PRODUCT, "action": "delete"}, hx_request="true")
    assert reply.status in REFUSED and "1 release" in problem(reply)
    operator.post("retire", {"id": "thermo@1.0.0", "action": "delete"})
    assert actions(operator.get(page)) == {"delete"}
    assert operator.post("product-settings", {"id": PRODUCT, "action": "delete"}).status == 303
    assert overview.products(cloud.site) == []


def test_links_to_administration_depend_on_the_scope(cloud, operator):
    release = cloud.publish("1.0.0")["id"]
    links = {"release?id=" + release: "retire?", "product?id=thermo": "product-settings?", "": 'href="webhooks"'}
    for scope in ("read", "publish", "admin"):
        who = Session(cloud, scope, scope)
        for page, link in links.items():
            assert (link in who.get(page).body.decode()) == (scope == "admin"), (scope, page)


# ---- groups


def test_groups(cloud, operator):
    assert "There are no groups." in text(operator.get("groups"))
    for n in range(3):
        cloud.check_in("D%d" % n, cloud.device("D%d" % n), "1.0.0", beta=n > 0)
    assert operator.post("groups", {"name": " beta ", "policy": "device.beta == true"}).status == 303
    assert groups.listed(cloud.site) == [{"name": "beta", "policy": "device.beta == true"}]
    body = operator.get("groups").body.decode()
    assert "device.beta == true" in body and 'hx-get="group-devices?name=beta"' in body
    assert text(operator.get("group-devices?name=beta")) == "2"
    assert "Change the group beta" in text(operator.get("groups?name=beta"))
    operator.post("groups", {"name": "beta", "policy": "device.beta == false"})
    assert text(operator.get("group-devices?name=beta")) == "1" and len(groups.listed(cloud.site)) == 1
    for name, policy in (("", "true"), ("x" * 65, "true"), ("a\tb", "true"), ("g", "a ==")):
        reply = operator.post("groups", {"name": name, "policy": policy}, hx_request="true")
        assert reply.status in REFUSED and problem(reply), (name, policy)
    reader = Session(cloud, "reader", "read")
    body = reader.get("groups").body.decode()
    assert "device.beta" in body and "Delete" not in body and "<textarea" not in body
    assert operator.post("groups", {"remove": "nix"}).status == 404
    assert operator.post("groups", {"remove": "beta"}).status == 303 and groups.listed(cloud.site) == []


def test_only_some_devices_are_examined_for_a_group(cloud, operator, monkeypatch):
    monkeypatch.setattr(groups, "MOST_EXAMINED", 2)
    for n in range(3):
        cloud.check_in("D%d" % n, cloud.device("D%d" % n), "1.0.0")
    operator.post("groups", {"name": "all", "policy": "true"})
    assert text(operator.get("group-devices?name=all")) == "2 of the first 2 devices"


# ---- webhooks


def test_webhooks(cloud, operator, listener):
    assert "There are no webhooks." in text(operator.get("webhooks"))
    page = operator.post("webhooks", {"url": listener.url, "events": "release.stopped  release.published"})
    [made] = webhooks.listed(cloud.site)
    secret = cloud.site.database.read(webhooks.find, made["id"])["secret"]
    assert page.status == 200 and secret in page.body.decode() and made["wanted"] == [
        "release.stopped", "release.published"
    ]  # fmt: skip
    assert secret not in operator.get("webhooks").body.decode()
    reply = operator.post("webhooks", {"test": made["id"]})
    assert "Test of webhook %s: the event was accepted." % made["id"] in text(reply)
    [(headers, body)] = listener.received
    seconds, signature = re.fullmatch(r"t=(\d+),v1=(\w+)", headers["Ioto-Signature"]).groups()
    assert hmac.digest(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hex() == signature
    assert json.loads(body)["action"] == "webhook.test" and json.loads(body)["who"] == "operator jo"
    listener.answers[:] = [500]
    assert "Test of webhook %s: status 500." % made["id"] in text(operator.post("webhooks", {"test": made["id"]}))
    for url, events in (("ftp://x/", ""), ("", ""), (listener.url, "release.burnt"), ("https://u:p@x/", "")):
        reply = operator.post("webhooks", {"url": url, "events": events}, hx_request="true")
        assert reply.status in REFUSED and problem(reply), url
    assert operator.post("webhooks", {"remove": "nix"}).status == operator.post("webhooks", {"test": "x"}).status == 404
    operator.post("webhooks", {"remove": made["id"]})
    assert webhooks.listed(cloud.site) == []


def test_errors_of_deliveries_are_shown(cloud, operator):
    made = webhooks.new(cloud.site, "http://127.0.0.1:9/")
    row = {"webhook": made["id"], "id": 1, "at_s": cloud.now_s, "tries": 0}
    cloud.site.database.write(webhooks.record_outcome, row, "<b>status 500", cloud.now_s)
    body = operator.get("webhooks").body.decode()
    assert "&lt;b&gt;status 500" in body and "<b>" not in body

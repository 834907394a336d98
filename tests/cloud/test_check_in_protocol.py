"""Registration, tokens, and the data stored about a device."""

import pytest
from cloud_under_test import PRODUCT, Cloud, call
from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, overview

FORGET = b"Authentication failed"
GONE = b"Cannot find device"


def test_registration_gives_api_and_token(cloud):
    reply = cloud.register("D1", model="x1")
    found = reply.json()
    assert reply.status == 200 and found["registered"] is True and found["api"] == "https://updates.test"
    assert len(found) >= 2 and len(found["token"]) == 40
    assert cloud.check_in("D1", found["token"], "1.0.0").json() == {}
    assert overview.device(cloud.site, "D1")["properties"] == {"id": "D1", "product": PRODUCT, "version": "1.0.0"}


def test_tokens_are_not_stored_in_clear_text(cloud):
    token = cloud.device()
    cloud.check_in("D1", token, "1.0.0")
    kept = cloud.kind.kept(cloud.site)
    assert token.encode() not in kept and b"D1" in kept


def test_a_token_is_valid_for_one_device_only(cloud):
    one, two = cloud.device("D1"), cloud.device("D2")
    update = cloud.publish("2.0.0")["id"]
    for id, token in (
        ("D1", two),
        ("D2", one),
        ("D3", one),
        ("D1", one[:-1]),
        ("D1", one + "x"),
        ("D1", one.swapcase()),
    ):
        for reply in (cloud.check_in(id, token, "1.0.0"), cloud.report(id, token, update)):
            assert reply.status == 401 and reply.body == FORGET, id
            assert reply.headers["content-type"].startswith("text/plain")
    assert all(device["checkins"] == 0 and device["update"] is None for device in overview.devices(cloud.site))


def test_a_removed_device_is_refused_and_can_register_again(cloud):
    token = cloud.device()
    update = cloud.publish("2.0.0")["id"]
    cloud.check_in("D1", token, "1.0.0")
    cloud.report("D1", token, update, state="confirmed")
    control.remove(cloud.site, "D1")
    for reply in (cloud.check_in("D1", token, "1.0.0"), cloud.report("D1", token, update)):
        assert reply.status == 404 and reply.body == GONE
    assert overview.devices(cloud.site) == [] and overview.device(cloud.site, "D1")["removed"]
    again = cloud.device()
    assert cloud.check_in("D1", again, "2.0.0").status == 200
    assert cloud.check_in("D1", token, "2.0.0").body == FORGET
    assert overview.device(cloud.site, "D1")["updates"][0]["state"] == "confirmed"


def test_changes_of_a_removed_device_are_refused(cloud):
    """The device's next registration would reset the changes, so each is refused instead of appearing to succeed."""
    cloud.check_in("D1", cloud.device(), "1.0.0")
    control.remove(cloud.site, "D1")
    changes = {
        "pin": lambda: control.pin(cloud.site, "D1", "2.0.0"), "claim": lambda: control.claim(cloud.site, "D1"),
        "release": lambda: control.unclaim(cloud.site, "D1"),
        "revoke": lambda: control.revoke(cloud.site, "D1"), "rotate": lambda: control.rotate(cloud.site, ["D1"]),
        "remove": lambda: control.remove(cloud.site, "D1"),
    }  # fmt: skip
    for name, change in changes.items():
        with pytest.raises(
            CloudError,
            match="device D1 is removed: change it after it has registered again, or after `ioto device new`",
        ):
            change()
    assert cloud.check_in("D1", cloud.device(), "1.0.0").status == 200
    for name in ("pin", "claim", "rotate", "release", "remove"):
        changes[name]()
    registration.register_by_hand(cloud.site, PRODUCT, "D1")  # the second remedy in the message
    changes["pin"]()


def test_ids_may_contain_any_printable_characters(cloud):
    ids = (
        "aa:bb:cc:dd:ee:ff",
        "küche 3",
        "'; DROP TABLE devices; --",
        "[red]x[/red]",
        "%s%n",
        "..",
        "/etc/passwd",
        "日本",
        "\\",
        '"',
        "x" * 128,
    )
    for id in ids:
        assert cloud.check_in(id, cloud.device(id), "1.0.0").status == 200, id
    assert {device["id"] for device in overview.devices(cloud.site)} == set(ids)


def test_an_invalid_version_is_stored_and_answered_with_a_warning(cloud):
    token = cloud.device()
    cloud.publish("2.0.0")
    for version in ("1.0", "latest", "v1.0.0", "1.0.0.0"):
        reply = cloud.check_in("D1", token, version)
        assert reply.status == 200 and "url" not in reply.json() and version in reply.json()["warning"]
        assert overview.device(cloud.site, "D1")["version"] == version


@pytest.mark.own_links
def test_exact_bytes_of_an_offer(cloud):
    """Other clients search for `"key":` without a space, and for these four fields; this project adds `size`."""
    release = cloud.publish("1.2.0-rc.1+b7")
    reply = cloud.check_in("D1", cloud.device(), "1.1.0")
    fields = '"url":"https://updates.test%s","checksum":"%s","update":"%s","version":"1.2.0-rc.1+b7","size":%d'
    wanted = fields % (cloud.link(release["id"]), release["checksum"], release["id"], release["size"])
    assert reply.body.decode() == "{%s}" % wanted
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.own_links
def test_urls_with_and_without_a_public_url(tmp_path, kind):
    for given, wanted in (
        (None, "http://cloud.test:8080"),
        ("https://a.test/", "https://a.test"),
        ("https://a.test/ota", "https://a.test/ota"),
    ):
        cloud = Cloud(tmp_path / str(wanted.count("/")) / wanted[-3:], kind, public_url=given)
        release = cloud.publish("2.0.0")
        reply = cloud.register("D1").json()
        assert reply["api"] == wanted
        offer = cloud.check_in("D1", reply["token"], "1.0.0").json()
        assert offer["url"] == wanted + cloud.link(release["id"])
        cloud.close()
    for bad in (
        "updates.test",
        "ftp://x",
        "https://x?y=1",
        "https://x#y",
        "https://[::1",
        "https://updates.test:port",
        "https://updates test",
    ):
        with pytest.raises(CloudError, match="expected: http:// or https://, a host"):
            Cloud(tmp_path / "bad", public_url=bad)


@pytest.mark.own_links
def test_responses_depend_only_on_clock_and_random_bytes(tmp_path, kind):
    def story(folder):
        cloud = Cloud(folder, kind)
        cloud.publish("2.0.0")
        token = cloud.device()
        replies = [cloud.register("D2"), cloud.check_in("D1", token, "1.0.0"), cloud.check_in("D1", "x", "1.0.0")]
        cloud.close()
        return token, [(r.status, r.headers, r.body) for r in replies]

    assert story(tmp_path / "a") == story(tmp_path / "b")


def test_an_unavailable_database_gives_503_and_no_device_deletes_its_token(cloud):
    token = cloud.device()
    update = cloud.publish("2.0.0")["id"]
    with cloud.kind.away(cloud.site):
        for reply in (cloud.check_in("D1", token, "1.0.0"), cloud.report("D1", token, update), cloud.register("D2")):
            assert reply.status == 503 and reply.headers["retry-after"] == "30", reply.body
            assert FORGET not in reply.body and GONE not in reply.body
    assert cloud.check_in("D1", token, "1.0.0").status == 200
    assert overview.devices(cloud.site)[0]["checkins"] == 1


def test_a_client_that_disconnects_during_its_body_changes_nothing(cloud):
    reply = call(cloud.app, "POST", "/device/register", {"Authorization": PRODUCT}, pieces=[b'{"id": "D1"', None])
    assert reply.status == 400 and overview.devices(cloud.site) == []

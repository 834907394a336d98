"""Warnings about valid but probably mistaken terms: in the command line, the API and the page."""

import json
from urllib.parse import quote

import pytest
from cloud_under_test import PRODUCT, call, esp_image
from device_actions import ask, send_report
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.releases import term_warnings
from web_session import Session, text

NEWER = "version < newVersion && "


def test_warning_about_a_property_that_no_device_has_sent(cloud):
    assert term_warnings.of_policy(cloud.site, "thermo", NEWER + "anything == 1") == []  # no device has checked in
    ask(cloud, "D1", region="north", tags={"beta": 1}, memory=128)
    ask(cloud, "D2", rack=7)
    cloud.device("NEVER")
    for good in (
        "region == 'x'",
        "rack == 1 || memory > 2",
        "device.tags.beta == 1",
        "major < 2",
        "device['region'] == 'y'",
        "id == 'D1'",
        "update.size > 3",
    ):
        assert term_warnings.of_policy(cloud.site, "thermo", NEWER + good) == [], good
    for wrong, said in (
        ("regoin == 'x'", ["regoin: is region meant?"]),
        ("device.zone == 'x'", ["zone"]),
        ("mem == 1 && raack == 2", ["mem: is memory meant?", "raack: is rack meant?"]),
    ):
        found = term_warnings.of_policy(cloud.site, PRODUCT, NEWER + wrong)
        assert [each.partition("the property ")[2] for each in found] == said, found
    control.remove(cloud.site, "D2")
    assert len(term_warnings.of_policy(cloud.site, "thermo", NEWER + "rack == 1")) == 1


def test_an_end_in_the_past_is_refused_and_percentage_0_gives_a_warning(cloud):
    update = cloud.publish("2.0.0", end="2027-01-15T08:00:01Z")
    for end in ("2027-01-15T08:00:00Z", "2020-01-01"):
        with pytest.raises(CloudError, match="end %s.*in the past" % end):
            cloud.publish("2.1.0", end=end)
        with pytest.raises(CloudError, match="in the past"):
            control.set_terms(cloud.site, "thermo@2.0.0", {"end": end})
    cloud.now_s += 5
    control.set_terms(cloud.site, "thermo@2.0.0", {"limit": "5"})  # allowed although its schedule has ended
    assert overview.update(cloud.site, update["id"])["status"] == "ended"
    control.set_terms(cloud.site, "thermo@2.0.0", {"percentage": "0"})
    assert any(
        "percentage 0" in doubt
        for doubt in term_warnings.of_update(cloud.site, overview.update(cloud.site, update["id"]))
    )


def test_status_of_releases_that_are_not_offered(cloud, ioto):
    """Command line, API and page show the same status."""
    ask(cloud, "D1")
    jo, token = Session(cloud), operator_tokens.new(cloud.site, "ci", "read")["token"]
    made = {"active": {}, "scheduled": {"start": "2027-02-01"}, "ended": {"end": "2027-01-15T08:00:01Z"},
        "awaiting": {"by_hand": True},
            "paused": {}, "cancelled": {}, "disabled": {"enabled": False}}  # fmt: skip
    updates = {status: cloud.publish("2.0.%d" % n, **said)["id"] for n, (status, said) in enumerate(made.items())}
    control.change_state(cloud.site, updates["paused"], "paused")
    control.change_state(cloud.site, updates["cancelled"], "cancelled")
    cloud.now_s += 2
    found = {each["update"]: each["status"] for each in overview.updates(cloud.site)}
    assert found == {update: status for status, update in updates.items()}
    said = {each["update"]: each["why"] for each in overview.device(cloud.site, "D1")["offers"]}
    assert {status for status, update in updates.items() if said[update] not in (None, "below")} == set(made) - {
        "active"
    }
    for status, update in updates.items():
        shown = call(cloud.app, "GET", "/api/v1/releases/" + update, {"Authorization": "Bearer " + token}).json()
        assert shown["status"] == status
        assert 'class="state %s"' % status in jo.get("release?id=" + update).body.decode()


@pytest.mark.sweep
def test_command_line_api_and_page_show_the_warnings(cloud, ioto, tmp_path):
    ask(cloud, "D1", region="north")
    (tmp_path / "image.bin").write_bytes(esp_image(b"x"))
    wrong = NEWER + "regoin == 'north'"
    done = ioto(
        "publish",
        "image.bin",
        "--product",
        "thermo",
        "--version",
        "2.0.0",
        "--policy",
        wrong,
        "--percentage",
        "0",
        "--data",
        "site",
    )
    assert (
        "Warning: no known device has sent the property regoin: is region meant?" in done.stderr
        and "Warning: percentage 0" in done.stderr
    )
    assert "is region meant?" in ioto("updates", "set", "thermo@2.0.0", "--limit", "5", "--data", "site").stderr
    assert "is region meant?" in ioto("updates", "show", "thermo@2.0.0", "--data", "site").stderr
    token = operator_tokens.new(cloud.site, "ci", "publish")["token"]
    reply = call(
        cloud.app, "PATCH", "/api/v1/releases/thermo@2.0.0", {"Authorization": "Bearer " + token}, b'{"limit": "6"}'
    ).json()
    assert [doubt.partition(" ")[0] for doubt in reply["doubts"]] == ["no", "percentage"]
    jo, update = Session(cloud), overview.updates(cloud.site)[0]["update"]
    assert "is region meant?" in text(jo.get("release?id=" + update))
    assert "is region meant?" in text(jo.post("policy-check", {"policy": wrong, "product": PRODUCT}))
    assert "is region meant?" in text(jo.post("policy-check", {"policy": wrong, "id": update}))
    assert "Valid policy." in text(jo.post("policy-check", {"policy": NEWER + "region == 'x'", "product": PRODUCT}))


@pytest.mark.sweep
def test_a_dry_run_shows_the_warnings(cloud, ioto, tmp_path):
    """Command line, API and page show the same warnings as when publishing; the page shows them in every slice."""
    ask(cloud, "D1", region="north")
    (tmp_path / "image.bin").write_bytes(esp_image(b"x"))
    wrong = NEWER + "regoin == 'north'"
    asked = (
        "publish",
        "image.bin",
        "--product",
        "thermo",
        "--version",
        "2.0.0",
        "--policy",
        wrong,
        "--percentage",
        "0",
        "--dry-run",
        "--data",
        "site",
    )
    done = ioto(*asked)
    assert (
        "is region meant?" in done.stderr
        and "Warning: percentage 0" in done.stderr
        and "0 of 1 device would be offered it" in done.stdout
    )
    assert len(json.loads(ioto(*asked, "--json").stdout)["doubts"]) == 2
    token = operator_tokens.new(cloud.site, "ci", "publish")["token"]
    path = "/api/v1/products/thermo/dry-run?version=2.0.0&policy=" + quote(wrong)
    assert (
        "is region meant?"
        in call(cloud.app, "POST", path, {"Authorization": "Bearer " + token}, esp_image(b"x")).json()["doubts"][0]
    )
    jo, form = Session(cloud), {"product": PRODUCT, "version": "2.0.0", "policy": wrong}
    assert "is region meant?" in text(jo.post("dry-run", form))
    so_far = json.dumps({"devices": 1, "after": "D1", "found": {}, "slots": {}})
    assert "is region meant?" in text(jo.post("dry-run", {**form, "so_far": so_far}))
    assert overview.updates(cloud.site) == []


@pytest.mark.sweep
def test_warnings_about_a_policy_that_searches_for_devices(cloud, ioto):
    """For a group or a search, a property that no device has sent gives a warning.

    A missing device.version gives none.
    """
    ask(cloud, "D1", region="north")
    done = ioto("groups", "set", "north", "regoin == 'north'", "--data", "site")
    assert done.stderr == "Warning: no known device has sent the property regoin: is region meant?\n"
    assert ioto("groups", "set", "north", "region == 'north'", "--data", "site").stderr == ""
    token = operator_tokens.new(cloud.site, "ci", "publish")["token"]
    reply = call(
        cloud.app, "PUT", "/api/v1/groups/north", {"Authorization": "Bearer " + token}, b'{"policy": "regoin == 1"}'
    ).json()
    assert reply["policy"] == "regoin == 1" and "is region meant?" in reply["doubts"][0]
    assert "is region meant?" in ioto("devices", "--policy", "regoin == 'north'", "--data", "site").stderr
    assert ioto("devices", "--policy", "region == 'south'", "--data", "site").stderr == ""


@pytest.mark.sweep
def test_warnings_about_a_pin_or_retry_without_effect(cloud, ioto):
    ask(cloud, "D1")
    cloud.publish("2.0.0")
    assert ask(cloud, "D1") == "2.0.0"
    send_report(cloud, "D1", "failed", attempt=3)
    for version, said in (
        ("2.0.1", "thermo has no such release yet"),
        ("2.0.0", "its attempts on the device are used up: `ioto updates retry`"),
    ):
        assert ioto(
            "device", "pin", "D1", version, "--data", "site"
        ).stderr == "Warning: %s is not offered to the device now: %s\n" % (version, said)
    assert ioto("updates", "retry", "thermo@2.0.0", "--data", "site").stderr == ""
    assert ioto("device", "pin", "D1", "2.0.0", "--data", "site").stderr == ""
    send_report(cloud, "D1", "failed", attempt=3)
    control.change_state(cloud.site, "thermo@2.0.0", "paused")
    assert (
        "no device is offered the update now, because it is paused"
        in ioto("updates", "retry", "thermo@2.0.0", "--data", "site").stderr
    )


@pytest.mark.sweep
def test_warning_about_an_image_that_updater_programs_refuse(cloud, ioto):
    """An image of more than 100 MiB gives a warning if a device uses a client other than this project's agent."""
    image = bytes(term_warnings.UPDATER_BYTES + 1)
    (cloud.folder / "big.bin").write_bytes(image)
    said = "big.bin", "--product", "thermo", "--version", "2.0.0", "--any-file", "--data", "site"
    ask(cloud, "OURS", accepts=["raw"])
    cloud.device("NEVER")
    assert "MiB" not in ioto("publish", *said).stderr
    ask(cloud, "UPDATER", pro="true")
    wanted = (
        "image: its size is 100.0 MiB, but EmbedThis' updater programs refuse more than 100 MiB; 1 device of the "
        "product uses a client other than this project's agent, such as UPDATER"
    )
    assert wanted in " ".join(ioto("publish", *said).stderr.split())
    head = {"Authorization": "bearer " + operator_tokens.new(cloud.site, "boss", "admin")["token"]}
    reply = call(cloud.app, "POST", "/api/v1/products/thermo/releases?version=2.0.0&any_file=true", head, image)
    assert [each.startswith(wanted) for each in reply.json()["doubts"]] == [True]
    assert wanted in text(Session(cloud).get("release?id=thermo@2.0.0"))
    assert (
        term_warnings.of_update(
            cloud.site, {**overview.update(cloud.site, "thermo@2.0.0"), "size": term_warnings.UPDATER_BYTES}
        )
        == []
    )

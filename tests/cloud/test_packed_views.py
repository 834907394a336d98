"""The files of a release and what they saved: in the command, the API, the page; the file that a device was offered."""

import json
import re

import pytest
from click.testing import CliRunner
from cloud_under_test import call
from ioto_tools.cli import main
from ioto_tools.cloud.operators import operator_tokens, overview, release_files
from packed_release import IMAGE, NEW, OLD, Device, publish_packed, store_packed
from signing import sealed
from web_session import Session, text


@pytest.fixture
def cloud_with_devices(cloud):
    """Offers of the whole image, the compressed file and the delta to 1, 2 and 3 devices; one of each has confirmed."""
    cloud.update, cloud.files = publish_packed(cloud)
    for image, devices in ((None, 1), ("c" * 64, 2), (IMAGE, 3)):
        for n in range(devices):
            kind = {"image": image} if image else {"accepts": ["raw"]}
            device = Device(cloud, "D%d%s" % (n, (image or "whole")[:5]), **kind)
            device.ask()
            if n == 0:
                device.report("confirmed", attempt=1)
    return cloud


def expected(cloud):
    """{kind: (size, offered, installed, failures, saved)}."""
    sizes = {"whole": len(NEW), "compressed": len(cloud.files[""]), "delta": len(cloud.files[IMAGE])}
    return {kind: (size, n, 1, 0, len(NEW) - size) for n, (kind, size) in enumerate(sizes.items(), 1)}


def test_counts_and_savings_of_each_file(cloud_with_devices):
    cloud = cloud_with_devices
    found = release_files.of_release(cloud.site, "thermo@1.1.0")
    names = "size", "offered", "installed", "failures", "saved"
    assert {each["kind"]: tuple(each[name] for name in names) for each in found["files"]} == expected(cloud)
    assert [each["base_version"] for each in found["files"]] == [None, None, "1.0.0"]
    assert found["saved"] == sum(saved for *_, saved in expected(cloud).values()) > 0
    assert release_files.of_release(cloud.site, "thermo@1.0.0") == {"files": [], "saved": 0}


def test_offers_to_very_many_devices_are_not_counted(cloud_with_devices, monkeypatch):
    """That would take seconds on a large site."""
    cloud = cloud_with_devices
    monkeypatch.setattr(release_files, "MOST_COUNTED", 6)
    assert release_files.of_release(cloud.site, cloud.update)["saved"] > 0
    monkeypatch.setattr(release_files, "MOST_COUNTED", 5)
    found = release_files.of_release(cloud.site, cloud.update)
    assert found["saved"] is None and all(each["offered"] is each["saved"] is None for each in found["files"])
    assert "not counted: there are too many devices" in text(Session(cloud).get("release?id=" + cloud.update))
    done = CliRunner().invoke(main, ["updates", "show", cloud.update, "--data", str(cloud.folder / "site")])
    assert "their files are not counted" in done.output


def test_a_file_that_waits_or_failed_has_saved_nothing(cloud):
    cloud.publish("1.0.0", OLD)
    update = cloud.publish("1.1.0", NEW)["id"]
    store_packed(cloud.site, update, NEW, OLD, "waiting", checksum=None, size=None)
    store_packed(cloud.site, update, NEW, b"x" * 5000, "failed", checksum=None, size=None, reason="not smaller")
    found = release_files.of_release(cloud.site, update)
    assert found["saved"] == 0
    assert {(each["state"], each["reason"], each["size"]) for each in found["files"]} == {
        ("made", "", len(NEW)),
        ("waiting", "", None),
        ("failed", "not smaller", None),
    }
    page = text(Session(cloud).get("release?id=" + update))
    assert "failed: not smaller" in page and "waiting" in page


def test_the_base_of_a_signed_release_is_its_image(cloud):
    """Devices send the SHA-256 of the image, which is not the checksum of the signed file."""
    cloud.publish("1.0.0", sealed(OLD, "1.0.0"))
    update = cloud.publish("1.1.0", NEW)["id"]
    store_packed(cloud.site, update, NEW, OLD)
    assert release_files.of_release(cloud.site, update)["files"][1]["base_version"] == "1.0.0"


def test_the_page_of_the_release(cloud_with_devices):
    cloud, operator = cloud_with_devices, Session(cloud_with_devices)
    page = text(operator.get("release?id=" + cloud.update))
    for name, numbers in zip(("whole image", "compressed", "delta from 1.0.0"), expected(cloud).values()):
        size, *counts = (format(n, ",") for n in numbers)
        assert " ".join((name, size, "made", *counts)) in page
    assert "Files" not in text(operator.get("release?id=thermo@1.0.0"))


def test_the_api(cloud_with_devices):
    cloud = cloud_with_devices
    token = operator_tokens.new(cloud.site, "jo", "read")["token"]
    for path, names in (("releases/thermo@1.1.0", ("files", "saved")), ("devices/D0whole", ("updates",))):
        reply = call(cloud.app, "GET", "/api/v1/" + path, {"Authorization": "bearer " + token})
        assert reply.status == 200 and all(name in reply.json() for name in names)
        if "files" in names:
            found = release_files.of_release(cloud.site, cloud.update)
            assert {name: reply.json()[name] for name in names} == found


def test_the_file_that_a_device_was_offered(cloud_with_devices):
    cloud, operator = cloud_with_devices, Session(cloud_with_devices)
    device = Device(cloud, "D9")
    device.ask()
    device.report("refused", "base_mismatch")
    device.ask()
    shown = {"D0whole": "whole image", "D0ccccc": "compressed", "D0" + IMAGE[:5]: "delta",
             "D9": "whole image (a packed file failed)"}  # fmt: skip
    for id, words in shown.items():
        update = overview.device(cloud.site, id)["updates"][-1]
        assert words.startswith(update["file"]) and update["packed_failed"] == (id == "D9")
        assert " %s " % words in text(operator.get("device?id=" + id))


def test_the_commands(cloud_with_devices):
    cloud, update = cloud_with_devices, cloud_with_devices.update

    def run(*words):
        done = CliRunner().invoke(main, [*words, "--data", str(cloud.folder / "site")])
        assert done.exit_code == 0, done.output
        return done.stdout

    shown = run("updates", "show", update)
    for name, numbers in zip(("whole image", "compressed", "delta from 1.0.0"), expected(cloud).values()):
        size, *counts = map(str, numbers)
        assert re.search(r"^%s +" % name + " +".join((size, "made", *counts)) + r" *$", shown, re.MULTILINE), shown
    assert "packed files have saved %d bytes so far" % release_files.of_release(cloud.site, update)["saved"] in shown
    found = json.loads(run("updates", "show", update, "--json"))
    assert [each["kind"] for each in found["files"]] == ["whole", "compressed", "delta"]
    assert "file: delta" in run("device", "show", "D0" + IMAGE[:5])
    assert "Files" not in run("updates", "show", "thermo@1.0.0")

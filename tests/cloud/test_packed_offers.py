"""Offers of packed files: the file stays the same while it can be used, then the whole image; links to the files."""

import hashlib
import itertools

import pytest
from cloud_under_test import call, esp_image
from ioto_tools.cloud.images import packed_failures
from ioto_tools.cloud.operators import control, overview, release_files
from ioto_tools.cloud.packing import making
from ioto_tools.cloud.rules.update_states import UNFIT
from ioto_tools.image.unpack import unpack
from packed_release import IMAGE, NEW, OLD, Device, delete_packed, publish_packed, store_packed


@pytest.fixture
def packed(cloud):
    """The cloud with a release of NEW and its packed files."""
    cloud.update, cloud.files = publish_packed(cloud)
    assert len(cloud.files[IMAGE]) < len(cloud.files[""]) < len(NEW)
    return cloud


def test_the_offer_has_the_url_and_size_of_the_file(packed):
    for properties, base in (({}, IMAGE), ({"image": "c" * 64}, "")):
        device = Device(packed, "D%s" % base, **properties)
        assert device.ask() == len(packed.files[base])
        assert device.offer["checksum"] == hashlib.sha256(NEW).hexdigest() and device.offer["version"] == "1.1.0"
        assert unpack(device.fetch(), OLD if base else b"") == NEW


def test_other_clients_are_offered_the_whole_image(packed):
    for n, properties in enumerate(
        ({"accepts": None}, {"accepts": ["raw"]}, {"accepts": "packed"}, {"slotSize": "65536"})
    ):
        device = Device(packed, "D%d" % n, **properties)
        assert device.ask() == len(NEW)
        assert device.ask() == len(NEW)


def test_an_open_offer_keeps_its_file(packed):
    delete_packed(packed.site, packed.update, IMAGE)
    device = Device(packed)
    assert device.ask() == len(packed.files[""])
    store_packed(packed.site, packed.update, NEW, OLD)
    assert device.ask() == len(packed.files[""])
    device.report("downloading", attempt=1)
    assert device.ask(error="http_status") == len(packed.files[""])
    assert Device(packed, "D2").ask() == len(packed.files[IMAGE])


@pytest.mark.parametrize("why", ("deleted", "made again", "another image", "no longer accepted"))
def test_the_whole_image_if_the_file_can_no_longer_be_used(packed, why):
    device = Device(packed)
    assert device.ask() == len(packed.files[IMAGE])
    more = {}
    if why in ("deleted", "made again"):
        delete_packed(packed.site, packed.update, IMAGE)
    elif why == "another image":
        more = {"image": "c" * 64}
    else:
        more = {"accepts": ["raw"]}
    assert device.ask(**more) == len(NEW)
    if why == "made again":
        store_packed(packed.site, packed.update, NEW, OLD)
    assert device.ask() == len(NEW)  # its download has begun


REPORTED = (("refused", "base_mismatch"), ("refused", "packed_malformed"), ("refused", "manifest_mismatch"),
            ("failed", "checksum_mismatch"), ("refused", "image_chip: 9"))  # fmt: skip


@pytest.mark.parametrize("report, reason", REPORTED)
def test_the_whole_image_after_a_failed_packed_file(packed, report, reason):
    """No fault of the release: its offer stays open, and no outcome is counted."""
    device = Device(packed)
    assert device.ask() == len(packed.files[IMAGE])
    device.report("downloading", attempt=1)
    device.report(report, reason)
    assert device.state() == "downloading"
    assert device.ask() == len(NEW)
    if reason in ("base_mismatch", "packed_malformed"):
        device.report(report, reason)  # the same report again, because its answer was lost
        assert device.state() == "downloading" and device.ask() == len(NEW)
    found = overview.update(packed.site, packed.update)
    assert found["states"] == {"downloading": 1} and found["ended"] == {}
    assert overview.release_failures(packed.site, packed.update) == []
    device.report("confirmed", attempt=1)
    assert overview.update(packed.site, packed.update)["states"] == {"confirmed": 1}


def test_a_report_about_a_finished_update_is_counted(packed):
    device = Device(packed)
    device.ask()
    device.report("confirmed", attempt=1)
    device.report("refused", "base_mismatch", attempt=2)
    assert device.state() == "refused"


def test_a_whole_image_that_fails_is_a_fault_of_the_release(packed):
    device = Device(packed)
    device.ask()
    device.report("refused", "image_chip")
    device.ask()
    device.report("refused", "image_chip")
    assert device.state() == "unfit" and "image_chip" in UNFIT


def test_the_whole_image_after_an_error_that_is_not_reported(packed):
    for n, (error, whole) in enumerate((
        ("checksum_mismatch", True), ("unforeseen", True), ("no_memory", True), ("size_mismatch", True),
        ("base_mismatch", True), ("http_status", False), ("tls_name", False), ("flash_failed", False), ("", False),
        (5, False), ([], False),
    )):  # fmt: skip
        device = Device(packed, "D%d" % n)
        assert device.ask(error=error) == len(packed.files[IMAGE])  # of an earlier update
        assert device.ask(error=error) == len(NEW if whole else packed.files[IMAGE]), error
        assert device.ask() == len(NEW if whole else packed.files[IMAGE]), error


@pytest.mark.parametrize("is_whole", (False, True))
def test_another_try_chooses_the_file_again(packed, is_whole):
    delete_packed(packed.site, packed.update, IMAGE)
    device = Device(packed)
    assert device.ask() == len(packed.files[""])
    if is_whole:
        device.report("refused", "packed_malformed")
    store_packed(packed.site, packed.update, NEW, OLD)
    device.report("failed", "rolled_back", attempt=3)
    assert device.ask() is None
    control.retry(packed.site, packed.update)
    assert device.ask() == len(NEW if is_whole else packed.files[IMAGE])


def test_a_file_that_is_not_made_is_not_offered(packed):
    packed.update = packed.publish("1.2.0", esp_image(b"1.2.0", 40_000))["id"]
    for state in ("waiting", "failed"):
        base, _ = store_packed(packed.site, packed.update, esp_image(b"1.2.0", 40_000), OLD, state)
        assert Device(packed, "D " + state).ask() == 40_000
        delete_packed(packed.site, packed.update, base)


@pytest.mark.parametrize("next_s, days", [(3600, 6), (7 * 86400, 28)])
def test_a_device_that_does_not_get_through_is_offered_the_whole_image(packed, next_s, days):
    """Whatever the reason: it may hang, or lose its connection, before it can tell."""
    device = Device(packed, next=next_s)
    assert device.ask() == len(packed.files[IMAGE])
    packed.now_s += days * 86400
    assert device.ask() == len(packed.files[IMAGE])
    packed.now_s += 1
    assert device.ask() == len(NEW) and device.ask() == len(NEW)


def test_a_late_report_about_a_packed_file_changes_no_state(packed):
    device = Device(packed)
    device.ask()
    device.ask(error="base_mismatch")
    assert device.offer["size"] == len(NEW)
    device.report("confirmed")
    device.report("refused", "base_mismatch")
    assert device.state() == "confirmed"


@pytest.mark.parametrize("content", [None, b"too short"])
def test_a_lost_packed_file_is_made_again(packed, content):
    """Until then, devices are offered the whole image."""
    device = Device(packed)
    device.ask()
    checksum = hashlib.sha256(packed.files[IMAGE]).hexdigest()
    packed.kind.spoil(packed.site, checksum, content)
    reply = fetch(packed, "%s/%s" % (packed.update, checksum))
    assert reply.status == 404 and reply.json()["error"] == "file: it was lost: check in again for another"
    assert device.ask() == len(NEW)
    assert making.make_next(packed.site)["checksum"] == checksum
    assert Device(packed, "D2").ask() == len(packed.files[IMAGE])
    assert fetch(packed, "%s/%s" % (packed.update, checksum)).body == packed.files[IMAGE]


@pytest.mark.sweep
@pytest.mark.parametrize("good", [0, 9, 220])
def test_a_file_that_fails_on_many_devices_is_withdrawn(packed, good):
    """Each of them has fetched it in vain; a file that most devices have used is kept."""
    for n in range(good):
        device = Device(packed, "G%d" % n)
        device.ask()
        device.report("staged", attempt=1)
    for n in range(packed_failures.LEAST):
        device = Device(packed, "D%d" % n)
        assert device.ask() == len(packed.files[IMAGE])
        if n % 2:
            device.report("refused", "base_mismatch: 1")
            device.report("refused", "base_mismatch: 1")
        assert device.ask(error="base_mismatch") == len(NEW)
    file = next(each for each in release_files.of_release(packed.site, packed.update)["files"] if each["base"] == IMAGE)
    assert file["failures"] == packed_failures.LEAST
    if good < packed_failures.MANY * packed_failures.LEAST:
        assert file["state"] == "failed" and "failed on 20 devices, the last time with: base_mismatch" in file["reason"]
        assert Device(packed, "X").ask() == len(packed.files[""])
    else:
        assert file["state"] == "made" and Device(packed, "X").ask() == len(packed.files[IMAGE])


# ---- links


def fetch(cloud, name, **headers):
    return call(cloud.app, "GET", cloud.link(name), headers)


def test_links_are_only_for_files_of_the_release(packed):
    checksums = {base: hashlib.sha256(raw).hexdigest() for base, raw in packed.files.items()}
    other = packed.publish("1.2.0", esp_image(b"1.2.0", 40_000))["id"]
    for base, checksum in checksums.items():
        name = "%s/%s" % (packed.update, checksum)
        assert fetch(packed, name).body == packed.files[base]
        assert fetch(packed, "%s/%s" % (other, checksum)).status == 404
        for changed in (name[:-1] + ("0" if name[-1] != "0" else "1"), packed.update, other, name + "0"):
            assert call(packed.app, "GET", packed.link(name).replace(name, changed)).status == 403
        assert call(packed.app, "GET", packed.link(packed.update).replace(packed.update, name)).status == 403
        assert call(packed.app, "GET", "/image/" + name).status == 403
    own = hashlib.sha256(NEW).hexdigest()
    assert fetch(packed, "%s/%s" % (packed.update, own)).status == 404  # its own file has no such name
    delete_packed(packed.site, packed.update, IMAGE)
    reply = fetch(packed, "%s/%s" % (packed.update, checksums[IMAGE]))
    assert reply.status == 404 and reply.json()["error"] == "file: it no longer exists: check in again for another"


def test_ranges_of_a_packed_file(packed):
    raw = packed.files[IMAGE]
    checksum = hashlib.sha256(raw).hexdigest()
    name = "%s/%s" % (packed.update, checksum)
    for first, last in itertools.combinations((0, 1, 7, len(raw) - 1), 2):
        reply = fetch(packed, name, Range="bytes=%d-%d" % (first, last), **{"If-Range": '"%s"' % checksum})
        assert reply.status == 206 and reply.body == raw[first : last + 1]
        assert reply.headers["content-range"] == "bytes %d-%d/%d" % (first, last, len(raw))
    own = '"%s"' % hashlib.sha256(NEW).hexdigest()
    assert fetch(packed, name, Range="bytes=5-", **{"If-Range": own}).status == 200  # another file
    assert fetch(packed, name, Range="bytes=%d-" % len(raw)).status == 416

"""Signed releases on a board, from a cloud without support for signatures: some are installed, others never."""

import hashlib

import pytest
from ioto_tools.virtual_board import Cut
from rig import NOW, Rig, config
from signing import erases, installed, key, nvs_floor, pem, sealed, slots, trusting

HOUR = 3600


def refused(rig, cloud, reason, until_s=2 * HOUR):
    """Check that the update is refused for this reason and reported, and that slots and otadata are unchanged."""
    before = slots(rig)
    run = rig.run(until_s=until_s)
    assert "FAILED " + reason in run.console, run.console[-1500:]
    assert slots(rig) == before and run.slots == ["ota_0"]
    assert [(r["success"], r["state"], r["reason"]) for r in cloud.reports] == [
        (False, "refused", reason)
    ] and cloud.objections == []
    rig.cloud_said = cloud.reports


@pytest.mark.parametrize("ranges", [True, False])
def test_signed_release_is_installed(tmp_path, ranges):
    rig, cloud = trusting(tmp_path / "rig", ranges=ranges)
    image = rig.image(1)
    cloud.release("1.0.1", sealed(image, "1.0.1"))
    installed(rig, rig.run(until_s=2 * HOUR))
    assert rig.board.read_slot("ota_1") == image  # only the image, without its envelope
    assert rig.record()["slots"]["ota_1"]["image"] == hashlib.sha256(image).hexdigest()
    assert nvs_floor(rig) == "1.0.1" == rig.record()["floor"]
    assert cloud.objections == [] and not [
        said for said in (cloud.devices["DEVICE0001"]["properties"], *cloud.reports) if "unsigned" in said
    ]


def test_board_without_keys_installs_it_and_reports_unsigned(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", trusted=())
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    run = rig.run(until_s=2 * HOUR)
    installed(rig, run)
    assert (
        run.console.startswith("warn no update.keys") and cloud.devices["DEVICE0001"]["properties"]["unsigned"] is True
    )
    assert [(r["state"], r["unsigned"]) for r in cloud.reports] == [("confirmed", True)]


def flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


FORGED = {
    "unsigned": (lambda image: image, "unsigned"),
    "by-another-key": (lambda image: sealed(image, "1.0.1", by="thief"), "signature_invalid"),
    "manifest-changed": (lambda image: flipped(sealed(image, "1.0.1"), 30), "signature_invalid"),
    "signature-changed": (lambda image: flipped(sealed(image, "1.0.1"), 400), "signature_invalid"),
    "no-signature-in-it": (
        lambda image: sealed(image, "1.0.1")[:10] + b"\0\0" + sealed(image, "1.0.1")[12:],
        "manifest_malformed",
    ),
    "something-behind-it": (lambda image: flipped(sealed(image, "1.0.1"), 4095), "manifest_malformed"),
    "nothing-but-it": (lambda image: sealed(image, "1.0.1")[:4096], "manifest_mismatch"),
    "half-of-it": (lambda image: sealed(image, "1.0.1")[:2000], "manifest_malformed"),
    "longer-than-said": (lambda image: sealed(image, "1.0.1") + b"x", "manifest_mismatch"),
    "another-product": (lambda image: sealed(image, "1.0.1", product="TOASTER"), "manifest_mismatch"),
    "another-version": (lambda image: sealed(image, "1.0.2"), "manifest_mismatch"),
    "another-chip": (lambda image: sealed(image[:12] + b"\x09" + image[13:], "1.0.1"), "manifest_mismatch"),
    "for-any-chip": (lambda image: sealed(image, "1.0.1", any_file=True), "manifest_mismatch"),
    "made-from-another-image": (lambda image: sealed(image, "1.0.1", base="0" * 64), "manifest_mismatch"),
    "too-big-a-step": (lambda image: sealed(image, "1.0.1", minimum="1.0.1"), "manifest_mismatch"),
    "expired": (lambda image: sealed(image, "1.0.1", expires=NOW - 1), "manifest_expired"),
}


@pytest.mark.sweep
@pytest.mark.parametrize("case", FORGED)
def test_forged_release_is_refused_before_the_first_erase(tmp_path, case):
    forge, reason = FORGED[case]
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", forge(rig.image(1)))
    refused(rig, cloud, reason)
    assert rig.cloud_said[0]["update"] in cloud.releases
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))  # the board still updates
    installed(rig, rig.run(until_s=3 * HOUR))


@pytest.mark.sweep
def test_image_that_differs_from_its_manifest_never_starts(tmp_path):
    """The manifest is valid, so the image is downloaded; the agent judges by the content of the flash."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", flipped(sealed(rig.image(1), "1.0.1"), 4096 + 5000))
    run = rig.run(until_s=6 * HOUR)
    assert "FAILED checksum_mismatch" in run.console and run.slots == ["ota_0"]
    assert rig.board.read_slot("ota_1") == b"" and not cloud.reports  # the store may be at fault
    assert cloud.devices["DEVICE0001"]["properties"]["error"] == "checksum_mismatch"


@pytest.mark.sweep
def test_several_keys_are_trusted_and_a_removed_one_is_not(tmp_path):
    for trusted, by, reason in (
        (("ours", "next"), "ours", None),
        (("ours", "next"), "next", None),
        (("next",), "ours", "signature_invalid"),
    ):
        rig, cloud = trusting(tmp_path / ("%s-%s" % (len(trusted), by)), trusted=trusted)
        cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", by=by))
        if reason:
            refused(rig, cloud, reason)
        else:
            installed(rig, rig.run(until_s=2 * HOUR))


def test_staged_unsigned_image_is_refused_once_there_are_keys(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", trusted=(), update__apply="* 23 * * *")
    cloud.release("1.0.1", rig.image(1))
    assert "info staged 1.0.1" in rig.run(until_s=2 * HOUR).console
    changed = config(builder="https://builder.test/api", update__keys=["ours.pem"])
    rig.board.write_files({"ours.pem": pem("ours"), "ioto.json": changed})
    run = rig.run(until_s=3 * HOUR)
    assert "unsigned" in run.console and run.slots == ["ota_0"], run.console[-1500:]
    assert [r["success"] for r in cloud.reports] == [False]


def with_keys(rig, trusted, **more):
    """Change the configuration so that the board trusts these keys."""
    changed = config(builder="https://builder.test/api", update__keys=["%s.pem" % name for name in trusted], **more)
    rig.board.write_files({**{"%s.pem" % name: pem(name) for name in trusted}, "ioto.json": changed})


@pytest.mark.sweep
@pytest.mark.parametrize("trusted, goes", [(["new"], False), (["new", "old"], True), (["old"], True)])
def test_staged_image_is_refused_once_its_key_is_removed(tmp_path, trusted, goes):
    rig, cloud = trusting(tmp_path / "rig", trusted=("old", "ours"), update__apply="* 23 * * *")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", by="old"))
    assert "info staged 1.0.1" in rig.run(until_s=2 * HOUR).console
    with_keys(rig, trusted)
    if goes:
        return installed(rig, rig.run(until_s=3 * HOUR))
    refused(rig, cloud, "unsigned")
    assert rig.board.read_slot("ota_1") == b""
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2", by="new"))
    installed(rig, rig.run(until_s=2 * HOUR), "1.0.2")


@pytest.mark.sweep
def test_interrupted_download_is_checked_again_once_its_key_is_removed(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", blocks=14, trusted=("old",))
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", by="old"))
    tenth = erases(tmp_path / "twin", blocks=14, trusted=("old",))[9]
    assert rig.run(until_s=2 * HOUR, cut=Cut(tenth, "before")).ended == "cut"
    with_keys(rig, ["ours"])
    run = rig.run(until_s=2 * HOUR)
    assert "resumed" not in run.console and "TypeError" not in run.console
    assert [(r["state"], r["reason"]) for r in cloud.reports] == [("refused", "signature_invalid")]
    assert (
        "FAILED signature_invalid" in run.console and run.slots == ["ota_0"] and rig.board.read_slot("ota_1") == b""
    ), run.console


# ---- power cuts


@pytest.mark.sweep
def test_signed_download_resumes_after_a_power_cut(tmp_path):
    """The power is cut in every part of the download.

    The check of the first block is not repeated, and file offsets are those in the image plus 4096.
    """
    blocks = erases(tmp_path / "twin", blocks=12)
    for op in (*blocks[::3], blocks[8] + 1, blocks[-1] + 1):
        rig, cloud = trusting(tmp_path / str(op), blocks=12)
        image = rig.image(1)
        cloud.release("1.0.1", sealed(image, "1.0.1"))
        assert rig.run(until_s=2 * HOUR, cut=Cut(op, "during")).ended == "cut"
        run = rig.run(until_s=3 * HOUR)
        assert run.slots[-1] == "ota_1" and rig.board.read_slot("ota_1") == image, (op, run.console[-1500:])
        assert cloud.objections == [] and nvs_floor(rig) == "1.0.1"


@pytest.mark.sweep
def test_file_exchanged_between_two_connections_is_checked_again(tmp_path):
    rig, cloud = trusting(tmp_path / "rig", blocks=14)
    good, forged = sealed(rig.image(1), "1.0.1"), sealed(rig.image(2), "1.0.1", by="thief")
    update = cloud.release("1.0.1", good)
    assert rig.run(until_s=2 * HOUR, cut=Cut(erases(tmp_path / "twin", blocks=14)[9], "before")).ended == "cut"
    cloud.releases[update] = ("1.0.1", forged)
    cloud.ranges = False
    run = rig.run(until_s=6 * HOUR)
    assert "signature_invalid" in run.console or "superseded" in run.console, run.console[-1500:]
    assert run.slots == ["ota_0"] and rig.board.read_slot("ota_1") == b""


def test_board_has_only_the_public_key(tmp_path):
    """No part of the private key is in its flash."""
    rig = Rig(tmp_path / "rig", files={"ours.pem": pem("ours")}, update__keys="ours.pem")
    numbers = key("ours").private_numbers()
    flash = bytes(rig.board.flash.data)
    for secret in (numbers.p, numbers.q, numbers.d):
        assert secret.to_bytes((secret.bit_length() + 7) // 8, "big") not in flash
    assert b"PRIVATE" not in flash

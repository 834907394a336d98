"""No downgrade: the highest version ever confirmed is stored in the NVS and in the record.

The power is cut at every operation of a trial.
"""

import json

import pytest
from ioto.release import DOWN_MOST_S, unwrap
from ioto_tools.image import keys
from ioto_tools.image.release import build_envelope
from ioto_tools.virtual_board import Board, Cut
from rig import NOW, config
from signing import installed, key, nvs_floor, sealed, slots, trusting

HOUR = 3600
CUTS = ("before", "during", "after")


def updated_to(tmp_path, version="1.0.2"):
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release(version, sealed(rig.image(2), version))
    installed(rig, rig.run(until_s=2 * HOUR), version)
    cloud.reports.clear()
    return rig, cloud


def refused(rig, cloud, reason):
    before = slots(rig)
    run = rig.run(until_s=4500)
    assert reason in run.console and slots(rig) == before, run.console[-1500:]
    assert [(r["state"], r["reason"]) for r in cloud.reports] == [("refused", reason)]
    cloud.reports.clear()


def erase_state(rig):
    """Remove the agent's files: the record, and with it the versions installed in the slots."""
    rig.board.write_files({name: None for name in rig.board.files() if name.startswith("state/")})


def erase_nvs(rig):
    part = rig.board.partition("nvs")
    rig.board.flash.data[part.address : part.address + part.size] = b"\xff" * part.size
    rig.board.close()
    rig.board = Board(rig.board.flash.path, air=rig.air)
    assert nvs_floor(rig) == ""


def set_version_to_1_0_0(rig):
    rig.board.write_files(
        {"ioto.json": config(version="1.0.0", builder="https://builder.test/api", update__keys=["ours.pem"])}
    )


@pytest.mark.sweep
def test_older_release_is_refused(tmp_path):
    rig, cloud = updated_to(tmp_path)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    refused(rig, cloud, "version_not_newer")


@pytest.mark.sweep
def test_erased_file_system_allows_no_downgrade(tmp_path):
    """The record is lost and ioto.json says 1.0.0 again, but the NVS still has the floor."""
    rig, cloud = updated_to(tmp_path)
    erase_state(rig)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    refused(rig, cloud, "version_floor")


@pytest.mark.sweep
def test_erased_nvs_allows_no_downgrade(tmp_path):
    """The record has the floor too, and the version of the next confirmed release is stored in the NVS again."""
    rig, cloud = updated_to(tmp_path)
    erase_nvs(rig)
    set_version_to_1_0_0(rig)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    refused(rig, cloud, "version_not_newer")
    assert rig.record()["floor"] == "1.0.2"
    cloud.release("1.0.3", sealed(rig.image(1), "1.0.3"))
    assert "CONFIRMED 1.0.3" in rig.run(until_s=4500).console and nvs_floor(rig) == "1.0.3"


@pytest.mark.sweep
def test_nvs_and_record_restore_the_floor_for_each_other(tmp_path):
    """First the NVS is lost; after the next release, the file system; after one more release, the NVS again."""
    rig, cloud = updated_to(tmp_path)
    erase_nvs(rig)
    cloud.release("1.0.3", sealed(rig.image(3), "1.0.3"))
    assert "CONFIRMED 1.0.3" in rig.run(until_s=4500).console
    erase_state(rig)
    cloud.reports.clear()
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2"))
    refused(rig, cloud, "version_floor")
    cloud.release("1.0.4", sealed(rig.image(4), "1.0.4"))
    assert "CONFIRMED 1.0.4" in rig.run(until_s=4500).console and rig.record()["floor"] == "1.0.4"
    erase_nvs(rig)
    cloud.reports.clear()
    cloud.release("1.0.3", sealed(rig.image(3), "1.0.3"))
    refused(rig, cloud, "version_not_newer")


@pytest.mark.sweep
def test_signed_downgrade_is_installed(tmp_path):
    """The floor does not change. A release below the floor is installed only if its manifest allows a downgrade.

    At the floor or above it, every signed release is installed.
    """
    rig, cloud = updated_to(tmp_path)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", down=True, created=NOW, expires=NOW + DOWN_MOST_S))
    run = rig.run(until_s=4500)
    assert "CONFIRMED 1.0.1" in run.console and run.slots[-1] == "ota_0", run.console[-1500:]
    assert nvs_floor(rig) == "1.0.2" == rig.record()["floor"]
    cloud.reports.clear()
    cloud.release("1.0.2-rc.1", sealed(rig.image(3), "1.0.2-rc.1"))
    refused(rig, cloud, "version_floor")
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2"))
    assert "CONFIRMED 1.0.2" in rig.run(until_s=4500).console


@pytest.mark.sweep
def test_downgrade_from_one_version_is_refused_by_other_versions(tmp_path):
    rig, cloud = updated_to(tmp_path)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", down="1.0.3"))
    refused(rig, cloud, "version_not_newer")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", down="1.0.2"))
    assert "CONFIRMED 1.0.1" in rig.run(until_s=4500).console


def sealed_without_end(image, version, **more):
    """A release signed before the tools required an expiry date at most 30 days away for `down`."""
    content = sealed(image, version)
    raw, _ = unwrap(content[:4096])
    raw = json.dumps(dict(json.loads(raw), down=True, **more)).encode()
    return build_envelope(raw, keys.sign(key("ours"), raw)) + content[4096:]


@pytest.mark.sweep
@pytest.mark.parametrize("more", [{}, {"expires": NOW + 400 * 86400}])
def test_downgrade_without_an_end_is_refused(tmp_path, more):
    rig, cloud = updated_to(tmp_path)
    cloud.release("1.0.1", sealed_without_end(rig.image(1), "1.0.1", **more))
    refused(rig, cloud, "manifest_malformed")
    cloud.release("1.0.3", sealed(rig.image(3), "1.0.3"))
    assert "CONFIRMED 1.0.3" in rig.run(until_s=4500).console


@pytest.mark.sweep
def test_expired_downgrade_is_refused(tmp_path):
    rig, cloud = updated_to(tmp_path)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", down=True, created=NOW - DOWN_MOST_S, expires=NOW - 1))
    refused(rig, cloud, "manifest_expired")
    cloud.release("1.0.3", sealed(rig.image(3), "1.0.3"))
    assert "CONFIRMED 1.0.3" in rig.run(until_s=4500).console


@pytest.mark.sweep
def test_unsigned_downgrade_is_refused(tmp_path):
    """A compromised cloud can offer any version; a board without keys also refuses those below the floor."""
    rig, cloud = trusting(tmp_path / "rig", trusted=())
    cloud.release("1.0.2", rig.image(2))
    installed(rig, rig.run(until_s=2 * HOUR), "1.0.2")
    cloud.reports.clear()
    cloud.release("1.0.1", rig.image(1))
    refused(rig, cloud, "version_not_newer")
    cloud.release("1.0.0", sealed(rig.image(1), "1.0.0", down="1.0.2"))  # a manifest that no key verifies
    refused(rig, cloud, "version_not_newer")


def test_update_completes_if_the_nvs_is_full(tmp_path):
    main = "import esp32\nesp32.NVS.set_blob = lambda self, key, value: (_ for _ in ()).throw(OSError(-4357))\n"
    from rig import MAIN

    rig, cloud = trusting(tmp_path / "rig", main=main + MAIN)
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2"))
    run = rig.run(until_s=2 * HOUR)
    installed(rig, run, "1.0.2")
    assert "version floor stored only in the record" in run.console and rig.record()["floor"] == "1.0.2"


# ---- power cuts


@pytest.fixture
def swapped(tmp_path):
    """(rig, its flash): a board that has selected the new image and has not started it yet."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    rig.run(until_s=2 * HOUR, max_boots=1)
    assert rig.board.describe_otadata() == "1/VALID 2/NEW"
    return rig, bytes(rig.board.flash.data)


def trial(rig, flash, **limits):
    rig.board.flash.data[:] = flash
    return rig.run(until_s=60, cause=2, **limits)


def check_floor_after_a_cut(rig, flash, op, when):
    """Cut the power once: if the image is confirmed then, the floor was raised before. Then run without a cut."""
    trial(rig, flash, cut=Cut(op, when))
    confirmed, floor = "2/VALID" in rig.board.describe_otadata(), nvs_floor(rig)
    replay = "Cut(%d, %r): otadata %s, floor %r" % (op, when, rig.board.describe_otadata(), floor)
    assert floor in ("", "1.0.1") and (floor or not confirmed), replay
    run = rig.run(until_s=2 * HOUR)
    assert run.slots[-1] == "ota_1" and nvs_floor(rig) == "1.0.1" == rig.record()["floor"], replay
    return confirmed


def operations(rig, flash):
    """For each flash operation of the trial, up to the one that confirms the image: "nvs", "otadata" or "" (others)."""
    run = trial(rig, flash)
    assert "2/VALID" in rig.board.describe_otadata()
    part = rig.board.partition
    names = [
        next((p for p in ("nvs", "otadata") if part(p).address <= op[1] < part(p).address + part(p).size), "")
        for op in run.trace.ops
    ]
    last = len(names) - 1 - names[::-1].index("otadata")
    return names[: last + 1]


@pytest.mark.sweep
def test_floor_rises_before_the_image_is_confirmed(swapped):
    """One kind of cut at each operation on NVS and otadata; the sweep below makes all three kinds at all operations."""
    names = operations(*swapped)
    chosen = [op for op, name in enumerate(names) if name][2:]  # without the bootloader's two operations
    assert "nvs" in names and len(chosen) >= 4, names
    confirmed = [
        check_floor_after_a_cut(*swapped, op, "before" if n % 3 == 2 else CUTS[1 + n % 2])
        for n, op in enumerate(chosen)
    ]
    assert not all(confirmed) and confirmed[0] is False


@pytest.mark.sweep
@pytest.mark.parametrize("when", CUTS)
def test_floor_rises_before_the_image_is_confirmed_at_every_cut(swapped, when):
    confirmed = [check_floor_after_a_cut(*swapped, op, when) for op in range(len(operations(*swapped)) + 2)]
    assert True in confirmed and False in confirmed

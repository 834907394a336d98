"""Attempts and versions: power cuts before the swap, an operator's retry, a version edited in ioto.json."""

import hashlib

import pytest
from faulty_cloud import FaultyCloud, board, offer
from ioto_tools.cloud.operators import overview
from ioto_tools.virtual_board import Cut
from ioto_tools.virtual_board.peers import http_response
from rig import Rig, config
from signing import installed

HOUR = 3600


def cut_before_the_swap(folder, cuts):
    """Return a rig with a published release, after one run for each cut in `cuts`: the power cut ends the run."""
    rig = Rig(folder)
    rig.publish(rig.image(1), "1.0.1")
    for cut in cuts:
        assert rig.run(until_s=3 * HOUR, cut=cut).ended == "cut"
    return rig


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "during"])
def test_power_cut_before_the_swap_costs_no_attempt(tmp_path, when):
    cuts = []
    for n in range(3):
        twin = cut_before_the_swap(tmp_path / str(n), cuts)
        otadata = twin.board.partition("otadata").address
        ops = twin.run(until_s=3 * HOUR).trace.ops
        cuts.append(Cut(next(i for i, op in enumerate(ops) if otadata <= op[1] < otadata + 0x2000), when))
    rig = cut_before_the_swap(tmp_path / "rig", cuts)
    assert rig.board.describe_otadata() == "1/VALID -" and rig.record()["phase"] == "trial"
    installed(rig, rig.run(until_s=4 * HOUR))
    told = [(r["state"], r["attempt"]) for r in overview.device(rig.site, "DEVICE0001")["reports"]]
    assert told == [("downloading", 1), ("staged", 1), ("applied", 1), ("confirmed", 1)], told


@pytest.mark.sweep
def test_version_edited_in_ioto_json_becomes_the_device_version(tmp_path):
    rig = Rig(tmp_path)
    rig.publish(rig.image(1), "1.0.1")
    installed(rig, rig.run(until_s=HOUR))
    assert overview.devices(rig.site)[0]["version"] == "1.0.1"
    rig.board.write_files({"ioto.json": config(version="2.0.0")})
    run = rig.run(until_s=3 * HOUR)
    assert "using version 2.0.0 of ioto.json instead of 1.0.1" in run.console
    assert overview.devices(rig.site)[0]["version"] == "2.0.0"
    rig.publish(rig.image(2), "1.5.0")
    assert rig.run(until_s=3 * HOUR).slots == ["ota_1"]
    rig.publish(rig.image(3), "2.0.1")
    assert "CONFIRMED 2.0.1" in rig.run(until_s=3 * HOUR).console
    run = rig.run(until_s=3 * HOUR)
    assert overview.devices(rig.site)[0]["version"] == "2.0.1" and "of ioto.json instead" not in run.console


@pytest.mark.sweep
def test_failed_update_is_tried_again_only_with_a_higher_retry(tmp_path):
    """Offers of the failed update are refused until one has a higher `retry`; the count of attempts continues."""
    image = Rig(tmp_path / "other").image(1)
    faulty = FaultyCloud(offer(image), [http_response(image)])
    rig = board(tmp_path, faulty, update__attempts=2)
    key = hashlib.sha256(image).hexdigest()
    rig.board.faults[key] = "selftest"
    assert rig.run(until_s=4 * HOUR).slots == ["ota_0", "ota_1"] * 2 + ["ota_0"]
    faulty.check = offer(image, retry=0)
    assert rig.run(until_s=4 * HOUR).slots == ["ota_0"]
    faulty.check = offer(image, retry=1)
    assert rig.run(until_s=4 * HOUR).slots == ["ota_0", "ota_1"] * 2 + ["ota_0"]
    assert max(r["attempt"] for r in faulty.reports if r["state"] == "failed") == 4
    assert rig.run(until_s=4 * HOUR).slots == ["ota_0"]
    del rig.board.faults[key]
    faulty.check = offer(image, retry=2)
    run = rig.run(until_s=4 * HOUR)
    assert run.slots == ["ota_0", "ota_1"] and "CONFIRMED 1.0.1" in run.console
    assert [r["attempt"] for r in faulty.reports if r["state"] == "confirmed"] == [5]


@pytest.mark.sweep
def test_check_in_sends_time_of_the_next_one_and_the_staged_update(tmp_path):
    faulty = FaultyCloud({})
    rig = board(tmp_path, faulty, update__period="2 hours", update__apply="0 0 1 1 *")
    rig.run(until_s=60)
    assert faulty.last["next"] == 7200 and "staged" not in faulty.last
    image = rig.image(1)
    faulty.check, faulty.image = offer(image), [http_response(image)]
    rig.run(until_s=3 * HOUR, cause=2)
    faulty.checks = 0
    rig.run(until_s=3 * HOUR, cause=2)
    assert faulty.last["staged"] == faulty.check["update"] and 1 <= faulty.checks <= 2


def test_check_in_sends_when_its_window_opens_again(tmp_path):
    faulty = FaultyCloud({})
    rig = board(tmp_path, faulty, update__schedule="0-9 8 * * *", update__period="1 hour")
    rig.run(until_s=60)
    assert 23 * HOUR <= faulty.last["next"] <= 24 * HOUR, faulty.last

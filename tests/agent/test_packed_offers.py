"""The agent and this project's cloud: an update by a delta, and by the whole image if the board's base is damaged."""

import random

import pytest
from ioto_tools.cloud.operators import overview, release_files
from ioto_tools.image import esp
from packed_release import store_packed
from rig import Rig

BLOCKS = 14
SIZE = BLOCKS * 4096 - 2048


def image(n):
    """The image of version 1.0.`n`: most of its bytes are the same in each."""
    plain, data = esp.make_image(SIZE, "image %d" % n), random.Random(0).randbytes(40_000)
    return esp.fix_checksums(plain[:8000] + data + plain[48_000:])


def damaged(raw):
    """The image with one other byte, which the bootloader starts all the same."""
    return esp.fix_checksums(raw[:20_000] + bytes([raw[20_000] ^ 1]) + raw[20_001:])


def update_twice(folder, change):
    """Update a board to 1.0.1, call change(rig), and update to 1.0.2, which has a delta; return the rig."""
    rig = Rig(folder, blocks=BLOCKS)
    rig.publish(image(1), "1.0.1", age="none")
    run = rig.run(stop=lambda line: line == "CONFIRMED 1.0.1")
    assert run.slots[-1] == "ota_1", run.console[-1500:]
    change(rig)
    update = rig.publish(image(2), "1.0.2", age="none")["id"]
    _, rig.delta = store_packed(rig.site, update, image(2), image(1))
    rig.update = update
    run = rig.run(stop=lambda line: line == "CONFIRMED 1.0.2", until_s=8 * 3600)
    assert run.slots[-1] == "ota_0" and rig.board.read_slot("ota_0") == image(2), run.console[-1500:]
    rig.run(until_s=60)  # its report
    return rig


@pytest.mark.sweep
def test_a_board_updates_by_a_delta(tmp_path):
    rig = update_twice(tmp_path, lambda rig: None)
    found = release_files.of_release(rig.site, rig.update)
    assert [(each["kind"], each["offered"], each["installed"]) for each in found["files"]] == [
        ("whole", 0, 0),
        ("delta", 1, 1),
    ]
    assert found["saved"] == SIZE - len(rig.delta) > 0.9 * SIZE


@pytest.mark.sweep
def test_a_damaged_base_leads_to_the_whole_image(tmp_path):
    """The board still sends the SHA-256 of the image that it installed."""
    rig = update_twice(tmp_path, lambda rig: rig.board.write_slot("ota_1", damaged(rig.board.read_slot("ota_1"))))
    found = release_files.of_release(rig.site, rig.update)
    assert [(each["kind"], each["offered"], each["installed"]) for each in found["files"]] == [
        ("whole", 1, 1),
        ("delta", 0, 0),
    ]
    device = overview.device(rig.site, "DEVICE0001")
    assert ("refused", "base_mismatch") in [(each["state"], each["reason"]) for each in device["reports"]]
    assert device["update"]["packed_failed"] and overview.update(rig.site, rig.update)["states"] == {"confirmed": 1}

"""A fleet on three versions goes to a fourth with packed files: the bytes of each kind of file are exact."""

import random

import pytest
from ioto_tools.image import esp
from packed_fleet import DEVICES, PackedFleet

IMAGE_BYTES = 40 * 4096


def images():
    """Four images. Each differs from the one before it in 200 bytes of its data."""
    data = bytearray(random.Random(1).randbytes(IMAGE_BYTES // 2))
    for n in range(4):
        data[20_000 * n : 20_000 * n + 200] = random.Random(n).randbytes(200)
        image = esp.make_image(IMAGE_BYTES, "image %d" % n)
        yield esp.fix_checksums(image[:8192] + bytes(data) + image[8192 + len(data) :])


@pytest.mark.sweep
def test_three_versions_go_to_a_fourth(memory_path):
    cloud = PackedFleet(memory_path, images())
    fleets = cloud.run()
    files, saved = cloud.files()
    assert set(files) == set(fleets) and sum(DEVICES.values()) == 1000
    for key, fleet in fleets.items():
        (size, offered, installed), tally = files[key], fleet.tally
        assert offered == DEVICES[key] and installed == fleet.devices.counts()[0]["2.0.0"] > 0.9 * offered
        assert tally.bytes == size * offered and not tally.faults
        assert tally.files == ({} if key[0] == "whole" else {key[0]: [offered, tally.bytes]})
    whole = len(cloud.images["2.0.0"])
    assert saved == sum(installed * (whole - size) for size, _, installed in files.values())
    assert sum(fleet.tally.bytes for fleet in fleets.values()) < 0.2 * 1000 * whole
    cloud.close()

"""Which file of a release a device is offered: every combination, against rules written out here."""

import itertools

import pytest
from ioto_tools.cloud.rules import packed_files, update_states
from ioto_tools.cloud.rules.packed_files import PackedFile

WHOLE, IMAGE = 1000, 900
A, B = "a" * 64, "b" * 64
SIZES = (None, 100, 500, 1000, 2000)  # None: there is no such file
ABSENT = object()

ACCEPTS = {ABSENT: 0, "packed": 0, "raw,packed": 0, ("raw",): 0, ("raw", "packed"): 1, ("packed",): 1, (): 0, True: 0}
IMAGES = (ABSENT, A, B, A.upper(), "", None, 7, "c" * 64)
SLOTS = {ABSENT: 0, IMAGE - 1: 0, IMAGE: 1, 4096: 1, str(IMAGE): 0, True: 0, IMAGE + 0.5: 0}
CHIPS = {ABSENT: 0, 0: 1, 9: 1, "9": 0, True: 0}


def sent(accepts, image, slot, chip):
    accepts = list(accepts) if isinstance(accepts, tuple) else accepts
    found = {"accepts": accepts, "image": image, "slotSize": slot, "chip": chip, "version": "1.0.0"}
    return {name: value for name, value in found.items() if value is not ABSENT}


def devices():
    return itertools.product(ACCEPTS, IMAGES, SLOTS, CHIPS)


@pytest.mark.parametrize("compressed, delta", list(itertools.product(SIZES, SIZES)))
def test_the_smallest_file_that_the_device_accepts(compressed, delta):
    files = {"": compressed, A: delta, B: 1500}
    files = {base: PackedFile("sum of %s" % base, size) for base, size in files.items() if size}
    for accepts, image, slot, chip in devices():
        sizes = {None: WHOLE}
        if ACCEPTS[accepts] and SLOTS[slot]:
            sizes[""] = compressed
            if CHIPS[chip] and image == A:
                sizes[A] = delta
        expected = min((file for file in sizes if sizes[file]), key=lambda file: (sizes[file], file is not None))
        found = packed_files.smallest(files, WHOLE, IMAGE, sent(accepts, image, slot, chip))
        assert found == expected, (accepts, image, slot, chip)


def test_an_offered_file_is_kept_while_the_device_accepts_it():
    """Also if a smaller file exists by now."""
    files = {"": PackedFile("x", 500), A: PackedFile("y", 100)}
    for accepts, image, slot, chip in devices():
        device = sent(accepts, image, slot, chip)
        able = ACCEPTS[accepts] and SLOTS[slot]
        for file, may in (("", able), (A, able and CHIPS[chip] and image == A), (B, False), (None, False)):
            expected = file if may else None
            assert packed_files.still_accepted(file, files, IMAGE, device) == expected, (file, device)
            assert packed_files.still_accepted(file, {}, IMAGE, device) is None


def test_faults_of_packed_files():
    """A fault of the network, the flash or the new program is not that of a packed file."""
    others = ("", "flash_failed", "rolled_back", "selftest_failed", "withdrawn", "superseded", "record_failed",
              "failed_before", "version_not_newer", "version_floor", "http_status", "tls_name", "no_slots")  # fmt: skip
    for reason in others:
        assert not update_states.is_packed_error(reason)
        for report in update_states.REPORTS:
            assert not update_states.is_packed_fault(report, reason, True), (report, reason)
    for report, is_packed in itertools.product(update_states.REPORTS, (False, True)):
        ends = report in ("refused", "failed")
        for reason in ("packed_malformed", "base_mismatch"):
            assert update_states.is_packed_fault(report, reason, is_packed) == ends
        for reason in update_states.UNFIT:
            assert update_states.is_packed_fault(report, reason, is_packed) == (ends and is_packed)
    for error in (None, 5, [], {}, ["unforeseen"], "unforeseen2"):
        assert not update_states.is_packed_error(error)
    for error in ("packed_malformed", "base_mismatch", "checksum_mismatch", "size_mismatch", "no_memory", "unforeseen"):
        assert update_states.is_packed_error(error)

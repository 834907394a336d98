"""Failures of a download cost no attempt: the download is delayed, longer each time, and the flash is hardly worn.

Each case has one virtual board, a cloud that always offers the same release, and an image store that fails in its own
way for a while. The test counts requests to the store, check-ins and erases of the slot. In the end the store works,
and the board is updated.
"""

import hashlib
import json
import random

import pytest
from ioto_tools.image import esp
from ioto_tools.virtual_board.peers import ScriptedServer, http_response
from rig import MAIN, NOW, Rig, secure
from signing import sealed, trusting

BLOCKS = 14
SIZE = BLOCKS * 4096 - 2048
IMAGE = esp.make_image(SIZE, "costly")
PAGE = b"<!DOCTYPE html><html>The service is under maintenance.</html>"
DAY = 86400


class FaultyStore:
    """A cloud that offers IMAGE, with or without its size, and an image store.

    `store(start or None, n)` returns the steps of the reply to request n.
    """

    def __init__(self, folder, store, size=SIZE, **options):
        self.store = store
        self.size = size
        self.asked = 0
        self.checks = []  # times of the check-ins
        self.errors = []
        self.states = []
        script = secure(ScriptedServer(self.answer))
        air = {"peers": {("cloud.test", 443): script, ("images.test", 443): script}, **options.pop("air", {})}
        self.rig = Rig(folder, blocks=BLOCKS, cloud=False, air=air, network__timeout=5, **options)

    def answer(self, method, path, headers, body):
        if path.endswith("/register"):
            return [http_response(json.dumps({"api": "https://cloud.test", "token": "T", "registered": True}).encode())]
        if path.endswith("/updateReport"):
            self.states.append(json.loads(body)["state"])
            return [http_response(b"{}")]
        if path.endswith("/update"):
            return [http_response(json.dumps(self.check_in(json.loads(body))).encode())]
        self.asked += 1
        wanted = headers.get("range")
        return self.store(int(wanted[6:-1]) if wanted else None, self.asked)

    def check_in(self, said):
        self.checks.append(self.rig.now())
        self.errors.append(said.get("error"))
        if said["version"] == "1.0.1":
            return {}
        found = {
            "url": "https://images.test/i",
            "checksum": hashlib.sha256(IMAGE).hexdigest(),
            "update": "U",
            "version": "1.0.1",
        }
        return found if self.size is None else dict(found, size=self.size)

    def run(self, until_s, **limits):
        """Run for `until_s` seconds; return (the run, erases of the slot, requests to the store, check-ins)."""
        asked, checks = self.asked, len(self.checks)
        run = self.rig.run(until_s=until_s, **limits)
        slot = self.rig.board.partition("ota_1")
        erased = [op for op in run.trace.ops if op[0] == "erase" and slot.address <= op[1] < slot.address + slot.size]
        assert "Traceback" not in run.console, run.console[-1500:]
        return run, len(erased), self.asked - asked, len(self.checks) - checks

    def restore_store(self, until_s):
        """Let the store work; the board must install the release before `until_s`. Return the number of erases."""
        self.store = good
        run, erased, _, _ = self.run(until_s, stop=lambda line: line.startswith("CONFIRMED"))
        assert run.slots[-1] == "ota_1" and self.rig.board.read_slot("ota_1") == IMAGE, run.console[-1500:]
        return erased


def ranged(start, last=SIZE - 1, said=None, total=SIZE):
    said = said or "bytes %d-%d/%s" % (start, last, total)
    return [http_response(IMAGE[start : last + 1], 206, [("Content-Range", said)])]


def good(start, n):
    return ranged(start) if start else [http_response(IMAGE)]


def chunked(body):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


PAGES = {
    "with-a-length": (http_response(PAGE), len(IMAGE), "size_mismatch"),
    "as-long-as-the-image": (http_response(PAGE.ljust(len(IMAGE))), len(IMAGE), "image_magic"),
    "chunked": (chunked(PAGE * 100), len(IMAGE), "image_magic"),
    "chunked-and-short": (chunked(PAGE), len(IMAGE), "size_mismatch"),
    "size-unsaid": (http_response(PAGE * 100), None, "image_magic"),
}


@pytest.mark.parametrize("case", PAGES)
def test_web_page_instead_of_the_image_costs_no_erase_and_no_attempt(tmp_path, case):
    """The store sends a web page for ten minutes: two to four requests are made, and no outcome is reported.

    A few minutes after the store works again, the release is installed.
    """
    page, size, reason = PAGES[case]
    world = FaultyStore(tmp_path, lambda start, n: [page], size)
    _, erased, asked, checks = world.run(600)
    assert erased == 0 and 2 <= asked <= 4 and checks <= 5, (erased, asked, checks)
    assert set(world.errors[1:]) == {reason} and "failed" not in world.states and "refused" not in world.states
    assert world.rig.record()["attempt"] == 1 and not world.rig.record()["failed"]
    assert world.restore_store(900) == BLOCKS


@pytest.mark.sweep
def test_web_page_for_a_week_is_requested_once_a_day_in_the_end(tmp_path):
    """A reset each day does not shorten the delays; check-ins continue as scheduled."""
    world = FaultyStore(tmp_path, lambda start, n: [http_response(PAGE)], update__period="6 hours")
    counted = [world.run(DAY)[1:] for _ in range(7)]
    assert sum(erased for erased, _, _ in counted) == 0
    assert counted[0][1] <= 12 and all(asked <= 2 for _, asked, _ in counted[2:]), counted
    assert all(checks >= 3 for _, _, checks in counted), counted
    assert world.restore_store(2 * DAY) == BLOCKS


@pytest.mark.sweep
def test_damaged_file_in_the_store_wears_the_flash_once_a_day(tmp_path):
    """The file begins like an image, so that only the hash of the whole file shows the damage."""
    damaged = IMAGE[:-100] + b"?" + IMAGE[-99:]
    world = FaultyStore(tmp_path, lambda start, n: [http_response(damaged)])
    counted = [world.run(DAY)[1] // BLOCKS for _ in range(3)]
    assert counted[0] <= 11 and max(counted[1:]) <= 2, counted
    assert (
        world.errors[-1] == "checksum_mismatch" or "checksum_mismatch" in world.errors and "failed" not in world.states
    )
    assert world.restore_store(2 * DAY) == BLOCKS


def broken(steps, n, after=None):
    """The reply, truncated after `after` bytes, by default after a random number."""
    whole = b"".join(steps)
    return [whole[: after or random.Random(n).randrange(200, 30000)], None]


RANGES = {
    "another-range": lambda start, n: ranged(start + 4096) if start else broken([http_response(IMAGE)], n, 20000),
    "no-content-range": lambda start, n: (
        [http_response(IMAGE[start:], 206)] if start else broken([http_response(IMAGE)], n, 20000)
    ),
    "another-total": lambda start, n: (
        ranged(start, total=len(IMAGE) + 1) if start else broken([http_response(IMAGE)], n, 20000)
    ),
    "416": lambda start, n: [http_response(b"", 416)] if start else broken([http_response(IMAGE)], n, 20000),
}


@pytest.mark.sweep
@pytest.mark.parametrize("case", RANGES)
def test_ranges_are_not_requested_again_after_a_wrong_reply(tmp_path, case):
    """Without ranges, this store always loses the connection; no block is erased twice, and check-ins continue."""
    world = FaultyStore(tmp_path, RANGES[case])
    _, erased, asked, checks = world.run(1800)
    assert erased <= BLOCKS and asked <= 60 and checks >= 4, (erased, asked, checks)
    assert world.rig.record()["attempt"] == 1 and "failed" not in world.states
    assert world.restore_store(2 * 3600) <= BLOCKS


WHOLE = {
    "clipped": lambda start, n: (
        ranged(start, min(start + 9999, len(IMAGE) - 1)) if start else broken([http_response(IMAGE)], n, 20000)
    ),
    "total-unsaid": lambda start, n: ranged(start, total="*") if start else broken([http_response(IMAGE)], n, 20000),
    "clipped-and-unsaid": lambda start, n: (
        ranged(start, min(start + 9999, len(IMAGE) - 1), total="*")
        if start
        else broken([http_response(IMAGE)], n, 20000)
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_short_ranges_and_ranges_without_total_are_accepted(tmp_path, case):
    """RFC 9110 allows a store to send both."""
    world = FaultyStore(tmp_path, WHOLE[case])
    run, erased, asked, checks = world.run(1800)
    assert run.slots == ["ota_0", "ota_1"] and erased == BLOCKS and asked <= 8 and checks <= 4, (erased, asked, checks)


@pytest.mark.sweep
@pytest.mark.parametrize("etag", [None, '"one"'])
def test_store_without_ranges_over_a_lossy_link_erases_no_block_twice(tmp_path, etag):
    """The beginning of each reply is compared with the slot, so each reply that reaches a later block is progress."""
    lines = [("ETag", etag)] if etag else []
    world = FaultyStore(tmp_path, lambda start, n: broken([http_response(IMAGE, 200, lines)], n))
    _, erased, asked, checks = world.run(1800)
    assert erased <= BLOCKS + 8 and asked <= 60 and checks >= 3, (erased, asked, checks)
    world.store = lambda start, n: [http_response(IMAGE)]
    run = world.run(2 * 3600)[0]
    assert run.slots == ["ota_0", "ota_1"], run.console[-1500:]


@pytest.mark.sweep
def test_range_of_a_few_bytes_does_not_count_as_progress(tmp_path):
    world = FaultyStore(
        tmp_path, lambda start, n: ranged(start, start + 99) if start else broken([http_response(IMAGE)], n, 20000)
    )
    _, erased, asked, checks = world.run(1800)
    assert erased <= BLOCKS and asked <= 60 and checks >= 4, (erased, asked, checks)
    assert world.restore_store(2 * 3600) <= BLOCKS


def test_other_file_at_the_same_url_is_downloaded_from_the_start_after_a_delay(tmp_path):
    """The slot contains the beginning of the file that the store had before."""
    other = esp.make_image(len(IMAGE), "another")
    world = FaultyStore(
        tmp_path, lambda start, n: broken([http_response(other)], n, 50000) if n == 1 else [http_response(IMAGE)]
    )
    run, erased, asked, _ = world.run(1800)
    assert run.slots == ["ota_0", "ota_1"] and BLOCKS < erased < 2 * BLOCKS and asked == 3, (
        erased,
        asked,
        run.console[-1500:],
    )
    assert "differs from block" in run.console


@pytest.mark.sweep
def test_progress_is_saved_when_a_download_is_lost(tmp_path):
    """Each connection is lost after five blocks, before the next regular save of the progress.

    The next check-in resumes after these blocks and does not erase them again.
    """
    world = FaultyStore(tmp_path, lambda start, n: broken([http_response(IMAGE)], n, 21000))
    first = world.run(300)[1]
    assert first == 5 and world.run(1800)[1] == 0
    assert world.restore_store(2 * 3600) == BLOCKS - 5


@pytest.mark.sweep
def test_release_refused_by_a_wrong_clock_is_installed_later(tmp_path):
    """NTP is a year ahead: the release is refused as expired, and installed once the clock is right."""
    rig, cloud = trusting(tmp_path / "rig", main=MAIN)
    rig.air.ntp_ahead_s = 365 * DAY
    image = rig.image(1)
    cloud.release("1.0.1", sealed(image, "1.0.1", expires=NOW + 30 * DAY))
    run = rig.run(until_s=1800)
    assert "FAILED manifest_expired" in run.console and run.slots == ["ota_0"], run.console[-1500:]
    assert [(r["state"], r["reason"]) for r in cloud.reports] == [("refused", "manifest_expired")]
    rig.air.ntp_ahead_s = 0
    run = rig.run(until_s=3 * 3600)
    assert run.slots[-1] == "ota_1" and rig.board.read_slot("ota_1") == image, run.console[-1500:]

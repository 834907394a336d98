"""Updates from packed files on the virtual board: compressed and deltas, signed and not, cuts, and refused files."""

import functools
import hashlib
import json
import random
import tempfile

import pytest
from ioto import packed
from ioto_tools.image import esp
from ioto_tools.image.pack import pack
from ioto_tools.virtual_board import Cut
from ioto_tools.virtual_board.peers import ScriptedServer, http_response
from pauses import PAUSES, gaps
from rig import MAIN, Rig, secure
from signing import pem, sealed

BLOCKS = 14
SIZE = BLOCKS * 4096 - 2048


def image(seed):
    """An image with random bytes: its packed form has several groups."""
    plain = esp.make_image(SIZE, "image %d" % seed)
    return esp.fix_checksums(plain[:8000] + random.Random(seed).randbytes(30000) + plain[38000:])


NEW = image(1)


class Store:
    """A cloud that offers NEW as the file that `file(rig)` returns, and its image store."""

    def __init__(self, folder, file, ranges=True, plain=None, **options):
        script = secure(ScriptedServer(self.answer))
        air = {"peers": {("cloud.test", 443): script, ("images.test", 443): script}}
        self.rig = Rig(folder, blocks=BLOCKS, cloud=False, air=air, network__timeout=5, **options)
        self.raw = file(self.rig)
        self.plain = plain or NEW  # what the checksum of the release is of
        self.ranges = ranges
        self.cut = None  # bytes of the file after which the first connection is lost
        self.requests = []
        self.sent = 0
        self.states, self.errors = [], []

    def answer(self, method, path, headers, body):
        if path.endswith("/register"):
            return [http_response(json.dumps({"api": "https://cloud.test", "token": "T", "registered": True}).encode())]
        if path.endswith("/updateReport"):
            said = json.loads(body)
            self.states.append((said["state"], said.get("reason")))
            return [http_response(b"{}")]
        if path.endswith("/update"):
            return [http_response(json.dumps(self.check_in(json.loads(body))).encode())]
        start = int(headers["range"][6:-1]) if "range" in headers and self.ranges else 0
        self.requests.append(start)
        self.sent += len(self.raw) - start
        if self.cut is not None and len(self.requests) == 1:
            whole = http_response(self.raw)
            return [whole[: len(whole) - len(self.raw) + self.cut], None]
        if start:
            said = [("Content-Range", "bytes %d-%d/%d" % (start, len(self.raw) - 1, len(self.raw)))]
            return [http_response(self.raw[start:], 206, said)]
        return [http_response(self.raw)]

    def check_in(self, said):
        self.errors.append(said.get("error"))
        self.accepts = said["accepts"]
        if said["version"] == "1.0.1":
            return {}
        return {
            "url": "https://images.test/i", "checksum": hashlib.sha256(self.plain).hexdigest(), "update": "U",
            "version": "1.0.1", "size": len(self.raw),
        }  # fmt: skip

    def slot_erases(self, run):
        slot = self.rig.board.partition("ota_1")
        return [op[1] for op in run.trace.ops if op[0] == "erase" and slot.address <= op[1] < slot.address + slot.size]

    def run(self, **limits):
        limits.setdefault("until_s", 600)
        run = self.rig.run(stop=lambda line: line.startswith("CONFIRMED"), **limits)
        assert "Traceback" not in run.console, run.console[-1500:]
        return run

    def check_installed(self, run):
        assert run.slots[-1] == "ota_1" and self.rig.board.read_slot("ota_1") == NEW, run.console[-1500:]


def delta(rig):
    return pack(NEW, rig.first)


@functools.cache
def release():
    return sealed(NEW, "1.0.1")


def signed(rig):
    return release()[:4096] + delta(rig)


SIGNED = {"update__keys": ["key.pem"], "files": {"key.pem": pem("ours")}}
KINDS = {
    "compressed": (lambda rig: pack(NEW), {}),
    "signed delta": (signed, SIGNED),
}


@pytest.mark.sweep
def test_signed_delta_on_a_board_without_keys(tmp_path):
    """The checksum is that of the signed release which is not packed."""
    store = Store(tmp_path, signed, plain=release())
    store.check_installed(store.run())


@pytest.fixture(autouse=True)
def short_groups(monkeypatch):
    monkeypatch.setattr("ioto_tools.image.pack.GROUP_BLOCKS", 3)


@pytest.mark.parametrize("kind", KINDS)
def test_update_from_a_packed_file(tmp_path, kind):
    file, options = KINDS[kind]
    store = Store(tmp_path, file, **options)
    run = store.run()
    store.check_installed(run)
    assert len(store.slot_erases(run)) == BLOCKS and store.requests == [0]


def offsets(raw, skip):
    """Offsets in the file at which a group starts."""
    at = skip + packed.HEADER_BYTES
    while at < len(raw):
        starts, control, differences = packed.sizes(raw[at : at + 4])
        if starts:
            yield at
        at += 4 + control + differences


def places(raw, skip):
    """Offsets of each block in the file, and whether a group starts there."""
    at = skip + packed.HEADER_BYTES
    while at < len(raw):
        starts, control, differences = packed.sizes(raw[at : at + 4])
        yield at, starts
        at += 4 + control + differences


def check_cut(folder, at, ranges=True):
    """The connection is lost after `at` bytes: no block is erased twice, and the download resumes at a group."""
    store = Store(folder, signed, ranges, **SIGNED)
    store.cut = at
    run = store.run()
    store.check_installed(run)
    assert len(store.slot_erases(run)) == len(set(store.slot_erases(run))) == BLOCKS, at
    resumed = [place for place, starts in places(store.raw, 4096) if starts and place + 4 <= at]
    blocks = [place for place, _ in places(store.raw, 4096) if place <= at]
    # Without a block in the slot, the file is fetched from its start.
    assert store.requests == [0, resumed[-1] if ranges and len(blocks) > 1 else 0], (at, store.requests)


@pytest.mark.sweep
def test_lost_connection_resumes_at_a_group(tmp_path):
    store = Store(tmp_path / "first", signed, **SIGNED)
    found = list(places(store.raw, 4096))
    groups = [at for at, starts in found if starts]
    assert len(groups) > 3
    check_cut(tmp_path / "a", groups[2] + 700)
    check_cut(tmp_path / "b", found[5][0] + 1)
    check_cut(tmp_path / "c", found[7][0] + 1, ranges=False)


@pytest.mark.sweep
@pytest.mark.parametrize("ranges", [True, False])
def test_connection_lost_around_every_block(tmp_path, ranges):
    store = Store(tmp_path / "first", signed, **SIGNED)
    cuts = {0, 100, 4095, 4096, 4097, 4096 + 87}
    for at, _ in places(store.raw, 4096):
        cuts |= {at - 1, at, at + 1, at + 4, at + 300}
    for at in sorted(cut for cut in cuts if cut < len(store.raw)):
        check_cut(tmp_path / str(at), at, ranges)


def check_refused(folder, reason, file, **options):
    store = Store(folder, file, **options)
    before = store.rig.board.read_slot("ota_1")
    run = store.run(until_s=300)
    assert (store.slot_erases(run), store.rig.board.read_slot("ota_1")) == ([], before), reason
    assert run.slots[-1] == "ota_0" and (("refused", reason) in store.states or reason in store.errors), store.states
    return store


@pytest.mark.sweep
def test_refused_before_the_first_erase(tmp_path):
    other = image(2)

    def of_another_base(rig):
        changed = bytearray(rig.first)
        changed[-1] ^= 1
        return pack(NEW, bytes(changed))

    check_refused(tmp_path / "base", "base_mismatch", of_another_base)
    check_refused(tmp_path / "version", "packed_malformed", lambda rig: b"IOTO-PAK\2" + delta(rig)[9:])
    check_refused(tmp_path / "unsigned", "unsigned", delta, **SIGNED)
    check_refused(
        tmp_path / "mixed", "manifest_mismatch", lambda rig: signed(rig)[:4096] + pack(other, rig.first), **SIGNED
    )
    check_refused(tmp_path / "long", "size_mismatch", lambda rig: delta(rig) + b"?")
    check_refused(tmp_path / "large", "size_too_large", lambda rig: pack(NEW + bytes(70000)))


@pytest.mark.sweep
def test_damage_inside_never_boots(tmp_path):
    """A changed byte in the middle: refused, and after a delay the whole image, or a good file, is installed."""
    store = Store(tmp_path, delta)
    good = store.raw
    store.raw = good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 0x55]) + good[len(good) // 2 + 1 :]
    run = store.run(until_s=100)
    assert run.slots[-1] == "ota_0", run.console[-800:]
    store.raw = good
    store.check_installed(store.run(until_s=1200))


@pytest.mark.sweep
def test_whole_image_after_a_failed_packed_file(tmp_path):
    store = Store(tmp_path, lambda rig: pack(NEW, NEW))
    run = store.run(until_s=100)
    assert run.slots[-1] == "ota_0" and ("refused", "base_mismatch") in store.states or "base_mismatch" in store.errors
    store.raw = NEW
    store.check_installed(store.run(until_s=1200))


@pytest.mark.sweep
def test_longest_pause_of_another_task(tmp_path):
    """As of a raw download: one erase, and the work around it."""
    store = Store(tmp_path, signed, main=PAUSES, **SIGNED)
    run = store.rig.run(until_s=40)
    store.check_installed(run)
    found = gaps(run)
    print("longest pauses in ms:", found)
    assert len(found) > 2 and max(found.values()) <= 60, found


WITHOUT_DEFLATE = """
import builtins
original = builtins.__import__

def without(name, *more):
    if name == "deflate":
        raise ImportError(name)
    return original(name, *more)

builtins.__import__ = without
"""


@pytest.mark.sweep
def test_a_port_without_deflate_accepts_only_whole_images(tmp_path):
    store = Store(tmp_path, lambda rig: NEW, main=WITHOUT_DEFLATE + MAIN)
    store.check_installed(store.run())
    assert store.accepts == ["raw"]


UNREADABLE = """
import esp32
readblocks = esp32.Partition.readblocks

def failing(self, n, buf, offset=0):
    if self.info()[4] == "ota_0" and n > 1:
        raise OSError(5)
    readblocks(self, n, buf, offset)

esp32.Partition.readblocks = failing
"""


@pytest.mark.sweep
def test_a_base_that_cannot_be_read_is_no_lost_connection(tmp_path):
    store = Store(tmp_path, delta, main=UNREADABLE + MAIN)
    store.run(until_s=100)
    assert ("refused", "base_mismatch") in store.states or "base_mismatch" in store.errors
    store.raw = NEW
    store.check_installed(store.run(until_s=1200))


@functools.cache
def operations():
    """The flash operations of an update from a delta, without a cut."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, signed, **SIGNED)
        run = store.run()
        return run.trace.ops, store.rig.board.partition("ota_1").address


def cut_power(folder, op, when):
    """Cut the power once; the update completes, the old image is intact until then, and no unverified image runs."""
    store = Store(folder, signed, **SIGNED)
    replay = "Cut(%d, %r)" % (op, when)
    cut = store.run(cut=Cut(op, when))
    assert set(cut.slots) <= {"ota_0", "ota_1"} and store.rig.board.read_slot("ota_0") == store.rig.first, replay
    for _ in range(4):
        if cut.slots[-1] == "ota_1":
            break
        cut = store.run()
    assert cut.slots[-1] == "ota_1" and store.rig.board.read_slot("ota_1") == NEW, (replay, cut.console[-1500:])
    store.rig.board.close()
    return store


def test_download_resumes_after_a_power_cut(tmp_path):
    """After 12 blocks, the download resumes at the group that has block 12."""
    ops, address = operations()
    erases = [n for n, op in enumerate(ops) if op[0] == "erase" and op[1] == address + 12 * 4096]
    store = cut_power(tmp_path, erases[0], "during")
    groups = [at for at, starts in list(places(store.raw, 4096))[:13] if starts]
    assert store.requests == [0, groups[-1]], (store.requests, groups)


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_power_cuts(tmp_path, when):
    ops, _ = operations()
    for op in range(("before", "during", "after").index(when) * 20, len(ops), 60):
        (tmp_path / str(op)).mkdir()
        cut_power(tmp_path / str(op), op, when)


@pytest.mark.sweep
@pytest.mark.parametrize("shard", [0, 3])
@pytest.mark.parametrize("when", ["during", "after"])
def test_power_cut_at_a_quarter_of_the_operations(tmp_path, when, shard):
    """All shards, 0 to 7, take too long for each run; test_power_cuts.py cuts a raw download at every operation."""
    ops, _ = operations()
    for op in range(shard, len(ops), 8):
        (tmp_path / str(op)).mkdir()
        cut_power(tmp_path / str(op), op, when)

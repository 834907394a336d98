"""The decoder for boards, on CPython and on MicroPython: the same results as the host's, and hostile files."""

import hashlib
import importlib.util
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from ioto import packed, unpack
from ioto_tools.image import unpack as host
from ioto_tools.image.pack import PackError, pack
from packed_pairs import KINDS, etboard, pair

from tests.packed import recipe, run_unpack

ROOT = Path(__file__).parent.parent.parent
HEADER = packed.HEADER_BYTES
MICROPYTHON = Path(sys.executable).parent / "micropython"


class Cases:
    """Files to decode on both interpreters."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = []

    def add(self, raw, base, changes=((None, -1, 0),)):
        """Decode `raw` with each of the changes: (length, position of a changed byte, its value)."""
        number = len(self.lines)
        for name, content in (("%d.raw" % number, raw), ("%d.base" % number, base)):
            (self.folder / name).write_bytes(content)
        for length, at, byte in changes:
            length = len(raw) if length is None else length
            self.lines.append("%d.raw %d.base %d %d %d" % (number, number, length, at, byte))

    def run(self):
        """[(SHA-256, bytes, reason)] on CPython and on MicroPython."""
        (self.folder / "cases").write_text("".join(line + "\n" for line in self.lines))
        here = [tuple(line.split()) for line in run_unpack.run(str(self.folder))]
        command = [MICROPYTHON, "-X", "heapsize=32m", run_unpack.__file__, ROOT / "lib", self.folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert not done.returncode, done.stdout[-1000:] + done.stderr[-3000:]
        there = [tuple(line.split()) for line in done.stdout.splitlines()]
        assert len(here) == len(there) == len(self.lines)
        return here, there


@pytest.fixture
def cases(tmp_path):
    return Cases(tmp_path)


def done(new):
    return (hashlib.sha256(new).hexdigest(), str(len(new)), "done")


def check_pairs(cases, numbers):
    wanted = []
    for number in numbers:
        _, base, new = pair(number)
        raw = pack(new, base)
        cases.add(raw, base)
        wanted.append(done(new))
    here, there = cases.run()
    assert here == wanted and there == wanted


def test_same_results_as_the_host_for_each_kind(cases):
    check_pairs(cases, range(len(KINDS)))


@pytest.mark.sweep
@pytest.mark.parametrize("hundred", range(10))
def test_same_results_as_the_host_for_a_thousand_pairs(cases, hundred):
    check_pairs(cases, range(100 * hundred, 100 * hundred + 100))


@pytest.mark.sweep
def test_real_images(cases):
    base, new = etboard()
    for raw, old in ((pack(new, base), base), (pack(new), b"")):
        cases.add(raw, old)
    here, there = cases.run()
    assert here == there == [done(new)] * 2


def test_a_decoder_can_start_at_each_group():
    _, base, new = pair(126)
    new = new + random.Random(10).randbytes(40000) + new[:6000]
    for old in (base, b""):
        raw = pack(new, old)
        run_unpack.groups.clear()
        assert run_unpack.decode(raw, old).endswith("done")
        assert len(run_unpack.groups) > 2
        for n, at in sorted(run_unpack.groups):
            assert tuple(run_unpack.decode(raw, old, (n, at)).split()) == done(new[n * packed.BLOCK :]), (n, at)


@pytest.fixture(scope="module")
def small():
    """A delta of three groups in few bytes; the second has no differences."""
    rng = random.Random(7)
    base = rng.randbytes(300) * 30
    new = bytes(byte + 3 & 255 for byte in base[:5000]) + bytes(12000) + rng.randbytes(400) + base[5000:7000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ioto_tools.image.pack.GROUP_BLOCKS", 2)
        raw = pack(new, base)
    groups = [packed.sizes(raw[at : at + 4])[0] for at in starts_of_blocks(raw)]
    assert groups == [True, False, True, False, True]
    return raw, base, new


def starts_of_blocks(raw):
    at = HEADER
    while at < len(raw):
        yield at
        at += 4 + sum(packed.sizes(raw[at : at + 4])[1:])


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.sweep)])
def test_truncation_at_any_byte(cases, small, step):
    raw, base, new = small
    lengths = range(0, len(raw), step)
    cases.add(raw, base, [(length, -1, 0) for length in lengths])
    for results in cases.run():
        for length, (sha, made, reason) in zip(lengths, results, strict=True):
            assert reason == ("packed_malformed" if length < HEADER else "short"), (length, reason)
            assert sha == hashlib.sha256(new[: int(made)]).hexdigest(), length


@pytest.mark.sweep
def test_any_changed_byte_is_noticed(cases, small):
    raw, base, new = small
    rng = random.Random(8)
    cases.add(raw, base, [(None, at, raw[at] ^ 1 << rng.randrange(8)) for at in range(len(raw))])
    refusals = set()
    for results in cases.run():
        for at, (sha, made, reason) in enumerate(results):
            assert int(made) <= len(new) or 12 <= at < 16, at
            refusals.add(reason)
            # A bit that no decoder uses, such as the padding in front of a flush, does no harm.
            assert reason != "done" or sha == hashlib.sha256(new).hexdigest() and at >= HEADER, at
    assert refusals > {"packed_malformed", "base_mismatch", "checksum_mismatch"}


@pytest.mark.sweep
def test_random_damage_never_passes(cases):
    """Thousands of damaged files: no other exception, no other result, no byte outside of the base is read."""
    rng = random.Random(9)
    wanted = []
    for number in range(60):
        _, base, new = pair(number)
        raw = pack(new, base)
        places = [rng.randrange(len(raw)) for _ in range(20)]
        cases.add(raw, base, [(None, at, raw[at] ^ 1 << rng.randrange(8)) for at in places])
        wanted += [hashlib.sha256(new).hexdigest()] * len(places)
    for results in cases.run():
        for line, sha, (found, _, reason) in zip(cases.lines, wanted, results, strict=True):
            assert reason != "done" or sha == found, line


def test_a_base_that_differs_by_one_bit(cases, small):
    raw, base, _ = small
    for at in (0, 4095, 4096, len(base) - 1):
        other = bytearray(base)
        other[at] ^= 0x10
        cases.add(raw, bytes(other))
    cases.add(raw, base[:-1])
    cases.add(raw, b"")
    cases.add(raw, base + b"\0", [(None, -1, 0)])
    for results in cases.run():
        # A longer base is a slot with other bytes after its image.
        assert [(made, reason) for _, made, reason in results[:6]] == [("0", "base_mismatch")] * 6
        assert results[6][2] == "done"


# ---- crafted files: valid deflate, but its content lies


def stream(content, wbits=12, end=b""):
    deflate = zlib.compressobj(9, zlib.DEFLATED, -wbits, 9)
    return (deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4] + end


def control(numbers, new=b"", **more):
    operations = b"".join(map(packed.build_number, numbers))
    return stream(len(operations).to_bytes(2, "big") + operations + new, **more)


def crafted(*blocks, size=None, base=b"", body=0, starts=None):
    """A file of (control, differences) for each block."""
    raw = b"".join(
        packed.build_sizes(starts is None and not n or n == starts, len(a), len(b)) + a + b
        for n, (a, b) in enumerate(blocks)
    )
    size = size or 4096 * len(blocks)
    sha = hashlib.sha256(base).digest() if base else bytes(32)
    return packed.build(size, bytes(range(32)), len(base), sha, len(raw) + body) + raw


BASE = bytes(range(256)) * 40
ZEROS = stream(bytes(4096), 11)
COPY = control((0, 4096, 0))
NEW = control((), bytes(4096))
HOSTILE = {
    "copy beyond the base": crafted((control((0, 4096, 2 * 6145)), ZEROS), base=BASE),
    "copy before the base": crafted((control((0, 4096, 1)), ZEROS), base=BASE),
    "copy without a base": crafted((COPY, ZEROS)),
    "copy beyond the block": crafted((control((0, 4097, 0)), stream(bytes(4097), 11)), base=BASE),
    "copy of nothing": crafted((control((0, 0, 0), bytes(4096)), b""), base=BASE),
    "half an operation": crafted((control((0, 4096)), ZEROS), base=BASE),
    "too many operations": crafted((control((1, 1, 0) * 171, bytes(4096)), ZEROS), base=BASE),
    "endless number": crafted((stream(b"\0\7\0\1" + b"\xff" * 5 + bytes(4095)), ZEROS), base=BASE),
    "no input": crafted((b"", b"")),
    "no differences": crafted((COPY, b""), base=BASE),
    "differences too short": crafted((COPY, stream(bytes(4095), 11)), base=BASE),
    "new bytes too short": crafted((control((), bytes(4095)), b"")),
    "differences that no copy needs": crafted((NEW, stream(bytes(9), 11)), base=BASE),
    "input that no block needs": crafted((control((), bytes(4096), end=b"\0\0\xff\xff"), b"")),
    "input of the next block": crafted((control((), bytes(4096)) + b"\0\0\xff\xff" + NEW, b""), (NEW, b"")),
    "a bomb": crafted((stream(bytes(4 << 20))[:4352], b"")),
    "a final deflate block": crafted((zlib.compress(bytes(102), 9, -12), b"")),
    "an invalid deflate block": crafted((b"\7" * 50, b"")),
    "a distance before the start": crafted((bytes.fromhex("4b04420000"), b"")),
    "a window that is too large": crafted((stream(b"\0\0" + random.Random(1).randbytes(4095) * 2, 15)[:4352], b"")),
    "no group": crafted((NEW, b""), starts=1),
    "more blocks than bytes": crafted((NEW, b""), size=8192),
    "a body that is too long": crafted((NEW, b""), body=1),
    "a body that is too short": crafted((NEW, b""), body=-1),
    "a wrong hash": crafted((NEW, b"")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    base = BASE if any(HOSTILE[name][56:HEADER]) else b""
    _, made, reason = run_unpack.decode(HOSTILE[name], base).split()
    late = {"a wrong hash": ("4096", "checksum_mismatch"), "more blocks than bytes": ("4096", "short")}
    assert (made, reason) == late.get(name, ("0", "packed_malformed"))


def test_hostile_files_are_refused_on_micropython(cases):
    for raw in HOSTILE.values():
        cases.add(raw, BASE if any(raw[56:HEADER]) else b"")
    here, there = cases.run()
    for name, one, other in zip(HOSTILE, here, there, strict=True):
        assert "done" not in (one[2], other[2]), name
        if "deflate" not in name and "window" not in name and "distance" not in name:
            assert one[1:] == other[1:], name


def test_inputs_of_the_fuzzer(cases):
    """Both decoders agree on each input, and the one for boards does the same on MicroPython."""
    reasons = set()
    for data in recipe.corpus():
        reasons.add(recipe.check(data))
        cases.add(*recipe.packed_file(data))
    here, there = cases.run()
    assert here == there
    assert reasons == {"packed_malformed", "base_mismatch", "size_mismatch", "short", "checksum_mismatch"}


@pytest.mark.sweep
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris has no wheel for this machine")
def test_fuzzing(tmp_path):
    command = [sys.executable, "-m", "tests.packed.fuzz", "-atheris_runs=20000", "-seed=1", "-max_len=400"]
    command.append("-artifact_prefix=%s/" % tmp_path)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert not done.returncode and "Done 20000" in done.stderr, done.stderr[-3000:]


def test_surplus_in_a_stream_is_refused_by_the_host():
    """A board can notice it only by the result: see docs/formats.md."""
    for raw in (crafted((control((), bytes(4097)), b"")), crafted((NEW + b"\1\0", b"")), crafted((NEW[:-1], b""))):
        with pytest.raises(PackError, match="more than its blocks use|invalid stored block"):
            host.unpack(raw)
    with pytest.raises(PackError, match="does not need . of its bytes"):
        host.unpack(HOSTILE["input that no block needs"])


def test_adding_differences_is_modulo_256():
    one, other = bytearray(range(256)), bytes(range(0, 512, 2)[i] & 255 for i in range(256))
    for add in (unpack._plain, unpack._adder()):
        raw = bytearray(one)
        add(memoryview(raw)[3:200], memoryview(other)[3:200], 197)
        assert raw == bytes((one[i] + other[i]) & 255 if 3 <= i < 200 else one[i] for i in range(256))

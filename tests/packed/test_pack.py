"""`ioto pack` and `ioto unpack`: exact round trips, sizes, signed files, and refused files."""

import hashlib
import random
import re
import tracemalloc
import zlib

import pytest
from click.testing import CliRunner
from ioto import packed
from ioto_command import command
from ioto_tools.cli import main
from ioto_tools.image import esp, keys, matches
from ioto_tools.image.pack import GROUP_BYTES, PackError, pack
from ioto_tools.image.unpack import unpack
from packed_pairs import KINDS, etboard, pair

HEADER = packed.HEADER_BYTES


def check_pair(number):
    kind, base, new = pair(number)
    raw = pack(new, base)
    assert unpack(raw, base) == new, "pair %d, %s" % (number, kind)
    check_groups(raw)
    return len(raw)


def check_groups(raw):
    """The bytes of each group; each is at most GROUP_BYTES or a single block."""
    at, groups = HEADER, []
    while at < len(raw):
        starts, control, differences = packed.sizes(raw[at : at + 4])
        if starts:
            groups.append([0, 0])
        groups[-1][0] += 4 + control + differences
        groups[-1][1] += 1
        at += 4 + control + differences
    assert at == len(raw) and all(size <= GROUP_BYTES or count == 1 for size, count in groups), groups
    return groups


def test_round_trips_of_each_kind():
    for number in range(2 * len(KINDS)):
        check_pair(number)


@pytest.mark.sweep
@pytest.mark.parametrize("hundred", range(10))
def test_round_trips_of_a_thousand_pairs(hundred):
    for number in range(100 * hundred, 100 * hundred + 100):
        check_pair(number)


@pytest.mark.sweep
def test_sizes_for_two_builds_of_a_real_product():
    base, new = etboard()
    assert (len(base), len(new)) == (1427216, 1495344)
    progress = []
    delta = pack(new, base, lambda *numbers: progress.append(numbers))
    whole = pack(new)
    assert unpack(delta, base) == new == unpack(whole)
    assert len(delta) <= 335000 and len(whole) <= 1006000, (len(delta), len(whole))
    assert progress[-1] == (len(new), len(new)) and progress == sorted(progress)
    assert len(check_groups(delta)) < 40 and len(check_groups(whole)) < 70


@pytest.mark.sweep
def test_size_for_one_changed_frozen_module():
    """12 KB change in the constant data, where frozen modules are."""
    _, base = etboard()
    rng = random.Random(1)
    at = base.index(b"neopixel.py") & ~3  # among the names of the frozen modules
    new = bytearray(base)
    for start in range(at, at + 12000, 8):
        new[start : start + rng.randrange(8)] = rng.randbytes(rng.randrange(8))
    delta = pack(bytes(new), base)
    assert unpack(delta, base) == new and len(delta) <= 0.03 * len(new), len(delta)


def test_equal_images_take_a_few_bytes_for_each_block():
    base = random.Random(3).randbytes(40 * 4096)
    assert len(pack(base, base)) < HEADER + 40 * 16


def test_invalid_sizes_are_refused():
    with pytest.raises(PackError, match="the image is empty"):
        pack(b"")
    with pytest.raises(PackError, match="the base has 67108865 bytes, at most 67108864"):
        pack(b"a", bytes((1 << 26) + 1))


def test_matches_are_those_of_the_diff():
    base, new = random.Random(4).randbytes(3000), random.Random(5).randbytes(100)
    found = matches.find(base, new + base[:2000] + new + base[1500:])
    assert matches.Match(0, 100, 2000) in found and found[-1].new + found[-1].length == 3700
    for raw in (b"", b"hI\1\0", b"hI\0\11\5\0"):
        with pytest.raises((ValueError, IndexError)):
            matches.parse(raw, 5)


@pytest.fixture(scope="module")
def delta():
    _, base, new = pair(126)
    return pack(new, base), base, new


def test_truncated_files_are_refused(delta):
    raw, base, _ = delta
    for n in [*range(HEADER + 60), *range(HEADER + 60, len(raw), 997), len(raw) - 1]:
        with pytest.raises(PackError):
            unpack(raw[:n], base)
    with pytest.raises(PackError, match="its header says"):
        unpack(raw + b"\0", base)


def test_every_changed_bit_is_noticed(delta):
    raw, base, new = delta
    rng = random.Random(6)
    for at in [*range(12, HEADER + 20, 3), *(rng.randrange(HEADER, len(raw)) for _ in range(20))]:
        damaged = bytearray(raw)
        damaged[at] ^= 1 << rng.randrange(8)
        with pytest.raises(PackError):
            unpack(bytes(damaged), base)


def test_a_small_file_cannot_fill_the_memory():
    """Each block's input could make 4 MiB, of which its block uses a few bytes."""
    block = zlib.compress(bytes(1 << 22), 9, -12)
    body = b"".join(packed.build_sizes(not n, len(block), 0) + block for n in range(8))
    raw = packed.build(8 * packed.BLOCK, bytes(32), 0, bytes(32), len(body)) + body
    tracemalloc.start()
    try:
        with pytest.raises(PackError):
            unpack(raw)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_another_file_is_not_called_corrupt(delta):
    for raw in (b"", b"text", delta[1]):
        with pytest.raises(PackError, match="^not a packed file: `ioto pack` makes one$"):
            unpack(raw)


def test_another_base_is_refused(delta):
    raw, base, _ = delta
    changed = bytearray(base)
    changed[len(base) // 2] ^= 1
    for other in (b"", bytes(changed), base + b"\0", base[:-1]):
        with pytest.raises(PackError, match=hashlib.sha256(base).hexdigest()):
            unpack(raw, other)


@pytest.mark.sweep
def test_commands_pack_signed_releases(tmp_path):
    """The packed file of a signed release begins with its envelope, and unpacks to the signed release."""
    private, key = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    keys.create_file(key, keys.public_bytes(keys.create(private, b"").public_key()), 0o644)
    for version in ("1.0.0", "1.0.1", "1.0.2"):
        image = tmp_path / (version + ".bin")
        image.write_bytes(esp.make_image(20000 + 1600 * int(version[-1]), version))
        run = command("ioto", "sign", image, "--key", private, "--product", "P1", "--version", version)
        assert not run.returncode, run.stderr
    new, old, older = (tmp_path / ("1.0.%d.bin.signed" % n) for n in (2, 1, 0))
    run = command("ioto", "pack", new, "-o", tmp_path / "whole.packed")
    assert re.match(r"\S+whole.packed: \d+ bytes, \d+\.\d % of the image's 27296\n$", run.stdout), (
        run.stdout,
        run.stderr,
    )
    assert (tmp_path / "whole.packed").read_bytes()[:4096] == new.read_bytes()[:4096]
    run = command("ioto", "pack", new, "--base", old, "--base", older, "-o", tmp_path / "delta.packed")
    assert not run.returncode, run.stderr
    for base in (old, older):
        file = tmp_path / ("delta-%s.packed" % hashlib.sha256(base.read_bytes()[4096:]).hexdigest()[:8])
        run = command("ioto", "unpack", file, "--base", base, "-o", tmp_path / "out")
        assert not run.returncode and (tmp_path / "out").read_bytes() == new.read_bytes(), run.stderr
    run = command("ioto", "unpack", file, "--base", old, "-o", tmp_path / "other")
    assert run.returncode == 1 and "made for another base: give the image with the SHA-256" in run.stderr
    assert not (tmp_path / "other").exists()
    run = command("ioto", "pack", file, "-o", tmp_path / "twice")
    assert run.returncode == 1 and "already packed: give the image that it was made from" in run.stderr
    damaged = tmp_path / "damaged"
    damaged.write_bytes(new.read_bytes()[:-1] + b"x")
    run = command("ioto", "pack", damaged, "-o", tmp_path / "never")
    assert run.returncode == 1 and "not the image that its manifest was signed for" in run.stderr
    assert not (tmp_path / "never").exists()


def test_an_output_in_a_missing_folder_is_refused_at_once(tmp_path):
    image = tmp_path / "new.bin"
    image.write_bytes(esp.make_image(1024, "a"))
    out = tmp_path / "missing" / "file"
    for words in (
        ["pack", image], ["unpack", image], ["image", image],
        ["sign", image, "--key", image, "--product", "p", "--version", "1.0.0"],
    ):  # fmt: skip
        run = CliRunner().invoke(main, [*map(str, words), "--output", str(out)])
        assert run.exit_code == 2, run.output
        assert "%s: there is no folder %s: create it first" % (out, out.parent) in run.stderr.replace("\n", "")

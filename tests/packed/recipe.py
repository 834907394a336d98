"""Packed files made from a few bytes, for fuzzing: the decoder for boards and the host's must agree on each.

Random bytes are no valid deflate. Therefore, the bytes describe the content of the streams, and a damage.
"""

import io
import struct
from hashlib import sha256
from pathlib import Path

from ioto import packed
from ioto_tools.image.pack import PackError, _deflate
from ioto_tools.image.unpack import unpack

from tests.packed import run_unpack

CORPUS = Path(__file__).parent / "corpus.txt"
BASE = bytes(range(256)) * 40
HAS_BASE, IS_BODY, IS_FILE = 1, 2, 4
SURPLUS = "corrupt: a stream has more than its blocks use"
_START = ">BHHBb"  # flags, size of the image, place of a damage and its bits, error in the length of the body
_BLOCK = ">BBbHH"  # starts a group, bytes of operations, error in their number, new bytes, differences
_MOST = 5000  # new bytes or differences of one block


def check(data):
    """Decode the file that `data` describes with both decoders. AssertionError if they differ.

    Only the host notices a surplus at the end of a group: a board would need a new decoder for each group.
    """
    raw, base = packed_file(data)
    sha, _, reason = run_unpack.decode(raw, base).split()
    is_made = reason in ("done", "checksum_mismatch")
    if is_made and len(raw) != packed.HEADER_BYTES + packed.parse(raw[: packed.HEADER_BYTES])[4]:
        is_made, reason = False, "size_mismatch"  # packed_file.py compares it with the length of the reply
    if is_made:
        raw = raw[:24] + bytes.fromhex(sha) + raw[56:]
    found = error = ""
    try:
        found = sha256(unpack(raw, base)).hexdigest()
    except PackError as e:
        error = str(e)
    if is_made:
        assert found == sha or error == SURPLUS, error
    else:
        assert error and "another SHA-256" not in error, (reason, error)
    return reason


def packed_file(data):
    """(packed file with another SHA-256 of its result, base) as `data` describes them."""
    source = io.BytesIO(data.ljust(struct.calcsize(_START), b"\0"))
    flags, size, at, bits, error = struct.unpack(_START, source.read(struct.calcsize(_START)))
    base = BASE if flags & HAS_BASE else b""
    if flags & IS_FILE:
        return source.read(), base
    body = bytearray(source.read() if flags & IS_BODY else _body(source))
    if body:
        body[at % len(body)] ^= bits
    base_sha = sha256(base).digest() if base else bytes(32)
    return packed.build(size, bytes(32), len(base), base_sha, max(0, len(body) + error)) + body, base


def _body(source):
    groups = []
    while len(head := source.read(struct.calcsize(_BLOCK))) == struct.calcsize(_BLOCK):
        starts, count, error, new, differences = struct.unpack(_BLOCK, head)
        operations = source.read(count)
        control = max(0, len(operations) + error).to_bytes(2, "big") + operations
        if starts & 1 or not groups:
            groups.append(([], []))
        groups[-1][0].append(control + _filling(source, new))
        groups[-1][1].append(_filling(source, differences))
    return b"".join(_group(*group) for group in groups)


def _filling(source, n):
    """`n` bytes: some of the source, repeated."""
    return (source.read(min(n, 5)).ljust(1, b"\0") * n)[: min(n, _MOST)]


def _group(control, differences):
    parts = _deflate(control, packed.WBITS[0], True), _deflate(differences, packed.WBITS[1], True)
    return b"".join(
        packed.build_sizes(not n, len(a), len(b)) + a + b for n, (a, b) in enumerate(zip(*parts, strict=True))
    )


def corpus():
    """Inputs that the fuzzer found, each of which takes another way through the decoders."""
    return [bytes.fromhex(line) for line in CORPUS.read_text().split()]

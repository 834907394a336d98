"""Whatever is damaged in a signed release, or in the key: it is refused with a reason, and nothing else happens."""

import hashlib
import io
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from ioto import pss, release
from ioto.errors import REASONS, UpdateError
from ioto_tools.image import keys
from ioto_tools.image import release as host

BOARD = {"product": "P1", "offered": "1.2.0", "version": "1.0.0", "chip": None, "image": None, "now": None, "floor": ""}


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    image = tmp_path_factory.mktemp("image") / "image.bin"
    image.write_bytes(b"image")
    private = rsa.generate_private_key(65537, 2048)
    out = io.BytesIO()
    host.sign(image, out, private, "P1", "1.2.0", any_file=True)
    return out.getvalue()[: release.ENVELOPE_BYTES], keys.public_bytes(private.public_key(), der=True)


def decided(block, der):
    """The manifest as the agent would take it, or the reason why not."""
    try:
        key = pss.public_key(der)
        found = release.unwrap(block)
        for _ in release.verify(found, [key]):
            pass
        said = release.parse(found[0])
        release.check(said, **BOARD)
        return said
    except UpdateError as e:
        assert e.reason in REASONS
        return e.reason
    except ValueError as e:  # of the key: the configuration is refused
        return str(e)


def damaged(rng, raw, first, last):
    """`raw` with one to three changes between two offsets: a bit, a byte, one less, one more, two exchanged, cut off."""
    raw = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(raw) <= first:
            break
        at = rng.randrange(first, min(last, len(raw)))
        kind = rng.randrange(6)
        if kind == 0:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            raw[at] = rng.randrange(256)
        elif kind == 2:
            del raw[at]
        elif kind == 3:
            raw.insert(at, rng.randrange(256))
        elif kind == 4:
            other = rng.randrange(first, min(last, len(raw)))
            raw[at], raw[other] = raw[other], raw[at]
        elif rng.randrange(20) == 0:
            del raw[max(at, first + 1) :]
    return bytes(raw)


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.sweep)])
def test_no_corruption_is_accepted(signed, count):
    block, der = signed
    good = decided(block, der)
    assert good["product"] == "P1"
    rng = random.Random(count)
    end = 12 + int.from_bytes(block[8:10], "big") + int.from_bytes(block[10:12], "big")
    parts = ((0, 12), (8, 12), (12, end - 256), (end - 256, end), (0, 4096))
    told = {}
    for n in range(count):
        if n % 6 == 5:
            bad, bad_key = block, damaged(rng, der, 0, len(der))
        else:
            bad, bad_key = damaged(rng, block, *parts[n % 6]), der
        if (bad, bad_key) == (block, der):
            continue
        found = decided(bad, bad_key)
        # A key may be damaged where it says nothing: in the unused parameters of its algorithm.
        assert isinstance(found, str) or pss.public_key(bad_key) == pss.public_key(der) and bad == block, (n, bad.hex(), bad_key.hex())
        told[found if isinstance(found, str) else "key"] = told.get(found if isinstance(found, str) else "key", 0) + 1
    assert {"signature_invalid", "manifest_malformed", "unsigned"} <= set(told), told
    print(hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:8], told)

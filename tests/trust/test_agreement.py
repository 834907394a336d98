"""The signature check agrees with `cryptography`, on CPython and on the unix port."""

import hashlib
import random
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from ioto import pss
from ioto_tools.image import keys
from loopback import LIB, MICROPYTHON
from test_pss import damaged, made, signed

SALTS = (32,) * 8 + (0, 1, 20, 31, 33, 48, 64, 100)


def judged(public, signature, message):
    """Does `cryptography` accept the signature, with a salt of 32 bytes?"""
    try:
        public.verify(signature, message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return True
    except InvalidSignature:
        return False


def cases(sizes, each, rng):
    """Yield (public key in DER, digest, signature, is the signature valid?) for each case."""
    for private in made(sizes):
        public = private.public_key()
        der = keys.public_bytes(public, der=True)
        for _ in range(each):
            message = rng.randbytes(rng.randrange(2000))
            signature = signed(private, message, rng.choice(SALTS))
            if rng.randrange(3) == 0:
                signature = damaged(rng, signature)
            yield der, hashlib.sha256(message).digest(), signature, judged(public, signature, message)


@pytest.mark.parametrize(
    "sizes, each",
    [((2048, 2053, 3072), 12), pytest.param(tuple(range(2048, 4097, 131)) + (3072, 4096), 60, marks=pytest.mark.sweep)],
)
def test_pss_agrees_with_cryptography(sizes, each):
    found = list(cases(sizes, each, random.Random(each)))
    wanted = [verdict for *_, verdict in found]
    assert 0.15 < sum(wanted) / len(wanted) < 0.6
    assert [
        list(pss.verify(pss.public_key(der), digest, signature))[-1] for der, digest, signature, _ in found
    ] == wanted
    lines = "\n".join("%s %s %s" % tuple((part or b"\0").hex() for part in case[:3]) for case in found)
    done = subprocess.run(
        [MICROPYTHON, "-X", "heapsize=8m", Path(__file__).with_name("run_verify.py"), LIB],
        input=lines,
        capture_output=True,
        text=True,
    )
    assert [line == "True" for line in done.stdout.split()] == wanted, done.stderr

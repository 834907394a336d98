"""RSASSA-PSS against the published vectors, against `cryptography`, and against whatever can be damaged."""

import json
from hashlib import sha256

from ioto import pss

VECTORS = "../shared/vectors/rsa_pss_%s_test.json"


def decided(key, digest, signature):
    found = [step for step in pss.verify(key, digest, signature)]
    assert all(step is None for step in found[:-1])
    return found[-1]


def unhex(text):
    return bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2))


def vectors(name):
    try:
        with open(VECTORS % name) as f:
            found = json.load(f)
    except OSError:
        return  # not published with the repository
    for group in found["testGroups"]:
        for form in ("publicKeyDer", "publicKeyAsn"):
            assert pss.public_key(unhex(group[form])) == pss.public_key(group["publicKeyPem"].encode())
        key = pss.public_key(unhex(group["publicKeyDer"]))
        for test in group["tests"]:
            yield key, test, group["sLen"]


def test_published_vectors():
    for name in ("2048_sha256_mgf1_32", "3072_sha256_mgf1_32", "2048_sha256_mgf1_0"):
        for key, test, salt in vectors(name):
            # In the file for a salt of 0 one is signed with ours, which makes it wrong there and right here.
            wanted = test["result"] == "valid" if salt == 32 else test["comment"] == "s_len changed to 32"
            found = decided(key, sha256(unhex(test["msg"])).digest(), unhex(test["sig"]))
            assert found == wanted, (name, test["tcId"], test["comment"])


def keys():
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    for bits in (2048, 2049, 2055, 2056, 3072, 4096):
        private = rsa.generate_private_key(65537, bits)
        public = private.public_key()
        forms = [
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.PKCS1), public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        ]  # fmt: skip
        found = [pss.public_key(form) for form in forms]
        numbers = public.public_numbers()
        assert found == [(numbers.n, bits)] * 4
        yield private, found[0], forms[0]


def signed(private, message, salt=32):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return private.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())


def test_against_cryptography():
    import random

    rng = random.Random(1)
    for private, key, _ in keys():
        for n in range(6):
            message = rng.randbytes(rng.randrange(400))
            digest = sha256(message).digest()
            assert decided(key, digest, signed(private, message)), key
            for salt in (0, 20, 31, 33, 64):
                assert not decided(key, digest, signed(private, message, salt)), salt


def test_against_damage(count=3000):
    """Bits, bytes and lengths of signature, digest and key: none is taken, none ends in anything but a no."""
    import random

    rng = random.Random(2)
    made = [(signed(private, b"message"), key, der) for private, key, der in keys()]
    digest = sha256(b"message").digest()
    for n in range(count):
        signature, key, der = made[n % len(made)]
        what = n % 3
        if what == 0:
            bad = damaged(rng, signature)
            assert bad == signature or not decided(key, digest, bad), bad.hex()
        elif what == 1:
            bad = damaged(rng, digest)
            assert bad == digest or not decided(key, bad, signature), bad.hex()
        else:
            try:
                other = pss.public_key(damaged(rng, der))
            except ValueError:
                continue
            assert other == key or not decided(other, digest, signature), other


def damaged(rng, raw):
    raw = bytearray(raw)
    kind = rng.randrange(5)
    at = rng.randrange(len(raw))
    if kind == 0:
        raw[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        raw[at] = rng.randrange(256)
    elif kind == 2:
        del raw[at]
    elif kind == 3:
        raw.insert(at, rng.randrange(256))
    else:
        raw = raw[:at]
    return bytes(raw)


def test_seventeen_multiplications():
    """16 squarings and one multiplication with 65537, and never one more for whatever comes."""
    for name in ("2048_sha256_mgf1_32", "3072_sha256_mgf1_32"):
        for key, test, _ in vectors(name):
            steps = len([1 for step in pss.verify(key, bytes(32), unhex(test["sig"]))])
            assert steps in (1, 18), (test["tcId"], steps)


def test_keys_that_are_none():
    for raw in (b"", b"\x30", b"-----BEGIN PUBLIC KEY-----\n", b"hello", b"\x30\x80" + bytes(300), b"\x30\x82\xff\xff\x02\x01\x03"):
        try:
            pss.public_key(raw)
        except ValueError as e:
            assert "RSA" in str(e)
        else:
            raise AssertionError(raw)

"""RSASSA-PSS compared with the published vectors and with `cryptography`, and with damaged input."""

import json
from hashlib import sha256

from ioto import pss

VECTORS = "../shared/vectors/rsa_pss_%s_test.json"


def decided(key, digest, signature):
    found = list(pss.verify(key, digest, signature))
    assert all(step is None for step in found[:-1])
    return found[-1]


def unhex(text):
    return bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2))


def vectors(name):
    """(key, test, salt length) of a published file; conftest.py skips these tests if the files are missing."""
    with open(VECTORS % name) as f:
        found = json.load(f)
    for group in found["testGroups"]:
        for form in ("publicKeyDer", "publicKeyAsn"):
            assert pss.public_key(unhex(group[form])) == pss.public_key(group["publicKeyPem"].encode())
        key = pss.public_key(unhex(group["publicKeyDer"]))
        for test in group["tests"]:
            yield key, test, group["sLen"]


def test_published_vectors():
    for name, count in (("2048_sha256_mgf1_32", 108), ("3072_sha256_mgf1_32", 108), ("2048_sha256_mgf1_0", 103)):
        for key, test, salt in vectors(name):
            # In the file for salt length 0, one signature has length 32: it is invalid there, but valid here.
            wanted = test["result"] == "valid" if salt == 32 else test["comment"] == "s_len changed to 32"
            found = decided(key, sha256(unhex(test["msg"])).digest(), unhex(test["sig"]))
            assert found == wanted, (name, test["tcId"], test["comment"])
            count -= 1
        assert count == 0, name


primes = {}  # bits -> two primes of this size, which take long to find


def made(sizes):
    """Private keys with a modulus of any size, also an odd number of bits.

    The primes are from keys of `cryptography`, which creates only keys with an even number of bits.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    for bits in sizes:
        for half in (bits // 2, bits - bits // 2):
            if half not in primes:
                found = rsa.generate_private_key(65537, 2 * half).private_numbers()
                primes[half] = found.p, found.q
        p, q = primes[bits // 2][0], primes[bits - bits // 2][1]
        d = pow(65537, -1, (p - 1) * (q - 1))
        numbers = rsa.RSAPrivateNumbers(
            p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
        )
        assert (p * q).bit_length() == bits
        yield numbers.private_key()


def keys(sizes=(2048, 2049, 2050, 2055, 2056, 3072, 4096)):
    """(private key, public key as the agent reads it, DER) of each size."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    for private in made(sizes):
        public = private.public_key()
        forms = [
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), public.public_bytes(Encoding.PEM,
            PublicFormat.SubjectPublicKeyInfo), public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
            public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        ]  # fmt: skip
        found = [pss.public_key(form) for form in forms]
        assert found == [(public.public_numbers().n, private.key_size)] * 4
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


def test_against_keys_that_are_too_small_or_too_big():
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    for n, e, good in (
        ((1 << 2047) - 1, 65537, False),
        (1 << 2047 | 1, 65537, True),
        ((1 << 4096) - 1, 65537, True),
        (1 << 4096 | 1, 65537, False),
        (1 << 2048 | 1, 3, False),
        (1 << 2048 | 1, 65539, False),
    ):
        der = rsa.RSAPublicNumbers(e, n).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        try:
            assert pss.public_key(der) == (n, n.bit_length()) and good
        except ValueError as error:
            assert "2048 to 4096" in str(error) and not good


class Counted(int):
    """A modulus that records the size of each number that is reduced by it."""

    seen = []

    def __rmod__(self, other):
        self.seen.append(other.bit_length())
        return other % int(self)


def test_against_counting_multiplications_of_each_turn():
    """Each step of verify() has at most one multiplication, of two numbers of the size of the modulus."""
    for private, (n, bits), _ in keys((2048, 3072)):
        turns = []
        for good in pss.verify((Counted(n), bits), sha256(b"m").digest(), signed(private, b"m")):
            turns.append(list(Counted.seen))
            Counted.seen.clear()
        assert good and len(turns) == 18 and turns[17] == []
        assert all(len(turn) == 1 and turn[0] <= 2 * bits for turn in turns[:17]), turns


def test_against_damaged_input(count=3000):
    """Damaged signatures, digests and keys give False, not an exception; public_key() refuses some damaged keys."""
    import random

    rng = random.Random(2)
    good = [(signed(private, b"message"), key, der) for private, key, der in keys((2048, 2049, 3072))]
    digest = sha256(b"message").digest()
    for n in range(count):
        signature, key, der = good[n % 3]
        what = n // 3 % 3
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


def test_published_vectors_take_seventeen_multiplications():
    """The check takes 16 squarings and one multiplication, or ends immediately."""
    for name in ("2048_sha256_mgf1_32", "3072_sha256_mgf1_32"):
        for key, test, _ in vectors(name):
            steps = len([1 for step in pss.verify(key, bytes(32), unhex(test["sig"]))])
            assert steps in (1, 18), (test["tcId"], steps)


def test_invalid_signatures_of_any_length():
    """The result is always False; it is False immediately if the length is wrong or the number is too large."""
    for bits in (2048, 2049, 3072, 4096):
        n = (1 << bits) - 1
        for size in (0, 1, 255, 256, 257, 383, 384, 385, 511, 512, 513, 4000):
            for fill in (b"\0", b"\1", b"\xff"):
                steps = list(pss.verify((n, bits), bytes(32), fill * size))
                assert steps[-1] is False and len(steps) == (
                    18 if size == (bits + 7) // 8 and fill != b"\xff" else 1
                ), (bits, size)


def test_invalid_keys_are_refused():
    for raw in (
        b"",
        b"\x30",
        b"-----BEGIN PUBLIC KEY-----\n",
        b"hello",
        b"\x30\x80" + bytes(300),
        b"\x30\x82\xff\xff\x02\x01\x03",
    ):
        try:
            pss.public_key(raw)
        except ValueError as e:
            assert "RSA" in str(e)
        else:
            raise AssertionError(raw)

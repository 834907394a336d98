"""RSASSA-PSS verification (RFC 8017, 8.1.2 and 9.1.2): SHA-256, MGF1 with SHA-256, a salt of 32 bytes. Pure.

A modular multiplication at a time, so that a loop can turn in between: 17 of them with the usual exponent 65537.
"""

from binascii import a2b_base64
from hashlib import sha256

_RSA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"  # rsaEncryption, 1.2.840.113549.1.1.1
_SALT_BYTES = 32


def public_key(raw):
    """(n, e) of a public key in PEM or DER (SubjectPublicKeyInfo or PKCS#1) of 2048 to 4096 bits; ValueError if it is none."""
    try:
        inside, rest = _split(der(raw), 0x30)
        if inside[:1] == b"\x30":
            algorithm, inside = _split(inside, 0x30)
            if algorithm[: len(_RSA)] != _RSA:
                raise ValueError
            bits, more = _split(inside, 3)
            inside, _ = _split(bits[1:], 0x30)
            rest += more
        n, inside = _split(inside, 2)
        e, inside = _split(inside, 2)
    except (ValueError, IndexError):
        raise ValueError("no RSA public key in PEM or DER")
    n = int.from_bytes(n, "big")
    e = int.from_bytes(e, "big")
    if rest or inside or n >> 4096 or not n >> 2047 or not n & 1 or not 2 < e < 1 << 32 or not e & 1:
        raise ValueError("an RSA key of 2048 to 4096 bits is wanted")
    return n, e


def der(raw):
    """DER of the one thing that a file holds in PEM or DER: not every port of MicroPython reads PEM."""
    if raw[:5] == b"-----":
        raw = a2b_base64(b"".join([line for line in raw.split(b"\n") if line[:5] != b"-----"]))
    return raw


def _split(raw, tag):
    """(content of the element at the beginning, what follows it)."""
    if raw[0] != tag:
        raise ValueError
    size, at = raw[1], 2
    if size & 128:
        at += size & 127
        size = int.from_bytes(raw[2:at], "big")
    if at + size > len(raw):
        raise ValueError
    return raw[at : at + size], raw[at + size :]


def verify(key, digest, signature):
    """A generator: None after each multiplication, and at last True or False. `digest` is SHA-256 of what was signed."""
    n, e = key
    s = int.from_bytes(signature, "big")
    bits = 8 * len(signature)
    while bits > 1 and not n >> (bits - 1):
        bits -= 1
    if s >= n or n >> bits or (bits + 7) // 8 != len(signature):
        yield False
        return
    m = s
    bit = 1 << 31
    while not e & bit:
        bit >>= 1
    while bit > 1:
        bit >>= 1
        m = m * m % n
        yield None
        if e & bit:
            m = m * s % n
            yield None
    yield _encoded(m, bits - 1, digest)


def _encoded(m, bits, digest):
    """EMSA-PSS-VERIFY: is `m`, of `bits` bits, an encoding of `digest`?"""
    size = (bits + 7) // 8
    spare = 8 * size - bits
    if m >> bits:
        return False
    em = m.to_bytes(size, "big")
    h = em[-33:-1]
    db = bytearray(em[:-33])
    if em[-1] != 0xBC:
        return False
    for i in range(0, len(db), 32):
        mask = sha256(h + (i // 32).to_bytes(4, "big")).digest()
        for j in range(i, min(i + 32, len(db))):
            db[j] ^= mask[j - i]
    db[0] &= 255 >> spare
    salt = bytes(db[-_SALT_BYTES:])
    begin = len(db) - _SALT_BYTES - 1
    return db[begin] == 1 and not any(db[:begin]) and sha256(bytes(8) + digest + salt).digest() == h

"""RSASSA-PSS verification (RFC 8017, 8.1.2 and 9.1.2) with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes. Pure.

verify() yields after each of the 17 modular multiplications (the exponent is 65537), so that the event loop can run in
between.
"""

from binascii import a2b_base64
from hashlib import sha256

_SALT_BYTES = 32


def public_key(raw):
    """(n, number of its bits) of a public key of 2048 to 4096 bits; ValueError if invalid.

    `raw` is PEM or DER, SubjectPublicKeyInfo or PKCS#1.
    """
    try:
        inside, rest = _split(memoryview(der(raw)), 0x30)
        more = b""
        if inside[0] == 0x30:
            inside, more = _split(_split(inside, 0x30)[1], 3)
            inside = _split(inside[1:], 0x30)[0]
        n, inside = _split(inside, 2)
        e, inside = _split(inside, 2)
        n = bytes(n).lstrip(b"\0")
        bits = 8 * len(n)
        first = n[0]
        while first < 128:
            first <<= 1
            bits -= 1
        if len(rest) or len(more) or len(inside) or e != b"\1\0\1" or not 2048 <= bits <= 4096 or not n[-1] & 1:
            raise ValueError
    except (ValueError, IndexError):
        raise ValueError("not an RSA public key (PEM or DER) of 2048 to 4096 bits with exponent 65537")
    return int.from_bytes(n, "big"), bits


def public_keys(paths):
    """public_key() of each file; ValueError("update.keys", text) names the first file without a valid key."""
    keys = []
    for path in paths:
        with open(path, "rb") as f:
            raw = f.read()
        try:
            keys.append(public_key(raw))
        except ValueError as e:
            raise ValueError("update.keys", "%s: %s" % (path, e))
    return keys


def der(raw):
    """The DER of a file with one object in PEM or DER: not every port of MicroPython reads PEM."""
    if raw[:5] == b"-----":
        raw = a2b_base64(memoryview(raw)[raw.find(b"\n") : raw.rfind(b"-----END")])
    return raw


def _split(raw, tag):
    """(content of the first DER element, the bytes after it); ValueError if its tag is not `tag` or it is truncated."""
    if raw[0] != tag:
        raise ValueError
    size, at = raw[1], 2
    if size & 128:
        at += size & 127
        size = int.from_bytes(bytes(raw[2:at]), "big")
    if at + size > len(raw):
        raise ValueError
    return raw[at : at + size], raw[at + size :]


def verify(key, digest, signature):
    """A generator that yields None after each multiplication, and finally True or False.

    `digest` is the SHA-256 of the signed data.
    """
    n, bits = key
    m = int.from_bytes(signature, "big")
    good = m < n and len(signature) == (bits + 7) // 8
    for i in range(17 * good):  # 65537 = 2**16 + 1
        # Without the sum, the remainder keeps the memory of the product in MicroPython.
        m = m * (m if i < 16 else int.from_bytes(signature, "big")) % n + 0
        yield None
    yield good and _encoded(m, bits - 1, digest)


def _encoded(m, bits, digest):
    """EMSA-PSS-VERIFY: is `m`, with `bits` bits, an encoding of `digest`?"""
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

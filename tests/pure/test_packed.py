"""The packed format: headers, sizes, numbers and operations, with valid and with every invalid value."""

from ioto import packed
from ioto.errors import UpdateError

SHA, BASE_SHA, NONE = bytes(range(32)), bytes(range(32, 64)), bytes(32)
GOOD = (1495344, SHA, 1427216, BASE_SHA, 326532)


def refused(function, *arguments):
    try:
        found = function(*arguments)
        if not isinstance(found, tuple):
            found = list(found)
    except UpdateError as e:
        assert e.reason == "packed_malformed", e
        return True
    raise AssertionError("%r gave %r" % (arguments, found))


def test_header_is_parsed_as_it_was_built():
    for header in (GOOD, (1, SHA, 0, NONE, 5), (4097, SHA, 1, BASE_SHA, 2 * 8708), (0xFFFFFFFF, SHA, 0, NONE, 1 << 23)):
        raw = packed.build(*header)
        assert len(raw) == packed.HEADER_BYTES and packed.is_packed(raw)
        assert packed.parse(raw) == header
        assert packed.parse(memoryview(raw)) == header


def test_invalid_headers_are_refused():
    size, sha, base_size, base_sha, body = GOOD
    for header in (
        (0, sha, base_size, base_sha, body),  # no image
        (size, sha, 0, base_sha, body),  # a base without a size
        (size, sha, base_size, NONE, body),  # a base without a hash
        (size, sha, base_size, base_sha, 366 * 4),  # too short for the sizes of its blocks
        (size, sha, base_size, base_sha, 366 * 8708 + 1),
        (4096, sha, 0, NONE, 8709),
        (4097, sha, 0, NONE, 8),
    ):
        refused(packed.parse, packed.build(*header))
    good = packed.build(*GOOD)
    for at in range(12):  # magic, version, zeros
        for bit in range(8):
            raw = bytearray(good)
            raw[at] ^= 1 << bit
            refused(packed.parse, bytes(raw))
    for n in range(len(good)):
        refused(packed.parse, good[:n])
    refused(packed.parse, good + b"\0")


def test_sizes_of_a_block():
    for control in (0, 1, 255, 256, 4352):
        for differences in (0, 1, 4352):
            for starts in (False, True):
                raw = packed.build_sizes(starts, control, differences)
                assert len(raw) == packed.SIZES_BYTES and packed.sizes(raw) == (starts, control, differences)
    for control, differences in ((4353, 0), (0, 4353), (0x7FFF, 0), (0, 0xFFFF), (0, 0x8000)):
        refused(packed.sizes, packed.build_sizes(False, control, differences))


def test_numbers():
    for value in list(range(1, 300)) + [16383, 16384, 2097151, 2097152, (1 << 27) - 1]:
        move = packed.build_number(2 * value)
        assert list(packed.operations(b"\0\1" + move, 1, 0, value + 1)) == [(0, 1, value), (0, 0, value + 1)]
        for n in range(len(move)):
            refused(packed.operations, b"\0\1" + move[:n], 1, 0, value + 1)
    refused(packed.operations, b"\0\1" + packed.build_number(1 << 28), 1, 0, 1 << 29)
    refused(packed.operations, b"\0\1" + b"\xff" * 4 + b"\1", 1, 0, 1 << 29)


def listed(numbers, length=4096, cursor=8192, base_size=100000):
    raw = b"".join([packed.build_number(n) for n in numbers])
    return list(packed.operations(raw, length, cursor, base_size))


def test_operations():
    assert listed(()) == [(4096, 0, 12288)]
    assert listed((), 7) == [(7, 0, 8199)]
    assert listed((0, 4096, 0)) == [(0, 4096, 8192), (0, 0, 12288)]
    assert listed((96, 4000, 0)) == [(96, 4000, 8288), (0, 0, 12288)]
    assert listed((6, 90, 7, 0, 4000, 20)) == [(6, 90, 8194), (0, 4000, 8294), (0, 0, 12294)]
    assert listed((0, 100, 0, 3996 - 100, 100, 2 * 83)) == [(0, 100, 8192), (3896, 100, 12271), (0, 0, 12371)]
    assert listed((0, 1, 8192 * 2 - 1)) == [(0, 1, 0), (4095, 0, 4096)]  # from the first byte of the base
    assert listed((0, 1, (100000 - 8193) * 2)) == [(0, 1, 99999), (4095, 0, 104095)]  # its last byte


def test_operations_outside_of_the_block_or_the_base_are_refused():
    for numbers in (
        (0, 4097, 0),
        (4096, 1, 0),
        (4090, 7, 0),
        (0, 4096, 0, 0, 1, 0),
        (0, 0, 0),
        (5, 0, 0),
        (0, 1, 8192 * 2 + 1),
        (0, 1, (100000 - 8192) * 2),
        (0, 2, (100000 - 8193) * 2),
        (0, 4096, (1 << 28) - 1),
        (0, 4096, (1 << 28) - 2),
        (0,),
        (0, 1),
    ):
        refused(listed, numbers)
    refused(listed, (0, 1, 0), 4096, 0, 0)  # a copy without a base
    refused(listed, (0, 2, 0), 1)


def digest_of_operations():
    """Random operations: both interpreters accept and refuse the same, and what is accepted is within its bounds."""
    from hashlib import sha256

    seed = 1
    sha = sha256()
    accepted = 0
    for _ in range(1500):
        numbers = []
        for _ in range(seed % 7):
            for most in (40, 1200, 9000):
                seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
                numbers.append((seed >> 8) % most)
        seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
        length, cursor, base_size = 1 + (seed >> 6) % 4096, (seed >> 3) % 9000, (seed >> 9) % 12000
        try:
            found = listed(numbers, length, cursor, base_size)
            accepted += 1
            assert sum([new + copy for new, copy, _ in found]) == length
            assert all([0 <= at <= base_size - copy and new >= 0 for new, copy, at in found[:-1]])
        except UpdateError as e:
            found = e.reason
        sha.update(repr(found).encode())
    assert 100 < accepted < 1400, accepted
    return "".join(["%02x" % byte for byte in sha.digest()])

"""Valid envelopes and manifests are accepted; all others are refused."""

import json

from ioto import release
from ioto.errors import UpdateError

GOOD = {
    "product": "P1",
    "version": "1.2.0",
    "size": 100000,
    "sha256": "ab" * 32,
    "format": "raw",
    "created": 1800000000,
    "chip": 0,
}
BOARD = {
    "product": "P1",
    "offered": "1.2.0",
    "version": "1.0.0",
    "chip": 0,
    "image": "cd" * 32,
    "now": 1800000100,
    "floor": "",
}


def reason(function, *arguments):
    """The reason for the refusal, or None."""
    try:
        function(*arguments)
    except UpdateError as e:
        return e.reason
    return None


def with_(of, **changes):
    found = dict(of)
    for key, value in changes.items():
        if value is Ellipsis:
            del found[key]
        else:
            found[key] = value
    return found


def sealed(text, signature):
    """An envelope as in docs/security.md: 8 bytes of magic, two lengths, text, signature, zeros up to 4096 bytes."""
    raw = b"IOTO-REL" + len(text).to_bytes(2, "big") + len(signature).to_bytes(2, "big") + text + signature
    return raw + bytes(4096 - len(raw))


def manifest(**changes):
    return json.dumps(with_(GOOD, **changes)).encode()


def test_envelope_returns_manifest_and_signature():
    for text, signature in ((b"{}", b"s"), (b"", b""), (manifest(), bytes(384)), (b"m" * 3572, b"s" * 512)):
        block = sealed(text, signature)
        assert release.unwrap(block) == (text, signature) == release.unwrap(memoryview(block))


def test_against_the_envelope_of_the_host():
    from ioto_tools.image.release import build_envelope

    assert build_envelope(manifest(), bytes(384)) == sealed(manifest(), bytes(384))
    assert release.unwrap(build_envelope(b"m" * 3572, b"s" * 512)) == (b"m" * 3572, b"s" * 512)
    try:
        build_envelope(b"m" * 3573, b"s" * 512)
    except ValueError as e:
        assert "4085 bytes, at most 4084 fit" in str(e)
    else:
        raise AssertionError("too long a manifest was sealed")


def test_other_files_are_not_envelopes():
    for block in (b"", b"\xe9\x05", b"IOTO", b"IOTO-RE", b"\xe9" + bytes(4095), b"ioto-rel" + bytes(4088)):
        assert release.unwrap(block) is None


def test_invalid_envelopes_are_refused():
    good = sealed(manifest(), bytes(384))
    for bad in (
        good[:4095],
        good[:12],
        good[:8],
        good + b"\0",
        good[:4095] + b"\1",
        good[:8] + b"\xff\xff\xff\xff" + good[12:],
    ):
        assert reason(release.unwrap, bad) == "manifest_malformed"
    for n in range(8, 12):  # no flipped bit in a length raises another kind of exception
        for bit in range(8):
            bad = bytearray(good)
            bad[n] ^= 1 << bit
            assert reason(release.unwrap, bytes(bad)) in (None, "manifest_malformed")


def test_every_field_accepts_only_its_type():
    assert release.parse(manifest()) == GOOD
    more = dict(base="ef" * 32, minimum="1.0.0-rc.1", expires=0)
    assert release.parse(manifest(**more)) == with_(GOOD, **more)
    for key, (kind, needed) in release.FIELDS.items():
        if key == "down":  # tested below
            continue
        good = with_(GOOD, **more)[key]
        for value in (None, True, False, -1, 0, 1.5, 7, "", "x", "1.2.0", [], {}, ["x"]):
            if type(value) is type(good) and (value == good or key in ("product", "base") or kind is int and value > 0):
                continue
            if (
                key in ("version", "minimum")
                and value == "1.2.0"
                or key in ("created", "chip", "expires")
                and value == 0
                and value is not False
            ):
                continue
            assert reason(release.parse, manifest(**{key: value})) == "manifest_malformed", (key, value)
        assert (reason(release.parse, manifest(**{key: Ellipsis})) is not None) == needed if key in GOOD else True
    assert reason(release.parse, manifest(later=1)) == "manifest_malformed"
    for text in (b"", b"x", b"[]", b"null", b"7", b'"x"', b"{", b"\xff\xfe", b"{}", b"[" * 50):
        assert reason(release.parse, text) == "manifest_malformed", text


def test_down_has_an_end_or_names_a_version():
    created = GOOD["created"]
    for expires in (0, created, created + 30 * 86400):
        assert reason(release.parse, manifest(down=True, expires=expires)) is None
    for expires in (..., created + 30 * 86400 + 1, 4102444800, None, "x"):
        changes = {} if expires is ... else {"expires": expires}
        assert reason(release.parse, manifest(down=True, **changes)) == "manifest_malformed", expires
    assert reason(release.parse, manifest(down=False)) is None and reason(release.parse, manifest(down="2.0.0")) is None
    for down in (None, 1, 0, "", "x", "2.0", [], {}, ["2.0.0"]):
        assert reason(release.parse, manifest(down=down)) == "manifest_malformed", down


def test_every_field_is_compared_with_the_board():
    def said(changes=None, **board):
        return reason(lambda: release.check(with_(GOOD, **(changes or {})), **with_(BOARD, **board)))

    assert said() is None
    for board in (dict(product="P2"), dict(offered="1.2.1"), dict(chip=9), dict(chip=None)):
        assert said(**board) == "manifest_mismatch", board
    assert said(dict(chip=Ellipsis), chip=None) is None
    assert said(dict(chip=Ellipsis)) == "manifest_mismatch"
    assert said(dict(base="cd" * 32)) is None and said(dict(base="ab" * 32)) == "manifest_mismatch"
    assert said(dict(base="ab" * 32), image=None) == "manifest_mismatch"
    assert said(dict(minimum="1.0.0")) is None and said(dict(minimum="1.0.1")) == "manifest_mismatch"
    for expires, now, expected in (
        (1800000100, 1800000100, None),
        (1800000099, 1800000100, "manifest_expired"),
        (5, None, None),
    ):
        assert said(dict(expires=expires), now=now) == expected
    for version, floor, expected in (
        ("1.2.0", "", "version_not_newer"),
        ("1.3.0", "", "version_not_newer"),
        ("1.1.9", "", None),
        ("1.2.0-rc.1", "", None),
        ("1.0.0", "1.2.0", None),
        ("1.0.0", "1.2.1", "version_floor"),
        ("1.0.0", "1.2.0-rc.9", None),
        ("2.0.0", "3.0.0", "version_not_newer"),
    ):
        assert said(version=version, floor=floor) == expected, (version, floor)
        assert said(dict(down=True, expires=1800000100), version=version, floor=floor) is None
        assert said(dict(down=True, expires=1800000100), version=version, floor=floor, now=None) == "manifest_expired"
        assert said(dict(down=version), version=version, floor=floor) is None
        assert said(dict(down=version + "-not"), version=version, floor=floor) == expected
        assert said(dict(down=False), version=version, floor=floor) == expected

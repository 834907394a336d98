"""Versions compared with the semver library, over every combination of parts, and with the specification's lists."""

from ioto.semver import compare, is_valid, parse

NUMBERS = ("0", "1", "10", "00", "01", "", "a", "1a", "-1", "99999999999999999999")
PARTS = (
    "",
    "-",
    "-0",
    "-1",
    "-01",
    "-a",
    "-alpha.1",
    "-alpha.beta",
    "-1.a",
    "-a.1",
    "-10",
    "-2",
    "-a..b",
    "-a.",
    "-.a",
    "-x-y-z",
    "--",
    "-0a",
    "-A",
    "-é",
)
BUILDS = ("", "+", "+1", "+01", "+a.b", "+a..b", "+é", "+-", "+a+b", "+a-1")
# semver.org, item 11: each comes before the next.
ORDER = (
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
)


def texts():
    yield from ["%s.%s.%s" % (a, b, c) for a in NUMBERS for b in NUMBERS[:6] for c in ("0", "7", "01")] + [
        "1",
        "1.2",
        "1.2.3.4",
        "v1.2.3",
        " 1.2.3",
        "1.2.3 ",
        "1.2.3\n",
    ]
    for part in PARTS:
        for build in BUILDS:
            yield "1.2.3" + part + build
            yield "0.0.0" + build + part


def valid():
    return [t for t in texts() if is_valid(t)]


def test_against_semver():
    import semver

    seen = 0
    for text in texts():
        assert is_valid(text) == semver.Version.is_valid(text), repr(text)
    for a in valid():
        for b in valid():
            assert compare(a, b) == semver.Version.parse(a).compare(b), (a, b)
            seen += 1
    assert seen > 10000


def test_order_of_the_specification():
    for i, a in enumerate(ORDER):
        for j, b in enumerate(ORDER):
            assert compare(a, b) == (i > j) - (i < j), (a, b)
    assert compare("1.0.0+a", "1.0.0+b") == 0


def digest_of_all_comparisons():
    import hashlib

    sha = hashlib.sha256()
    some = valid()[::3]
    for a in some:
        sha.update(a.encode() + b"".join(b"%d" % (compare(a, b) + 1) for b in some))
    return "".join("%02x" % b for b in sha.digest())


def test_other_values_are_not_versions():
    for value in (None, 1, 1.5, [], {}, b"1.2.3", True):
        assert not is_valid(value)
        try:
            parse(value)
        except ValueError as e:
            assert "SemVer" in str(e)
        else:
            raise AssertionError(value)

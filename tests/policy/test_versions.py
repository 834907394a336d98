"""The version lists of semver.org (order, valid, invalid): policies compare each pair of versions correctly."""

import pytest
import semver as reference
from ioto_tools.cloud import policy

# The examples of item 11 of the specification, and more: each version is lower than the next.
ORDER = (
    "0.0.0-0 0.0.0 0.0.1 0.9.0 0.10.0-0 0.10.0 0.99.0 1.0.0-0 1.0.0-1 1.0.0-10 1.0.0-2a 1.0.0-A 1.0.0-a 1.0.0-alpha "
    "1.0.0-alpha.1 "
    "1.0.0-alpha.2 1.0.0-alpha.10 1.0.0-alpha.beta 1.0.0-alpha.beta.1 1.0.0-alpha11 1.0.0-alpha2 1.0.0-beta "
    "1.0.0-beta.2 1.0.0-beta.11 "
    "1.0.0-rc.1 1.0.0-rc.1.0 1.0.0-rc.1.a 1.0.0-rc.2 1.0.0 1.0.1 1.1.0 1.9.0 1.10.0 1.11.0 2.0.0 2.1.0 2.1.1 10.0.0 "
    "9007199254740992.0.0 9007199254740993.0.0 99999999999999999999999.0.0"
).split()
VALID = (
    "0.0.4 1.2.3 10.20.30 1.1.2-prerelease+meta 1.1.2+meta 1.1.2+meta-valid 1.0.0-alpha 1.0.0-beta 1.0.0-alpha.beta "
    "1.0.0-alpha.beta.1 "
    "1.0.0-alpha.1 1.0.0-alpha0.valid 1.0.0-alpha.0valid 1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay "
    "1.0.0-rc.1+build.1 "
    "2.0.0-rc.1+build.123 1.2.3-beta 10.2.3-DEV-SNAPSHOT 1.2.3-SNAPSHOT-123 1.0.0 2.0.0 1.1.7 2.0.0+build.1848 "
    "2.0.1-alpha.1227 "
    "1.0.0-alpha+beta 1.2.3----RC-SNAPSHOT.12.9.1--.12+788 1.2.3----R-S.12.9.1--.12+meta "
    "1.2.3----RC-SNAPSHOT.12.9.1--.12 "
    "1.0.0+0.build.1-rc.10000aaa-kk-0.1 99999999999999999999999.999999999999999999.99999999999999999 1.0.0-0A.is.legal"
).split()
INVALID = (
    "1 1.2 1.2.3-0123 1.2.3-0123.0123 1.1.2+.123 +invalid -invalid -invalid+invalid -invalid.01 alpha alpha.beta "
    "alpha.beta.1 alpha.1 "
    "alpha+beta alpha_beta alpha. alpha.. beta 1.0.0-alpha_beta -alpha. 1.0.0-alpha.. 1.0.0-alpha..1 "
    "1.0.0-alpha...1 1.0.0-alpha....1 "
    "01.1.1 1.01.1 1.1.01 1.2.3.DEV 1.2-SNAPSHOT 1.2.31.2.3----RC-SNAPSHOT.12.09.1--..12+788 1.2-RC-SNAPSHOT "
    "-1.0.3-gamma+b7718 "
    "+justmeta 9.8.7+meta+meta 9.8.7-whatever+meta+meta "
    "99999999999999999999999.999999999999999999.99999999999999999----RC-SNAPSHOT.12.09.1"
    "--------------------------------..12"
).split()
SIGNS = {"<": (-1,), "<=": (-1, 0), "==": (0,), "!=": (-1, 1), ">=": (0, 1), ">": (1,)}


def policies(operator):
    """The three ways to compare versions: names, semver(), and flat names."""
    yield policy.compile("device.version %s update.version" % operator)
    yield policy.compile("semver(version, '%s', newVersion)" % operator)
    yield policy.compile("version %s newVersion" % operator)


@pytest.mark.parametrize("operator", SIGNS)
def test_order_of_the_specification(operator):
    for holds in policies(operator):
        for i, a in enumerate(ORDER):
            for j, b in enumerate(ORDER):
                wanted = (i > j) - (i < j) in SIGNS[operator]
                for build in ("", "+build", "+20130313144700"):
                    assert holds({"version": a}, {"version": b + build}) is wanted, (a, operator, b + build)


@pytest.mark.parametrize("operator", SIGNS)
def test_every_pair_of_valid_versions(operator):
    for holds in policies(operator):
        for a in VALID:
            for b in VALID:
                assert holds({"version": a}, {"version": b}) is (
                    reference.Version.parse(a).compare(b) in SIGNS[operator]
                ), (a, operator, b)


@pytest.mark.parametrize("operator", SIGNS)
def test_invalid_version_is_not_comparable(operator):
    for holds in policies(operator):
        for bad in INVALID:
            assert policy.values.version(bad) is None
            for good in VALID:
                for device, update in ((bad, good), (good, bad)):
                    different = operator == "!=" and holds is not policy.compile("semver(version, '!=', newVersion)")
                    assert holds({"version": device}, {"version": update}) is different


def test_versions_as_literals():
    for a, b in zip(ORDER, ORDER[1:], strict=False):
        assert policy.compile("'%s' < '%s+x' && version < \"%s\" && '%s' < newVersion" % (a, b, b, a))(
            {"version": a}, {"version": b}
        )


@pytest.mark.parametrize("text, line, column", [
    ("device.version >= '2.0'", 1, 19), ("pro &&\n2 > version", 2, 1), ("semver(version, '<', '2')", 1, 22),
        ("semver(2, '<', hardware)", 1, 8), ("newVersion != 'v2.0.0'", 1, 15),
])  # fmt: skip
def test_invalid_version_causes_a_warning(text, line, column):
    (doubt,) = policy.compile(text).warnings
    assert doubt.startswith("line %d, column %d: " % (line, column)) and "is not a SemVer version" in doubt


def test_number_in_quotes_causes_a_warning():
    (doubt,) = policy.compile("memory >= '256' && memory <= 1024").warnings
    assert doubt == "line 1, column 11: '256' in quotes is compared as a string, so '1000' < '256': remove the quotes"
    assert policy.compile("'1.5' < hardware").warnings


@pytest.mark.parametrize("text", [
    "version >= '2.0.0'", "version ^= '2.0'", "version =~ '^2'", "version != null", "memory == '256'", "memory >= 256",
    "'256' > '1000'", "memory ^= '2'", "semver(hardware, '<', '2.0.0')", "date >= '2026-01-01'", "hardware >= 2.0",
    "version < newVersion", "version === '2.0'",
])  # fmt: skip
def test_valid_comparisons_cause_no_warning(text):
    assert policy.compile(text).warnings == []

"""Every operator for every pair of values, as names and as literals, compared with the specification."""

import json

import pytest
import reference_operators as spec
from ioto_tools.cloud import policy

HUGE = "9" * 257
VALUES = [
    None, True, False, 0, 1, -1, 2, 10, 1.0, 1.5, -0.0, 1e300, 10**30, 9007199254740993, float("inf"),
    "", " ", "true", "false", "True", "null", "0", "1", "01", "-1", "1.0", "1.5", "1e0", "10", "2", "+1", " 1", "0x1",
    "1.", ".5", "1_0", "١", "9007199254740993", HUGE, "a", "b", "A", "ab", "ba", "us-west", "us-east", "é",
    "\U0001f600", "\uffff", "\ud800", "a\nb", "1\n", "1.0.0", "1.0.0-rc.1", "1.0.0-rc.2", "1.0.0+build", "1.10.0",
    "1.9.0", "01.0.0", "v1.0.0", "1.0", "1.0.0-", "1.0.0." + HUGE, "2.0.0",
    [], [1], ["1"], ["a", "b"], [None], ["1.0.0"], {}, {"a": 1},
]  # fmt: skip
OPERATORS = [*spec.AFFIRMATIVE, *spec.NEGATIVE]
UPDATE = {"version": "2.0.0"}


def has_literal(value):
    return (
        isinstance(value, (bool, int, float))
        and value not in (float("inf"),)
        or isinstance(value, str)
        and "\ud800" not in value
    )


def literal(value):
    return json.dumps(value) if not isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_for_two_names(operator):
    holds = policy.compile("device.a %s device['b']" % operator)
    for a in VALUES:
        for b in VALUES:
            assert holds({"a": a, "b": b}, UPDATE) is spec.expected(operator, a, b), (a, operator, b)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_for_a_name_and_a_literal(operator):
    for b in filter(has_literal, VALUES):
        right = policy.compile("a %s %s" % (operator, literal(b)))
        left = policy.compile("%s %s a" % (literal(b), operator))
        for a in VALUES:
            assert right({"a": a}, UPDATE) is spec.expected(operator, a, b), (a, operator, b)
            assert left({"a": a}, UPDATE) is spec.expected(operator, b, a), (b, operator, a)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_with_the_literal_null(operator):
    right, left = policy.compile("a %s null" % operator), policy.compile("null %s a" % operator)
    for a in VALUES:
        assert right({"a": a}, UPDATE) is left({"a": a}, UPDATE) is spec.expected_of_null(operator, a), a
    assert right({}, UPDATE) is left({}, UPDATE) is spec.expected_of_null(operator, None)
    assert policy.compile("null %s null" % operator)({}, UPDATE) is spec.expected_of_null(operator, None)


@pytest.mark.parametrize("operator", OPERATORS)
def test_comparison_with_a_missing_property_is_false(operator):
    for text in ("a %s b", "b %s a", "device.x.y %s b", "a %s 1", "'x' %s a", "a %s ''", "update.x %s 1", "b.c %s b"):
        assert policy.compile(text % operator)({"b": "x"}, UPDATE) is False, text


def test_truth_value_of_single_values():
    alone, opposite, double = policy.compile("a"), policy.compile("!a"), policy.compile("!!a && (a)")
    for a in VALUES:
        assert alone({"a": a}, UPDATE) is double({"a": a}, UPDATE) is spec.alone(a), a
        assert opposite({"a": a}, UPDATE) is not spec.alone(a), a
    for a in filter(has_literal, VALUES):
        assert policy.compile(literal(a))({}, UPDATE) is spec.alone(a)


@pytest.mark.parametrize("order", ["<", "<=", "==", "!=", ">=", ">"])
def test_semver_compares_only_versions(order):
    holds = policy.compile("semver(a, '%s', b)" % order)
    for a in VALUES:
        for b in VALUES:
            both = isinstance(a, str) and isinstance(b, str) and spec.is_version(a) and spec.is_version(b)
            assert holds({"a": a, "b": b}, UPDATE) is (both and spec.expected(order, a, b)), (a, order, b)


def test_all_operators_are_tested():
    assert {*OPERATORS} == {*policy.values.OPERATORS}

"""The result of each policy operator for two values, as in docs/policy.md; independent of the code under test.

A value is a pair (kind, content): kinds null, boolean, number, string, list, object.
"""

import re

import semver as reference

NUMERIC = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$", re.A)


def kind(value):
    for name, types in (
        ("null", type(None)),
        ("boolean", bool),
        ("number", (int, float)),
        ("string", str),
        ("list", list),
    ):
        if isinstance(value, types):
            return name
    return "object"


def is_version(text):
    return len(text) <= 256 and reference.Version.is_valid(text)


def as_number(value):
    """`value` as a number, or None."""
    if kind(value) in ("boolean", "number"):
        return value + 0
    if kind(value) != "string" or len(value) > 256:
        return None
    if value in ("true", "false"):
        return int(value == "true")
    if NUMERIC.match(value) and "\n" not in value:
        return float(value) if re.search(r"[.eE]", value) else int(value)
    return None


def compare(a, b):
    """-1, 0, 1, or None if the values are not comparable."""
    if kind(a) == kind(b) == "string":
        if is_version(a) and is_version(b):
            return reference.Version.parse(a).compare(b)
        if is_version(a) or is_version(b):
            return None
    else:
        a, b = as_number(a), as_number(b)
        if a is None or b is None:
            return None
    return -1 if a < b else 1 if a > b else 0


def strictly(a, b):
    return kind(a) == kind(b) and kind(a) in ("boolean", "number", "string") and a == b


def starts(a, b):
    return kind(a) == kind(b) == "string" and a[: len(b)] == b


def ends(a, b):
    return kind(a) == kind(b) == "string" and a[max(0, len(a) - len(b)) :] == b


def contains(a, b):
    if kind(a) == "list":
        return any(compare(each, b) == 0 for each in a)
    return kind(a) == kind(b) == "string" and re.search(re.escape(b), a) is not None


AFFIRMATIVE = {
    "==": lambda a, b: compare(a, b) == 0,
    "===": strictly,
    "<": lambda a, b: compare(a, b) == -1,
    "<=": lambda a, b: compare(a, b) in (-1, 0),
    ">": lambda a, b: compare(a, b) == 1,
    ">=": lambda a, b: compare(a, b) in (0, 1),
    "^=": starts,
    "$=": ends,
    "><": contains,
}
NEGATIVE = {"!=": "==", "!==": "===", "^!=": "^=", "$!=": "$=", "<>": "><"}


def expected(operator, a, b):
    """The result of `a operator b` for the values of two names."""
    if a is None or b is None:
        return False
    if operator in NEGATIVE:
        return not AFFIRMATIVE[NEGATIVE[operator]](a, b)
    return AFFIRMATIVE[operator](a, b)


def expected_of_null(operator, a):
    """The result of `a operator null`, with the literal null."""
    return a is None if operator in ("==", "===") else a is not None if operator in ("!=", "!==") else False


def alone(value):
    """The result of a condition that consists of a value alone."""
    return not (value is None or value == "" and kind(value) == "string" or compare(value, False) == 0)

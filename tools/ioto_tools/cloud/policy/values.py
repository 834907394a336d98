"""The values of a policy and the operators on them, as specified in docs/policy.md. Pure; no value raises an error."""

import operator
import re
from functools import lru_cache

from ioto import semver

_LONGEST = 256  # characters of a string that can be a version or a number
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = {"true": 1, "false": 0}
_NUMBERS = (int, float, bool)


def version(value):
    """The SemVer sort key of `value`, None if it is not a version."""
    return _version(value) if type(value) is str and len(value) <= _LONGEST else None


@lru_cache(16384)
def _version(text):
    try:
        return semver.parse(text)
    except ValueError:
        return None


def number(value):
    """`value` as a number, None if it can't be read as one."""
    if type(value) is str:
        return _number_of(value) if len(value) <= _LONGEST else None
    return value if type(value) in _NUMBERS else None


@lru_cache(4096)
def _number_of(text):
    if text in _WORDS:
        return _WORDS[text]
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    return float(text) if found[1] or found[2] else int(text)


def _pair(a, b):
    """Both values converted for their comparison, as versions, strings or numbers; None if they are not comparable."""
    if type(a) is str and type(b) is str:
        key_a = _version(a) if len(a) <= _LONGEST else None
        key_b = _version(b) if len(b) <= _LONGEST else None
        if key_a is None or key_b is None:
            return (a, b) if key_a is key_b else None
        return key_a, key_b
    a, b = number(a), number(b)
    return None if a is None or b is None else (a, b)


def _compared(by):
    def holds(a, b):
        pair = _pair(a, b)
        return pair is not None and by(*pair)

    return holds


def is_true(value):
    """The truth value of a single value."""
    return value is not None and value != "" and not equal(value, False)


def equal(a, b):
    if a == b and type(a) is type(b) is str:  # the most frequent case, without parsing the strings
        return True
    pair = _pair(a, b)
    return pair is not None and pair[0] == pair[1]


def identical(a, b):
    if type(a) in (int, float) and type(b) in (int, float):
        return a == b
    return type(a) is type(b) and type(a) in (str, bool) and a == b


def starts(a, b):
    return type(a) is str and type(b) is str and a.startswith(b)


def ends(a, b):
    return type(a) is str and type(b) is str and a.endswith(b)


def contains(a, b):
    if type(a) is list:
        return any(equal(each, b) for each in a)
    return type(a) is str and type(b) is str and b in a


def _not(holds):
    """The opposite of `holds`, but also false if a value is missing, such as a property that was not sent."""
    return lambda a, b: a is not None and b is not None and not holds(a, b)


OPERATORS = {
    "==": equal,
    "!=": _not(equal),
    "===": identical,
    "!==": _not(identical),
    "<": _compared(operator.lt),
    "<=": _compared(operator.le),
    ">": _compared(operator.gt),
    ">=": _compared(operator.ge),
    "^=": starts,
    "^!=": _not(starts),
    "$=": ends,
    "$!=": _not(ends),
    "><": contains,
    "<>": _not(contains),
}
# The operators that semver(a, operator, b) accepts.
ORDERS = ("<", "<=", "==", "!=", ">=", ">")


def in_order(a, order, b):
    """semver(a, order, b): false unless both are versions."""
    return version(a) is not None and version(b) is not None and OPERATORS[order](a, b)

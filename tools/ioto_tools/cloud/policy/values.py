"""The values of a policy and the operators on them, as specified in docs/policy.md. Pure; no value raises an error."""

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ioto import semver

Properties = dict[str, Any]  # of a device: the body of its check-in; of a release: `update` in a policy
# The compiled form of a part of a policy: a function of the properties of the device and of the release.
Getter = Callable[[Properties, Properties], Any]
Condition = Callable[[Properties, Properties], bool]
Comparison = Callable[[Any, Any], bool]  # of two values
Number = int | float  # bool too
SortKey = tuple[Any, ...]  # of a version, from semver.parse()

_LONGEST = 256  # maximum length of a string that can be a version or a number
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = {"true": 1, "false": 0}
_NUMBERS = (int, float, bool)


def version(value: object) -> SortKey | None:
    """The SemVer sort key of `value`, or None if it is not a version."""
    return _version(value) if type(value) is str and len(value) <= _LONGEST else None


@lru_cache(16384)
def _version(text: str) -> SortKey | None:
    try:
        return semver.parse(text)
    except ValueError:
        return None


def number(value: Any) -> Number | None:
    """`value` as a number, or None if it can't be read as one."""
    if type(value) is str:
        return _number_of(value) if len(value) <= _LONGEST else None
    return value if type(value) in _NUMBERS else None


@lru_cache(4096)
def _number_of(text: str) -> Number | None:
    if text in _WORDS:
        return _WORDS[text]
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    return float(text) if found[1] or found[2] else int(text)


def _pair(a: Any, b: Any) -> tuple[Any, Any] | None:
    """Both values converted for their comparison, as versions, strings or numbers; None if they are not comparable."""
    if type(a) is str and type(b) is str:
        key_a = _version(a) if len(a) <= _LONGEST else None
        key_b = _version(b) if len(b) <= _LONGEST else None
        if key_a is None or key_b is None:
            return (a, b) if key_a is key_b else None
        return key_a, key_b
    a, b = number(a), number(b)
    return None if a is None or b is None else (a, b)


def _ordered(by: Comparison) -> Comparison:
    def holds(a: Any, b: Any) -> bool:
        pair = _pair(a, b)
        return pair is not None and by(*pair)

    return holds


def is_true(value: Any) -> bool:
    """The truth value of an operand that is not part of a comparison."""
    return value is not None and value != "" and not equal(value, False)


def equal(a: Any, b: Any) -> bool:
    if a == b and type(a) is type(b) is str:  # the most frequent case, without parsing the strings
        return True
    pair = _pair(a, b)
    return pair is not None and pair[0] == pair[1]


def identical(a: Any, b: Any) -> bool:
    if type(a) in (int, float) and type(b) in (int, float):
        return a == b
    return type(a) is type(b) and type(a) in (str, bool) and a == b


def starts(a: Any, b: Any) -> bool:
    return type(a) is str and type(b) is str and a.startswith(b)


def ends(a: Any, b: Any) -> bool:
    return type(a) is str and type(b) is str and a.endswith(b)


def contains(a: Any, b: Any) -> bool:
    if type(a) is list:
        return any(equal(each, b) for each in a)
    return type(a) is str and type(b) is str and b in a


def _not(holds: Comparison) -> Comparison:
    """The opposite of `holds`, but also false if a value is missing, such as a property that was not sent."""
    return lambda a, b: a is not None and b is not None and not holds(a, b)


OPERATORS: dict[str, Comparison] = {
    "==": equal,
    "!=": _not(equal),
    "===": identical,
    "!==": _not(identical),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "^=": starts,
    "^!=": _not(starts),
    "$=": ends,
    "$!=": _not(ends),
    "><": contains,
    "<>": _not(contains),
}
# The operators that semver(a, operator, b) accepts.
ORDERS = ("<", "<=", "==", "!=", ">=", ">")


def in_order(a: Any, order: str, b: Any) -> bool:
    """semver(a, order, b): false unless both are versions."""
    return version(a) is not None and version(b) is not None and OPERATORS[order](a, b)

"""Compiles comparisons of a policy to closures, and rejects those that are not allowed. Pure."""

from typing import TYPE_CHECKING, Any

from lark import Token

from . import literals, names, values
from .errors import PolicyError, error_at
from .values import Condition

if TYPE_CHECKING:
    from .nodes import Node

_EQUALS = {"==": True, "===": True, "!=": False, "!==": False}
_ORDERS = ("<", "<=", ">", ">=")


def compile_comparison(left: "Node", token: Token, right: "Node") -> Condition:
    """Compile `left token right` to a closure. PolicyError if that is not a valid comparison."""
    if token == "=~" or "regex" in (left.kind, right.kind):
        return _match(left, token, right)
    if token in _EQUALS and any(side.kind == "literal" and side.value is None for side in (left, right)):
        return _null_test(left, token, right)
    holds, get, other = values.OPERATORS[token], left.get, right.get
    if right.kind == "literal":
        value = right.value
        return lambda device, update: holds(get(device, update), value)
    return lambda device, update: holds(get(device, update), other(device, update))


def _null_test(left: "Node", operator: str, right: "Node") -> Condition:
    """Compile x == null or x != null, which test whether x exists. Other comparisons with null are always false."""
    get = left.get if right.kind == "literal" and right.value is None else right.get
    wanted = _EQUALS[operator]
    return lambda device, update: (get(device, update) is None) is wanted


def _match(left: "Node", token: Token, right: "Node") -> Condition:
    """Compile x =~ 'expression', or in EmbedThis' syntax x == /expression/ or x != /expression/, in either order."""
    if token != "=~" and left.kind == "regex":
        left, right = right, left
    if left.kind == "regex" or token not in ("=~", "==", "!="):
        raise misplaced_regex(left if left.kind == "regex" else right)
    get, pattern = left.get, _pattern(right)
    if token == "!=":
        return lambda device, update: (
            get(device, update) is not None and not literals.matches(pattern, get(device, update))
        )
    return lambda device, update: literals.matches(pattern, get(device, update))


def _pattern(node: "Node") -> Any:
    if node.kind == "regex":
        return node.value
    if node.kind != "literal" or type(node.value) is not str:
        raise error_at(node.token, "expected a regular expression, in quotes or slashes, found a value")
    return literals.compile_regex(node.value, node.token)


def misplaced_regex(node: "Node") -> PolicyError:
    """The error for a regular expression where none is allowed."""
    return error_at(node.token, "a regular expression is only valid to the right of =~ or on one side of == or !=")


def comparison_warning(token: Token, left: "Node", right: "Node") -> str | None:
    """A warning if this comparison of a name with a literal is valid but probably a mistake; otherwise None."""
    for name, literal in ((left, right), (right, left)):
        if name.kind == "name" and literal.kind == "literal":
            if name.names[0][0] in names.VERSIONS and token in values.ORDERS:
                return version_warning(literal)
            if token in _ORDERS and type(literal.value) is str and values.number(literal.value) is not None:
                return _warning(literal, "in quotes is compared as a string, so '1000' < '256': remove the quotes")
    return None


def version_warning(node: "Node") -> str | None:
    """A warning if `node`, compared with a version, is a literal that is not a version; otherwise None."""
    if node.kind == "literal" and node.value is not None and values.version(node.value) is None:
        return _warning(node, "is not a SemVer version (like 2.0.0): no version can be compared with it")
    return None


def _warning(node: "Node", problem: str) -> str:
    return str(error_at(node.token, "%s %s" % (node.token, problem)))


def check_semver_arguments(token: Token, arguments: list["Node | None"]) -> tuple["Node", str, "Node"]:
    """The three arguments of semver(a, "<", b), the second one as text. PolicyError if they are not valid."""
    if token != "semver":
        raise error_at(token, 'there is no function %s, only semver(version, "<", newVersion)' % token[:20])
    if len(arguments) != 3 or None in arguments:
        raise error_at(token, 'semver takes three arguments: semver(version, "<", newVersion)')
    given = [each for each in arguments if each is not None]  # none is missing; this only narrows the type
    for each in given:
        if each.kind == "regex":
            raise misplaced_regex(each)
    left, order, right = given
    if order.kind != "literal" or order.value not in values.ORDERS:
        raise error_at(
            order.token, "the second argument of semver must be one of %s, in quotes" % " ".join(values.ORDERS)
        )
    return left, order.value, right

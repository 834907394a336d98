"""From the grammar's rules to closures: each function builds what a rule means of what its parts mean. Pure.

A closure takes the device's properties and the release's and gives a value. lark calls these functions while it reads the
text, from the inside out, so that nothing here recurses over what somebody wrote.
"""

from lark import Transformer, v_args

from . import names, texts, values
from .errors import at

DEPTH = 32
TERMS = 50
_EQUALS = {"==": True, "===": True, "!=": False, "!==": False}


class Node:
    """A part of a policy. `token`: where it begins; `end`: the index after it; `terms`: the conditions inside."""

    __slots__ = ("token", "end", "get", "value", "kind", "names", "terms", "depth")

    def __init__(self, token, end, get, kind="condition", value=None, names=(), terms=(), depth=0):
        self.token = token
        self.end = end
        self.get = get
        self.kind = kind  # condition (true or false), name, literal or regex
        self.value = value  # of a literal; the compiled expression of a regex
        self.names = names  # (text, closure) of each name in it
        self.terms = terms
        self.depth = depth


class Term:
    """One condition: a comparison, a call, or a value that stands alone."""

    __slots__ = ("start", "end", "holds", "names", "doubt")

    def __init__(self, node, doubt):
        self.start = node.token.start_pos
        self.end = node.end
        self.holds = node.get
        self.names = node.names
        self.doubt = doubt  # why this is hardly what was meant, or None


def _literal(token, value):
    return Node(token, token.end_pos, lambda device, update: value, "literal", value)


def _condition(node):
    """`node` where true or false is wanted."""
    if node.kind == "condition":
        return node
    get = node.get
    if node.kind == "regex":
        raise _misplaced(node)
    holds = lambda device, update: values.is_true(get(device, update))  # noqa: E731
    return _as_term(Node(node.token, node.end, holds, names=node.names, terms=node.terms, depth=node.depth))


def _misplaced(node):
    return at(node.token, "a regular expression stands to the right of =~ or on one side of == or !=")


def _as_term(node, doubt=None):
    """`node` as one more term beside those inside it."""
    node.terms += (Term(node, doubt),)
    if len(node.terms) > TERMS:
        raise _too_many(node.token)
    return node


def _too_many(token):
    return at(token, "more than %d terms" % TERMS)


def _joined(parts, get):
    parts_terms = [term for part in parts for term in part.terms]
    if len(parts_terms) > TERMS:
        raise _too_many(_at_term(parts, TERMS))
    return Node(parts[0].token, parts[-1].end, get, terms=tuple(parts_terms), depth=max(part.depth for part in parts))


def _at_term(parts, index):
    """The token of the part that has the term number `index` in it."""
    for part in parts:
        index -= len(part.terms)
        if index < 0:
            return part.token


def _deeper(token, inner, end, get):
    if inner.depth == DEPTH:
        raise at(token, "nested more than %d deep" % DEPTH)
    return Node(token, end, get, inner.kind, inner.value, inner.names, inner.terms, inner.depth + 1)


def _null_test(left, operator, right):
    """x == null and its like: whether x is there. The one comparison in which null is more than false."""
    get = left.get if right.kind == "literal" and right.value is None else right.get
    wanted = _EQUALS[operator]
    return lambda device, update: (get(device, update) is None) is wanted


def _match(left, token, right):
    """x =~ 'expression', and EmbedThis' x == /expression/ on either side."""
    if token == "=~":
        if right.kind == "literal" and type(right.value) is str:
            right = Node(right.token, right.end, None, "regex", texts.compiled(right.value, right.token))
        if right.kind != "regex":
            raise at(right.token, "expected a regular expression, in quotes or slashes, found a value")
    elif left.kind == "regex":
        left, right = right, left
    if left.kind == "regex" or token not in ("=~", "==", "!="):
        raise _misplaced(left if left.kind == "regex" else right)
    get, pattern = left.get, right.value
    if token == "!=":
        return lambda device, update: get(device, update) is not None and not texts.found(pattern, get(device, update))
    return lambda device, update: texts.found(pattern, get(device, update))


def _comparison(left, token, right):
    if token == "=~" or "regex" in (left.kind, right.kind):
        return _match(left, token, right)
    if token in _EQUALS and any(side.kind == "literal" and side.value is None for side in (left, right)):
        return _null_test(left, token, right)
    holds, get, other = values.OPERATORS[token], left.get, right.get
    if right.kind == "literal":
        value = right.value
        return lambda device, update: holds(get(device, update), value)
    return lambda device, update: holds(get(device, update), other(device, update))


def _doubt(token, one, other):
    """A version compared with what cannot be one, '2.0' for example: with every device's version that has one answer."""
    for name, literal in ((one, other), (other, one)):
        if literal.kind == "literal" and name.kind == "name" and name.names[0][0] in names.VERSIONS:
            if token in values.ORDERS and literal.value is not None and values.version(literal.value) is None:
                return "line %d, column %d: %s is no SemVer version (like 2.0.0), so %s never compares with it" % (
                    literal.token.line, literal.token.column, literal.token, name.names[0][0])  # fmt: skip


@v_args(inline=True)
class Builder(Transformer):
    def start(self, node):
        return node and _condition(node)

    def any(self, *parts):
        parts = [_condition(part) for part in parts]
        return _joined(parts, _any_of([part.get for part in parts]))

    def all(self, *parts):
        parts = [_condition(part) for part in parts]
        return _joined(parts, _all_of([part.get for part in parts]))

    def group(self, token, inner, end):
        return _deeper(token, inner, end.end_pos, inner.get)

    def negation(self, token, operand):
        operand = _condition(operand)
        get = operand.get
        return _deeper(token, operand, operand.end, lambda device, update: not get(device, update))

    def comparison(self, left, token, right):
        get = _comparison(left, token, right)
        depth = left.depth if left.depth > right.depth else right.depth
        node = Node(left.token, right.end, get, "condition", None, left.names + right.names, left.terms + right.terms, depth)
        return _as_term(node, _doubt(token, left, right))

    def call(self, token, _, *rest):
        *arguments, end = rest
        left, order, right = _arguments(token, arguments)
        holds = lambda device, update: values.in_order(left.get(device, update), order, right.get(device, update))  # noqa: E731
        joined = _joined((left, right), holds)
        node = Node(token, end.end_pos, holds, names=left.names + right.names, terms=joined.terms, depth=joined.depth)
        return _as_term(node, _doubt(order, left, right))

    def name(self, token):
        if token in texts.WORDS:
            return _literal(token, texts.WORDS[token])
        get = names.getter(token)
        return Node(token, token.end_pos, get, "name", names=((str(token), get),))

    def string(self, token):
        return _literal(token, texts.unquoted(token))

    def number(self, token):
        return _literal(token, texts.number(token))

    def regex(self, token):
        return Node(token, token.end_pos, None, "regex", texts.regex(token))


def _any_of(parts):
    if len(parts) == 2:
        first, second = parts
        return lambda device, update: first(device, update) or second(device, update)

    def holds(device, update):
        for part in parts:
            if part(device, update):
                return True
        return False

    return holds


def _all_of(parts):
    if len(parts) == 2:
        first, second = parts
        return lambda device, update: first(device, update) and second(device, update)

    def holds(device, update):
        for part in parts:
            if not part(device, update):
                return False
        return True

    return holds


def _arguments(token, arguments):
    """The three of semver(a, "<", b), the middle one as text."""
    if token != "semver":
        raise at(token, 'there is no function %s, only semver(version, "<", newVersion)' % token[:20])
    if len(arguments) != 3 or None in arguments:
        raise at(token, 'semver takes three arguments: semver(version, "<", newVersion)')
    for each in arguments:
        if each.kind == "regex":
            raise _misplaced(each)
    left, order, right = arguments
    if order.kind != "literal" or order.value not in values.ORDERS:
        raise at(order.token, "the second argument of semver is one of %s, in quotes" % " ".join(values.ORDERS))
    return left, order.value, right

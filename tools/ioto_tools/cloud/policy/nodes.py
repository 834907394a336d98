"""Compiles the grammar's rules to closures: each function builds a closure from those of the rule's parts. Pure.

A closure takes the properties of the device and of the release and returns a value. lark calls these functions while it
parses the text, innermost first, so nothing here recurses over user input.
"""

from collections.abc import Sequence
from typing import Any

from lark import Token, Transformer, v_args

from . import literals, names, values
from .comparisons import (
    check_semver_arguments,
    comparison_warning,
    compile_comparison,
    misplaced_regex,
    version_warning,
)
from .errors import PolicyError, error_at
from .values import Condition, Getter, Properties

DEPTH = 32  # of nested parentheses and negations
TERMS = 50

NamedGetter = tuple[str, Getter]  # a name in the text, and its closure


class Node:
    """A part of a policy. `token`: its first token; `end`: index of its end in the text; `terms`: its conditions."""

    __slots__ = ("token", "end", "get", "value", "kind", "names", "terms", "depth")

    def __init__(
        self,
        token: Token,
        end: int | None,
        get: Any,
        kind: str = "condition",
        value: Any = None,
        names: tuple[NamedGetter, ...] = (),
        terms: "tuple[Term, ...]" = (),
        depth: int = 0,
    ) -> None:
        self.token = token
        self.end = end
        self.get = get  # the closure, a Getter; None for a regex
        self.kind = kind  # condition (true or false), name, literal or regex
        self.value = value  # the value of a literal; the compiled expression of a regex
        self.names = names  # the names in it
        self.terms = terms
        self.depth = depth


class Term:
    """One condition: a comparison, a call, or a single value."""

    __slots__ = ("start", "end", "holds", "names", "warning")

    def __init__(self, node: Node, warning: str | None) -> None:
        self.start = node.token.start_pos or 0
        self.end = node.end
        self.holds: Condition = node.get
        self.names = node.names
        self.warning = warning  # a warning that this is probably a mistake, or None


def _literal(token: Token, value: Any) -> Node:
    return Node(token, token.end_pos, lambda device, update: value, "literal", value)


def _condition(node: Node) -> Node:
    """Convert `node` to a condition (true or false)."""
    if node.kind == "condition":
        return node
    get = node.get
    if node.kind == "regex":
        raise misplaced_regex(node)
    holds = lambda device, update: values.is_true(get(device, update))
    return _as_term(Node(node.token, node.end, holds, names=node.names, terms=node.terms, depth=node.depth))


def _as_term(node: Node, warning: str | None = None) -> Node:
    """Add `node` itself to its terms."""
    node.terms += (Term(node, warning),)
    if len(node.terms) > TERMS:
        raise _too_many(node.token)
    return node


def _too_many(token: Token) -> PolicyError:
    return error_at(token, "more than %d terms" % TERMS)


def _joined(parts: Sequence[Node], get: Condition) -> Node:
    parts_terms = [term for part in parts for term in part.terms]
    if len(parts_terms) > TERMS:
        raise _too_many(_at_term(parts, TERMS))
    return Node(parts[0].token, parts[-1].end, get, terms=tuple(parts_terms), depth=max(part.depth for part in parts))


def _at_term(parts: Sequence[Node], index: int) -> Token:
    """The first token of the part that contains term number `index`, counted from 0."""
    for part in parts:
        index -= len(part.terms)
        if index < 0:
            return part.token
    raise IndexError(index)


def _deeper(token: Token, inner: Node, end: int | None, get: Getter) -> Node:
    if inner.depth == DEPTH:
        raise error_at(token, "nested more than %d levels deep" % DEPTH)
    return Node(token, end, get, inner.kind, inner.value, inner.names, inner.terms, inner.depth + 1)


@v_args(inline=True)
class Builder(Transformer[Token, Node | None]):
    """Builds the Node of each rule of grammar.lark. `start` is None for a blank text."""

    def start(self, node: Node | None) -> Node | None:
        return node and _condition(node)

    def any(self, *parts: Node) -> Node:
        conditions = [_condition(part) for part in parts]
        return _joined(conditions, _any_of([part.get for part in conditions]))

    def all(self, *parts: Node) -> Node:
        conditions = [_condition(part) for part in parts]
        return _joined(conditions, _all_of([part.get for part in conditions]))

    def group(self, token: Token, inner: Node, end: Token) -> Node:
        return _deeper(token, inner, end.end_pos, inner.get)

    def negation(self, token: Token, operand: Node) -> Node:
        operand = _condition(operand)
        get = operand.get
        return _deeper(token, operand, operand.end, lambda device, update: not get(device, update))

    def comparison(self, left: Node, token: Token, right: Node) -> Node:
        get = compile_comparison(left, token, right)
        depth = left.depth if left.depth > right.depth else right.depth
        node = Node(
            left.token, right.end, get, "condition", None, left.names + right.names, left.terms + right.terms, depth
        )
        return _as_term(node, comparison_warning(token, left, right))

    def call(self, token: Token, _: Token, *rest: Any) -> Node:
        *arguments, end = rest  # the arguments' Nodes (a single None if there are none), then the closing parenthesis
        left, order, right = check_semver_arguments(token, arguments)

        def holds(device: Properties, update: Properties) -> bool:
            return values.in_order(left.get(device, update), order, right.get(device, update))

        joined = _joined((left, right), holds)
        node = Node(token, end.end_pos, holds, names=left.names + right.names, terms=joined.terms, depth=joined.depth)
        return _as_term(node, version_warning(left) or version_warning(right))

    def name(self, token: Token) -> Node:
        if token in literals.WORDS:
            return _literal(token, literals.WORDS[token])
        get = names.compile_name(token)
        return Node(token, token.end_pos, get, "name", names=((str(token), get),))

    def string(self, token: Token) -> Node:
        return _literal(token, literals.unquote(token))

    def number(self, token: Token) -> Node:
        return _literal(token, literals.number(token))

    def regex(self, token: Token) -> Node:
        return Node(token, token.end_pos, None, "regex", literals.regex(token))


def _any_of(parts: Sequence[Condition]) -> Condition:
    if len(parts) == 2:
        first, second = parts
        return lambda device, update: first(device, update) or second(device, update)

    def holds(device: Properties, update: Properties) -> bool:
        for part in parts:
            if part(device, update):
                return True
        return False

    return holds


def _all_of(parts: Sequence[Condition]) -> Condition:
    if len(parts) == 2:
        first, second = parts
        return lambda device, update: first(device, update) and second(device, update)

    def holds(device: Properties, update: Properties) -> bool:
        for part in parts:
            if not part(device, update):
                return False
        return True

    return holds

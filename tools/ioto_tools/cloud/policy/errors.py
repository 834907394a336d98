"""Errors in the text of a policy: what is wrong, where, and what is expected there. Pure."""

from collections.abc import Collection
from typing import Any

from lark.exceptions import UnexpectedCharacters

_OPERAND = "a name, a value, ! or ("
# User-readable names of the grammar's terminals, in the order in which messages list them.
_TERMINALS = {
    "NAME": _OPERAND,
    "OPERATOR": "a comparison",
    "_AND": "&&",
    "_OR": "||",
    "COMMA": ",",
    "RPAR": ")",
    "$END": "the end",
}
# Hints for frequent mistakes and for syntax of other languages, by the first character.
_HINTS = {
    "=": "write == to compare",
    "&": "write && for and",
    "|": "write || for or",
    "'": "this string does not end on its line",
    '"': "this string does not end on its line",
    "/": "this regular expression does not end on its line",
    "-": "arithmetic is not supported; write a name that contains - as device['its-name']",
    "[": "a name in brackets must be in quotes: device['its-name']",
}
_DIGIT = "write a number as 12, -1.5 or 1e6, and a version in quotes"


class PolicyError(ValueError):
    """The text is not a valid policy.

    `line` and `column` start at 1; `problem` says what is wrong and what is expected.
    """

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__("line %d, column %d: %s" % (line, column, problem))
        self.problem = problem
        self.line = line
        self.column = column


def line_and_column(text: str, index: int) -> tuple[int, int]:
    """Line and column of the character text[index], starting at 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def error_at(token: Any, problem: str) -> PolicyError:
    """The error `problem` at the position of `token`."""
    return PolicyError(problem, token.line, token.column)


def syntax_error(e: Any, text: str) -> PolicyError:
    """Convert lark's error `e`, an UnexpectedInput, about `text` to a PolicyError."""
    if isinstance(e, UnexpectedCharacters):
        allowed = e.allowed if "NAME" in e.allowed else e.allowed & {"OPERATOR", "_AND", "_OR"}
        hint = _DIGIT if e.char.isdigit() else _HINTS.get(e.char)
        problem = "%s, found %s%s" % (_expected(allowed), ascii(e.char), ": " + hint if hint else "")
        return PolicyError(problem, e.line, e.column)
    if e.token.type == "$END":
        return PolicyError("%s, found the end" % _expected(e.accepts), *line_and_column(text, len(text)))
    hint = ": comparisons cannot be chained" if e.token.type == "OPERATOR" and "_AND" in e.accepts else ""
    return error_at(e.token, "%s, found %s%s" % (_expected(e.accepts), _shortened(e.token), hint))


def _expected(terminals: Collection[str]) -> str:
    words = [word for name, word in _TERMINALS.items() if name in terminals]
    return "expected " + (", ".join(words[:-1]) + " or " + words[-1] if words[1:] else "".join(words))


def _shortened(text: str) -> str:
    return text if len(text) <= 20 else text[:17] + "..."

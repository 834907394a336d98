"""The distribution policy language: which devices a release is for. docs/policy.md specifies it. Pure.

policy = compile("device.version < update.version && device.region == 'us-west'")
policy(device, update)  # True or False: `device` is the body of the check-in, `update` the release, both dicts
policy.explain(device, update)  # every term, whether it is true, and the values of its names
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedInput

from .errors import PolicyError, line_and_column, syntax_error
from .names import property_names
from .nodes import Builder, Term
from .values import Condition, Properties

__all__ = ["CHARACTERS", "DEFAULT_POLICY", "Policy", "PolicyError", "compile", "selects_all"]

CHARACTERS = 2000
# The policy of a release that was published without one.
DEFAULT_POLICY = "device.version < update.version"


class Policy:
    """A compiled policy. Calling it never raises an error and has no side effects, so it is thread-safe."""

    __slots__ = ("text", "holds", "terms")

    def __init__(self, text: str, holds: Condition, terms: tuple[Term, ...]) -> None:
        self.text = text
        self.holds = holds
        self.terms = terms

    def __call__(self, device: Properties, update: Properties) -> bool:
        return self.holds(device, update)

    def __repr__(self) -> str:
        return "Policy(%r)" % self.text

    @property
    def warnings(self) -> list[str]:
        """Warnings about terms that are valid but probably a mistake, each with line and column."""
        return [term.warning for term in self.terms if term.warning]

    @property
    def properties(self) -> set[str] | None:
        """The device properties that the policy may read; None: any. Other properties can't change its result."""
        found: set[str] = set()
        for term in self.terms:
            for name, _ in term.names:
                if (each := property_names(name)) is None:
                    return None
                found.update(each)
        return found

    def explain(self, device: Properties, update: Properties) -> list[dict[str, Any]]:
        """All terms, in the order of the text: [{"term": its text, "holds": bool, "values": {name: value}}]."""
        return [
            {
                "term": self.text[term.start : term.end],
                "holds": term.holds(device, update),
                "values": {name: get(device, update) for name, get in term.names},
            }
            for term in self.terms
        ]


def selects_all(device: Properties, update: Properties) -> bool:
    """The condition of a blank policy: it selects all devices."""
    return True


@lru_cache(4096)
def compile(text: str) -> Policy:
    """Compile `text` to a Policy. A blank text selects all devices.

    PolicyError says where the text is wrong, and what is expected there.
    """
    if len(text) > CHARACTERS:
        raise PolicyError(
            "%d characters: the limit is %d" % (len(text), CHARACTERS), *line_and_column(text, CHARACTERS)
        )
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise PolicyError("an incomplete character (half of a surrogate pair)", *line_and_column(text, e.start)) from e
    try:
        node: Any = _parser().parse(text)  # a Node, from Builder.start()
    except UnexpectedInput as e:
        raise syntax_error(e, text) from e
    if node is None:
        return Policy(text, selects_all, ())
    return Policy(text, node.get, tuple(sorted(node.terms, key=lambda term: term.start)))


@cache
def _parser() -> Lark:
    grammar = (Path(__file__).parent / "grammar.lark").read_text()
    return Lark(grammar, parser="lalr", transformer=Builder())

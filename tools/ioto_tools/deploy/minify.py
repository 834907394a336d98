"""Shorten the private names in the joined files: unshortened, names are a seventh of the compiled code.

Private names are:
* an argument without a default that no call passes by name;
* a definition in a module, except a class, that neither another file nor an application uses;
* an attribute of the agent's classes that starts with an underscore.
A name that a local variable would make ambiguous is kept.
"""

import ast
import builtins
import keyword
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, product
from string import ascii_letters
from typing import Any

_API_ARGUMENTS = {
    "self",
    "name",
    "proc",
    "seconds",
}  # an application may call rWatch(name=..., proc=...), defer(seconds=...)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Minifier:
    """`trees` are the syntax trees of all modules, since an attribute has the same name in all files.

    `attributes` is {name: short name}.
    """

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        nodes = _walk(trees)
        self.fixed = {node.arg for node in nodes if isinstance(node, ast.keyword)} | _API_ARGUMENTS
        self.fixed.update(name for node in nodes if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names)
        inside = [each for node in nodes if isinstance(node, ast.ClassDef) for each in node.body]
        variables = (name for each in inside if not isinstance(each, _FUNCTIONS) for name in _bound_names(each))
        own = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
        own = own.union(each.name for each in inside if isinstance(each, _FUNCTIONS)).difference(variables)
        count = Counter(node.attr for node in nodes if isinstance(node, ast.Attribute))
        private = (name for name, _ in count.most_common() if name in own and name[0] == "_" != name[1])
        self.attributes = dict(zip(private, _short_names({*count, *own})))

    def minify(self, body: list[ast.stmt], names: set[str]) -> dict[str, str]:
        """Shorten the names in the statements `body` of a file; returns {name: short name} of its definitions.

        `names` are its private definitions.
        """
        for node in _walk(body):
            if isinstance(node, ast.Attribute):
                node.attr = self.attributes.get(node.attr, node.attr)
            elif isinstance(node, ast.ClassDef):
                for method in (each for each in node.body if isinstance(each, _FUNCTIONS)):
                    method.name = self.attributes.get(method.name, method.name)
            elif isinstance(node, (*_FUNCTIONS, ast.Lambda)):
                self._shorten_arguments(node)
        nodes = _walk(body)
        names = names.difference(self.fixed, *(_bound_names(node) for node in body if hasattr(node, "body")))
        names.difference_update(node.name for node in body if isinstance(node, ast.ClassDef))
        count = Counter(node.id for node in nodes if isinstance(node, ast.Name) and node.id in names)
        new = dict(zip((name for name, _ in count.most_common()), _short_names(_used_names(nodes))))
        _rename(nodes, new)
        for node in body:
            if isinstance(node, _FUNCTIONS):
                node.name = new.get(node.name, node.name)
        return new

    def _shorten_arguments(self, function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        nodes = list(ast.walk(function))
        given = function.args.args[: len(function.args.args) - len(function.args.defaults)]
        _rename(
            nodes, dict(zip((arg.arg for arg in given if arg.arg not in self.fixed), _short_names(_used_names(nodes))))
        )


def bound_name(node: Any) -> str:
    """The name that an argument, an import, an exception handler or a definition binds."""
    return getattr(node, "arg", None) or getattr(node, "asname", None) or node.name


def _walk(trees: Iterable[ast.AST]) -> list[ast.AST]:
    return [node for tree in trees for node in ast.walk(tree)]


def _bound_names(node: ast.AST) -> Iterator[str]:
    """The names bound inside a statement, except the names of methods."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, _FUNCTIONS):
            yield from () if isinstance(node, ast.ClassDef) else (each.name,)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, (ast.arg, ast.ExceptHandler, ast.alias)):
            yield bound_name(each)
        yield from _bound_names(each)


def _used_names(nodes: Iterable[ast.AST]) -> set[str | None]:
    return {getattr(node, field, None) for node in nodes for field in ("id", "arg", "name", "asname")}


def _rename(nodes: Iterable[ast.AST], new: dict[str, str]) -> None:
    for node in nodes:
        field = {ast.Name: "id", ast.arg: "arg", ast.ExceptHandler: "name"}.get(type(node))
        if field:
            setattr(node, field, new.get(getattr(node, field), getattr(node, field)))


def _short_names(taken: Collection[str | None]) -> Iterator[str]:
    """Yield the shortest possible names that are not in `taken`."""
    for letters in chain(ascii_letters, product(ascii_letters, repeat=2)):
        name = "".join(letters)
        if name not in taken and not keyword.iskeyword(name) and not hasattr(builtins, name):
            yield name

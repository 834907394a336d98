"""Join the agent's modules into a few files, so that shared names, strings and imports are stored once.

If two modules of a file define the same name, it is renamed to name_module, except in the module that the file is named
after. `module.name` is replaced by a name of the joined file, and the upper-case name of a constant by the constant.
Unreferenced definitions are dropped; private names are shortened (minify.py). Scopes are not analysed: a local variable
with the name of a renamed definition is an error.
"""

import ast
import builtins
import keyword
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeGuard

from .minify import Minifier, bound_name

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
Definition = tuple[str, str]  # a module, and a name that is defined in it
Replacement = str | ast.Constant  # a definition's name in its file, or the constant that replaces each use of it


class BundleError(ValueError):
    """The sources can't be joined; the text names the module and what to change."""


class BundledFile(NamedTuple):
    text: str
    names: dict[str, list[str]]  # {short name: the original names}


def bundle(
    sources: dict[str, str], files: dict[str, tuple[str, ...]], kept: Iterable[Definition] = ()
) -> dict[str, BundledFile]:
    """Join `sources` {module: text} into `files` {file: its modules}; returns {file: BundledFile}.

    One module of each file has the file's name. `kept` are definitions that code outside of the agent uses.
    """
    program = _Program({name: ast.parse(text) for name, text in sources.items()}, files, kept)
    return {file: program.text(file) for file in files}


class _Program:
    """All modules, and where each of their definitions goes."""

    def __init__(
        self, trees: dict[str, ast.Module], files: dict[str, tuple[str, ...]], kept: Iterable[Definition]
    ) -> None:
        self.trees = trees
        self.files = files
        self.short = Minifier(trees.values())
        self.file_of = {module: file for file, modules in files.items() for module in modules}
        self.new_names: dict[Definition, Replacement] = {}
        for file, modules in files.items():
            count = Counter(name for module in modules for name in _module_definitions(trees[module]))
            for module in modules:
                for name, constant in _module_definitions(trees[module]).items():
                    alone = count[name] == 1 or module == file
                    self.new_names[module, name] = constant or (name if alone else "%s_%s" % (name, module))
        # The public names of the module that a file is named after, and the names that other files import.
        self.exported: dict[str, set[Any]] = {
            file: {name for name in _module_definitions(trees[file]) if name[0] != "_" or name[:2] == "__"}
            for file in files
        }
        for module, tree in trees.items():
            for node, alias in _package_imports(ast.walk(tree)):
                defined = node.module or "__init__", alias.name
                home = self.file_of.get(defined[0], "")
                if defined in self.new_names and (home != self.file_of.get(module) or home == module):
                    self.exported[home].add(self.new_names[defined])
        for defined in kept:
            self.exported[self.file_of[defined[0]]].add(self.new_names[defined])

    def find(self, module: str, name: str) -> tuple[str, Any]:
        """(file, Replacement) of a definition in `module`."""
        if (module, name) not in self.new_names:
            raise BundleError("%s: %s is not defined in it: import it from the module that defines it" % (module, name))
        return self.file_of[module], self.new_names[module, name]

    def ordered(self, file: str) -> list[str]:
        """The file's modules, each after the modules that it imports."""
        done: list[str] = []

        def add(module: str) -> None:
            if module not in done and self.file_of.get(module) == file:
                for node, alias in _package_imports(self.trees[module].body):
                    add(node.module or alias.name)
                done.append(module)

        for module in self.files[file]:
            add(module)
        return done

    def text(self, file: str) -> BundledFile:
        imports: dict[tuple[type, str | None, int], dict[str, ast.alias]] = {}
        body: list[ast.stmt] = []
        for module in self.ordered(file):
            for node in _Renamer(self, file, module).visit(self.trees[module]).body:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = imports.setdefault((type(node), getattr(node, "module", ""), getattr(node, "level", 0)), {})
                    names.update((ast.unparse(alias), alias) for alias in node.names)
                elif not isinstance(node, ast.Expr):
                    body.append(node)
                # A docstring and a gc.collect() between imports are left out.
                elif not isinstance(node.value, ast.Constant) and ast.unparse(node) != "gc.collect()":
                    raise BundleError(
                        "%s: %s would not be executed: only definitions are joined" % (module, ast.unparse(node))
                    )
        body = _referenced(body, self.exported[file])
        bound = Counter(bound_name(alias) for names in imports.values() for alias in names.values())
        bound.update(name for node in body for name in _definitions(node))
        for name in (name for name, times in bound.items() if times > 1):
            raise BundleError("%s: %s has two meanings: rename one" % (file, name))
        made = [
            ast.Import(list(names.values()))
            if kind is ast.Import
            else ast.ImportFrom(module, list(names.values()), level)
            for (kind, module, level), names in imports.items()
        ]
        new = self.short.minify(body, {name for node in body for name in _definitions(node)} - self.exported[file])
        text = ast.unparse(ast.fix_missing_locations(ast.Module(_number_names(made + body) + made + body, []))) + "\n"
        return BundledFile(text, self._original_names(file, new))

    def _original_names(self, file: str, new: dict[Any, str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, short in self.short.attributes.items():
            found.setdefault(short, []).append(name)
        for (module, name), joined in self.new_names.items():
            if joined in new and self.file_of.get(module) == file:
                found.setdefault(new[joined], []).append("%s.%s" % (module, name))
        return found


def _number_names(body: list[ast.stmt]) -> list[ast.stmt]:
    """Build a statement without effect that makes the compiler number the most used names first.

    The compiler numbers names, and strings that could be names, in order of appearance, and each use of the first 128
    takes one byte. It generates no code for the expressions after `break`.
    """
    known = {
        name
        for node in body
        for name in [*_definitions(node), *(bound_name(alias) for alias in getattr(node, "names", ()))]
    }
    known.update(dir(builtins))
    count: Counter[Any] = Counter()
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, _DEFINITIONS):
            count[node.name] += 2
        elif isinstance(node, ast.Constant):
            count[node.value] += (
                isinstance(node.value, str) and node.value.isidentifier() and not keyword.iskeyword(node.value)
            )
        elif not isinstance(node, ast.Name) or node.id in known:
            count[getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "arg", None)] += 1
    del count[None]
    names = ["None." + name for name, _ in count.most_common(110)] if len(count) > 200 else []
    return ast.parse("while True:\n    break\n    " + "; ".join(names)).body if names else []


class _Renamer(ast.NodeTransformer):
    """Replaces the names in one module by the names in its file."""

    def __init__(self, program: _Program, file: str, module: str) -> None:
        self.program = program
        self.file = file
        tree = program.trees[module]
        self.names: dict[str, Any] = {name: program.new_names[module, name] for name in _module_definitions(tree)}
        self.modules: dict[str, str] = {}  # {name: module} of the imported modules in this file
        for node, alias in _package_imports(ast.walk(tree)):
            bound = bound_name(alias)
            if node.module or alias.name not in program.trees:
                home, new = program.find(node.module or "__init__", alias.name)
                if home == file or isinstance(new, ast.Constant):
                    self.names[bound] = new
                elif bound in self.names:
                    raise BundleError(
                        "%s: line %d: %s is defined in it and also imported: rename one" % (module, node.lineno, bound)
                    )
            elif program.file_of[alias.name] == file:
                self.modules[bound] = alias.name
        taken = {name for names in self.names.items() if names[0] != names[1] for name in names} | set(self.modules)
        for each in ast.walk(tree):
            if self._is_module_attribute(each):
                taken.add(program.find(self.modules[each.value.id], each.attr)[1])
        for name, line in _local_names(tree):
            if name in taken:
                raise BundleError(
                    "%s: line %d: %s has another meaning in the joined file: rename it" % (module, line, name)
                )

    def generic_visit(self, node: Any) -> Any:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        for each in node.body:
            if isinstance(each, _DEFINITIONS):
                each.name = self.names[each.name]
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _named(self.names.get(node.id, node.id), node)

    def _is_module_attribute(self, node: ast.AST) -> TypeGuard[Any]:
        """True if the node is `module.name`, for a module in this file."""
        return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.modules

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if self._is_module_attribute(node):
            return _named(self.program.find(self.modules[node.value.id], node.attr)[1], node)
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return (
            None
            if isinstance(self.names.get(getattr(node.targets[0], "id", "")), ast.Constant)
            else self.generic_visit(node)
        )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Drop imports of names in this file; import names from other files by their new names."""
        if not node.level:
            return node
        kept = [
            a for a in node.names if (a.asname or a.name) not in self.names and (a.asname or a.name) not in self.modules
        ]
        home = None
        for alias in kept:
            if node.module or alias.name not in self.program.trees:
                home, new = self.program.find(node.module or "__init__", alias.name)
                alias.name, alias.asname = (
                    new,
                    None if new == (alias.asname or alias.name) else alias.asname or alias.name,
                )
        return ast.ImportFrom(None if home == "__init__" else home, kept, 1) if kept else None


def _named(new: Replacement, node: ast.Name | ast.Attribute) -> ast.expr:
    return new if isinstance(new, ast.Constant) else ast.Name(new, node.ctx)


def _package_imports(nodes: Iterable[ast.AST]) -> list[tuple[ast.ImportFrom, ast.alias]]:
    """(statement, alias) of each import from the package itself."""
    return [(node, alias) for node in nodes if isinstance(node, ast.ImportFrom) and node.level for alias in node.names]


def _definitions(node: ast.AST) -> dict[str, ast.Constant | None]:
    """{name: ast.Constant or None} of the definitions in a statement at module level."""
    if isinstance(node, _DEFINITIONS):
        return {node.name: None}
    if not isinstance(node, ast.Assign):
        return {}
    names = [
        (name.id, name in node.targets)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    ]
    return {name: _constant(node.value) if alone and name.isupper() else None for name, alone in names}


def _module_definitions(tree: ast.Module) -> dict[str, ast.Constant | None]:
    return {name: constant for node in tree.body for name, constant in _definitions(node).items()}


def _read_counts(body: list[ast.stmt]) -> Counter[str]:
    """Count how often each name is read."""
    return Counter(
        name.id
        for node in body
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
    )


def _referenced(body: list[ast.stmt], wanted: set[Any]) -> list[ast.stmt]:
    """The statements without unreferenced definitions, such as helpers for the host or for tests."""
    while True:
        used = wanted.union(_read_counts(body))
        kept = [node for node in body if not _definitions(node) or used.intersection(_definitions(node))]
        if len(kept) == len(body):
            return body
        body = kept


def _constant(node: ast.expr) -> ast.Constant | None:
    """The ast.Constant of a literal int, str, bytes or tuple; else None."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    is_constant = isinstance(value, (int, str, bytes, tuple))
    return ast.Constant(value) if is_constant else None


def _local_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(name, line) of the names bound inside definitions, except names of methods."""
    for top in tree.body:
        if isinstance(top, _DEFINITIONS):
            no_names = [top] + [each for node in ast.walk(top) if isinstance(node, ast.ClassDef) for each in node.body]
            for node in (node for node in ast.walk(top) if node not in no_names):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id, node.lineno
                elif isinstance(node, (ast.arg, *_DEFINITIONS, ast.ExceptHandler)):
                    yield bound_name(node), node.lineno
                elif isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
                    yield from ((bound_name(alias), node.lineno) for alias in node.names)
                elif isinstance(node, ast.Global):
                    yield from ((name, node.lineno) for name in node.names)

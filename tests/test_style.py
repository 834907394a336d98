"""House rules that a machine can check, over every tracked file."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (".py", ".md", ".toml", ".json", ".html", ".css", ".cfg", ".txt", ".csv")


def files():
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [ROOT / n for n in names if n and (ROOT / n).is_file()]


def python_files():
    return [f for f in files() if f.suffix == ".py"]


def trees(under=""):
    for file in python_files():
        name = str(file.relative_to(ROOT))
        if name.startswith(under):
            yield name, ast.parse(file.read_text())


def test_no_file_is_long():
    """At most 400 lines; 480 in tests, whose tables take a line for each case."""
    lines = {str(f.relative_to(ROOT)): f.read_text().count("\n") for f in python_files()}
    assert not {name: n for name, n in lines.items() if n > (480 if name.startswith("tests/") else 400)}


def test_no_function_is_long():
    long = [
        "%s:%d %s" % (name, node.lineno, node.name)
        for name, tree in trees()
        if not name.startswith("tests/")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.body[0].lineno >= 50
    ]
    assert not long


def test_nothing_catches_everything():
    bare = [
        "%s:%d" % (name, node.lineno)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare


def test_the_agent_does_not_print():
    prints = [
        "%s:%d" % (name, node.lineno)
        for name, tree in trees("lib/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not prints


def test_the_agent_asks_for_one_beginning_at_a_time():
    """In MicroPython 1.24, startswith() and endswith() do not accept tuples. A name in capitals may be a tuple."""
    several = [
        "%s:%d" % (name, node.lineno)
        for name, tree in trees("lib/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") in ("startswith", "endswith")
        and (isinstance(node.args[0], ast.Tuple) or getattr(node.args[0], "id", "").isupper())
    ]
    assert not several


def test_every_module_says_what_it_is():
    silent = [name for name, tree in trees() if not ast.get_docstring(tree) and tree.body]
    assert not silent


def test_no_machine_paths_and_no_registries():
    bad = re.compile(r"(?<![\w.])/(work|root|home/\w+)/|index-url|--registry|registry\s*=")
    found = []
    for file in files():
        if file.suffix not in TEXT and file.name not in ("Makefile", "run") or file == Path(__file__):
            continue
        found += [
            "%s:%d" % (file.relative_to(ROOT), i)
            for i, line in enumerate(file.read_text().split("\n"), 1)
            if bad.search(line)
        ]
    assert not found


def test_every_requirement_is_locked_by_hash():
    """requirements.txt is what `make lock` makes of requirements.in: the same versions, each with hashes."""
    for name in ("requirements", "requirements-firmware"):
        wanted = {
            line.split()[0].lower().replace("_", "-")
            for line in (ROOT / (name + ".in")).read_text().split("\n")
            if line and line[0] != "#"
        }
        entries = (ROOT / (name + ".txt")).read_text().replace("\\\n", " ").strip().split("\n")
        locked = {entry.split()[0].lower().replace("_", "-") for entry in entries}
        assert wanted <= locked, "run `make lock`: %s" % sorted(wanted - locked)
        assert all("--hash=sha256:" in entry for entry in entries)


def test_the_pictures_of_the_imports_are_the_contracts():
    """`make lint` checks pyproject.toml; docs/internals.md shows the same."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["id"]: contract.get("layers") for contract in contracts}
    page = (ROOT / "docs" / "internals.md").read_text()
    lines = re.search(r"```text\n(cli .*?)```", page, re.S)[1].strip().split("\n")
    assert [" : ".join(line[:20].split()) for line in lines] == layers["tools"]
    rows = re.findall(r"^\| (`.*`) \|", page.split("| `cloud/` | contents |")[1].split("\n\n")[0], re.M)
    folders = [folder for row in rows for folder in re.findall(r"`(\w+)`", row)]
    assert folders[::-1] == [layer for layer in layers["cloud"] if layer != "app"]

"""Short names: the meaning is the same, whatever a scope does with a name, and tracebacks can be restored."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ioto_tools.cli import main
from ioto_tools.deploy.agent_build import agent_files, bundled_files, restore_names
from ioto_tools.deploy.bundle import bundle

# Each line uses a name in a different way that shortening could break.
SOURCES = {
    "__init__": "",
    "start": """
from . import other
from .other import Thing
def named(first, second=2, third=3):
    return first, second, third
def plain(argument, given):
    return [argument + given for argument in (argument, 1)], (lambda given: given * argument)(given)
def around(value, plain_):
    def inner(value, more=1):
        return value + more + plain_
    return inner(value) + inner(value=1), (lambda value=value: value)()
def caught(value):
    try:
        raise ValueError(value)
    except ValueError as plain_:
        return str(plain_), a
def local(value):
    _unit = value
    return _unit
def shadowing(helper):
    return helper + 1
def helper(value):
    return value - _unit
def count(value):
    global _counted
    _counted += value
    return _counted
_unit = 5
_counted = 0
a = "of one letter"
class Kept:
    _of_class = 7
    plain = 8
    def __init__(self, start):
        self._start = self._of_class + start
        self._of_class = 9
    def _step(self, step):
        return self._start + step + self._of_class + self.plain
    def run(self, steps, wide=False):
        from os import path
        return [self._step(step) for step in steps], path.sep, wide
def start(text):
    thing = Thing(1)
    return (
        named(1, third=4), plain(2, 3), around(4, 5), caught("x"), local(6), shadowing(7), helper(8),
        count(9), count(1),
        Kept(10).run([1, 2], wide=True), thing.shown(), thing._private, other.twice_as_much(11), dict(argument=12),
    )
""",
    "other": """
class Thing:
    def __init__(self, value):
        self._private = value
        self.public = value
    def shown(self):
        return self._hidden(1) + self.public
    def _hidden(self, value):
        return value + self._private
def twice_as_much(value):
    return 2 * value
def not_of_use():
    return 3
""",
}  # fmt: skip
FILES = {"__init__": ["__init__"], "start": ["start", "other"]}
ASYNCIO = ("_io_queue", "_task_queue")


def test_it_means_the_same(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    found = bundle(SOURCES, FILES)
    for package, files in (("long", SOURCES), ("short", {file: text for file, (text, _) in found.items()})):
        (tmp_path / package).mkdir()
        for name, text in files.items():
            (tmp_path / package / (name + ".py")).write_text(text)
    said = [__import__(package + ".start", fromlist=["start"]).start("text") for package in ("long", "short")]
    assert said[0] == said[1] and len(said[0]) == 14
    text, names = found["start"]
    assert not [name for name in ("twice_as_much", "_hidden", "_private", "_start", "_step", "steps") if name in text]
    assert [
        name
        for name in (
            "_of_class",
            "_unit",
            "_counted",
            "second",
            "third",
            "argument",
            "Thing",
            "start",
            "public",
            "shown",
        )
        if name not in text
    ] == []
    assert ["other.twice_as_much"] in names.values() and ["_private"] in names.values()


def test_names_used_by_other_files_are_kept():
    assert "def twice_as_much" in bundle(SOURCES, FILES, [("other", "twice_as_much")])["start"][0]
    far = {**SOURCES, "far": "from .other import twice_as_much\n"}
    found = bundle(far, {**FILES, "far": ["far"]})
    assert "def twice_as_much" in found["start"][0] and "import twice_as_much" in found["far"][0]


@pytest.mark.parametrize("on", ["esp32", "linux"])
def test_an_attribute_has_the_same_short_name_in_all_files(on):
    """No two attributes share a short name; public and foreign attributes keep their names."""
    said = {}
    for text, names in bundled_files(on).values():
        used = (
            node
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Constant)
        )
        attributes = {node.attr for node in used}
        assert not [name for name in attributes if name[0] == "_" and not name.startswith("__") and name not in ASYNCIO]
        for short, long in names.items():
            private = [name for name in long if "." not in name]
            assert len(private) < 2 and said.setdefault(short, private) == private


def test_names_in_a_traceback_are_restored(tmp_path):
    micropython = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"
    for name, raw in agent_files("linux").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "ioto.json").write_text('{"builder": "https://example.com", "tls": {"ca": "gone.pem"}}')
    (tmp_path / "device.json").write_text('{"id": "auto"}')
    code = "import sys; sys.path.insert(0, 'lib'); from ioto.start import agent; agent()"
    told = subprocess.run([micropython, "-c", code], cwd=tmp_path, capture_output=True, text=True).stdout
    assert "ConfigError: ioto.json: tls.ca" in told and "config.load" not in told, told
    read = restore_names(told, "linux")
    assert "config.load\n" in read and "in agent\n" in read and read.splitlines()[-1] == told.splitlines()[-1], read


@pytest.mark.sweep
def test_traceback_command_restores_every_name():
    """Names of functions and methods are restored; other names are kept."""
    for short, long in bundled_files()["agent"][1].items():
        text = '  File "agent", line 1, in %s\n'
        read = (
            CliRunner()
            .invoke(main, ["board", "traceback"], input=text % short + text % "run" + "ValueError: in %s\n" % short)
            .output
        )
        assert read == text % " or ".join(long) + text % "run" + "ValueError: in %s\n" % short

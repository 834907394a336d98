"""Collects every test of this folder twice: for pytest on CPython, and for MicroPython's unix port.

`test_against_*` runs on CPython only (it needs a reference library); `digest_*` runs on both and must agree.
"""

import ast
import functools
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIB = HERE.parent.parent / "lib"
VECTORS = Path("../shared/vectors")  # published test vectors of other projects, in a folder beside the repository
RUNNER = HERE / "run_micropython.py"
DIGEST = "digest: "
# Only for `make sweep`, because each takes seconds. A marker would need pytest, which these files can't import on
# MicroPython.
LONG = (
    "digest_of_every_key_with_every_value", "test_every_key_refuses_invalid_values_with_a_message",
    "test_against_zoneinfo_every_minute_of_a_year", "digest_of_a_year_of_openings",
    "test_every_minute_around_clock_changes", "test_fleet_is_spread_over_its_window",
    "test_against_cronsim_every_minute_of_two_years",
)  # fmt: skip

if str(LIB) not in sys.path:
    sys.path.insert(0, str(LIB))
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))


def micropython(path, function):
    """Run one function of a test file under the unix port and return what it printed."""
    command = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"
    run = subprocess.run(
        [command, "-X", "heapsize=8m", str(RUNNER), str(LIB), str(path), function],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if run.returncode:
        raise AssertionError("on MicroPython:\n" + run.stdout[-6000:] + run.stderr[-6000:])
    return run.stdout


@functools.cache
def load(path):
    spec = importlib.util.spec_from_file_location("pure_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OnMicroPython(pytest.Item):
    def __init__(self, *, called, **kwargs):
        super().__init__(**kwargs)
        self.called = called

    def runtest(self):
        printed = micropython(self.path, self.called)
        if self.called.startswith("digest_"):
            here = getattr(load(self.path), self.called)()
            there = [line for line in printed.splitlines() if line.startswith(DIGEST)][-1][len(DIGEST) :]
            assert there == here, "MicroPython and CPython have different results for %s" % self.called

    def repr_failure(self, excinfo):
        return str(excinfo.value) if excinfo.errisinstance(AssertionError) else super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, 0, "%s[micropython]" % self.called


class MicroPythonFile(pytest.File):
    def collect(self):
        for node in ast.parse(self.path.read_text()).body:
            name = getattr(node, "name", "")
            if name.startswith(("test_", "digest_")) and not name.startswith("test_against_"):
                yield OnMicroPython.from_parent(self, name=name + "[micropython]", called=name)


def pytest_collect_file(file_path, parent):
    if file_path.name.startswith("test_") and file_path.suffix == ".py":
        return MicroPythonFile.from_parent(parent, path=file_path)


def pytest_collection_finish():
    gc.freeze()  # the agent often calls gc.collect(), which now skips the objects of the tests


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == HERE and item.name.partition("[")[0] in LONG:
            item.add_marker(pytest.mark.sweep)
    if VECTORS.exists() or os.environ.get("CI") == "true":  # in CI, nothing is skipped: tests without vectors fail
        return
    for item in items:
        if item.path.parent == HERE and "vectors" in item.name:
            item.add_marker(pytest.mark.skip(reason="%s is not here" % VECTORS))

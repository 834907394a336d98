"""CONTRIBUTING.md: the files and commands that it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:lib|tools|tests|docs|\.ci)/[\w./]+)`", TEXT))))
def test_a_path(path):
    assert (ROOT / path).exists()


def test_every_folder_of_tests_is_in_the_map():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert folders == {name for name in folders if "`tests/%s`" % name in TEXT}


def test_commands():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make (\w+)", TEXT))
    assert len(named) > 5 and named <= targets


def test_names_of_the_code():
    """In each line of a recipe: the names in capitals are in its first file."""
    for path, name in re.findall(r"^\* `([\w./]+\.py)`.*?`([A-Z]{3,})`", TEXT, re.M):
        assert re.search(r"^%s\b" % name, (ROOT / path).read_text(), re.M), (path, name)

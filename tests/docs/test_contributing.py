"""CONTRIBUTING.md names existing files, make targets and names in the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:lib|tools|tests|docs|\.ci)/[\w./]+)`", TEXT))))
def test_paths_exist(path):
    assert (ROOT / path).exists()


def test_map_lists_every_folder_of_tests():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert folders == {name for name in folders if "`tests/%s`" % name in TEXT}


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make (\w+)", TEXT))
    assert len(named) > 5 and named <= targets


def test_names_in_recipes_exist():
    """In each line of a recipe, the name in capitals is defined in the first file."""
    for path, name in re.findall(r"^\* `([\w./]+\.py)`.*?`([A-Z]{3,})`", TEXT, re.M):
        assert re.search(r"^%s\b" % name, (ROOT / path).read_text(), re.M), (path, name)

"""docs/security.md names a test for every attack, and describes the manifest."""

import ast
import re
from pathlib import Path

import pytest
from ioto import release
from ioto.errors import REASONS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
ATTACKS = ("arbitrary installation", "endless data", "extraneous dependencies", "fast-forward", "indefinite freeze",
    "malicious mirror",
           "mix-and-match", "rollback", "slow retrieval", "wrong software", "key compromise")  # fmt: skip


def rows(title):
    """[(attack, defence, test)] of a section's table."""
    section = re.split(r"^## ", PAGE.split("\n## %s\n" % title)[1], flags=re.M)[0]
    return [
        row for row in re.findall(r"^\| (.+?) \| (.+) \| (.+) \|$", section, re.M) if row[2] not in ("---", "shown in")
    ]


def find_tests():
    """{(file, function)} of every test."""
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                found.add((file.name, node.name))
    return found


TESTS = find_tests()


def test_page_lists_every_attack_of_tuf():
    assert tuple(attack for attack, _, _ in rows("Attacks on updates")) == ATTACKS


@pytest.mark.parametrize("title", ["Attacks on updates", "Other attacks and accidents", "The device cloud"])
def test_every_row_names_existing_tests(title):
    found = rows(title)
    assert len(found) > 8
    for attack, _, shown in found:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", shown)
        assert named, attack
        assert [each for each in named if each not in TESTS] == [], attack
        assert re.sub(r"`.*?`|[, ]", "", shown) == "", attack


def test_attacks_are_tested_with_agent_server_and_flash():
    for attack, _, shown in rows("Attacks on updates"):
        assert all((ROOT / "tests" / "agent" / name).exists() for name in re.findall(r"`(\w+\.py)::", shown)), attack


def test_page_describes_the_manifest():
    section = PAGE.split("| manifest |")[1].split("\n\n")[0]
    told = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in section.split("\n")[2:]))
    assert sorted(told) == sorted(release.FIELDS)
    assert "`%s`" % release.MAGIC.decode() in PAGE and "%d bytes in front" % release.ENVELOPE_BYTES in PAGE


def test_named_reasons_exist():
    for name in re.findall(r"`((?:tls|manifest|version|signature|image)_\w+)`", PAGE):
        assert name in REASONS, name

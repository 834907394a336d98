"""docs/policy.md: commands print what the page shows, examples and errors are real, and the tables are complete."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ioto_tools.cloud import policy
from ioto_tools.cloud.policy import literals, nodes

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "policy.md").read_text()
PROGRAM = "#!/bin/sh\nexec '%s' -c 'from ioto_tools.cli import main; main()' \"$@\"\n" % sys.executable


def blocks(kind):
    return re.findall(r"```%s\n(.*?)```" % kind, PAGE, re.S)


DEVICE, UPDATE = (json.loads(text) for text in re.split(r"(?<=})\n(?={)", blocks("json")[0].strip()))
EXAMPLES = re.findall(r"^(.*?) +// (holds|does not)\b", blocks("js")[1], re.M)
ERRORS = re.findall(r"^(.*?) +line (\d+), column (\d+): (.*)$", blocks("text")[0], re.M)


def test_commands_print_what_the_page_shows(tmp_path):
    (tmp_path / "ioto").write_text(PROGRAM)
    (tmp_path / "ioto").chmod(0o755)
    console = blocks("console")[0]
    (tmp_path / "device.json").write_text(re.search(r"^\{.*\}\n", console, re.M)[0])
    env = dict(
        os.environ, PATH="%s:%s" % (tmp_path, os.environ["PATH"]), PYTHONPATH="%s:%s" % (ROOT / "lib", ROOT / "tools")
    )
    for command, wanted in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", console, re.M):
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert done.stdout + done.stderr == wanted
        assert done.returncode == wanted.startswith("Error")


def test_first_example():
    assert policy.compile(blocks("js")[0])({"version": "1.0.0", "pro": 1}, {"version": "1.0.1"})


@pytest.mark.parametrize("text, says", EXAMPLES)
def test_example(text, says):
    assert policy.compile(text)(DEVICE, UPDATE) is (says == "holds")


@pytest.mark.parametrize("text, line, column, problem", ERRORS)
def test_error(text, line, column, problem):
    with pytest.raises(policy.PolicyError) as e:
        policy.compile(text)
    assert str(e.value) == "line %s, column %s: %s" % (line, column, problem)


def test_all_examples_and_errors_are_found():
    assert len(EXAMPLES) == blocks("js")[1].count("\n") > 15
    assert len(ERRORS) == blocks("text")[0].count("\n") > 5


def test_tables_name_every_operator_escape_and_limit():
    tables = "".join(re.findall(r"^\| .*", PAGE.split("## Operators")[1].split("## Examples")[0], re.M))
    for operator in (*policy.values.OPERATORS, "=~"):
        assert "`a %s " % operator in tables, operator
    for escape in literals._ESCAPES:
        assert "\\%s " % escape in PAGE.split("## Values")[1], escape
    limits = PAGE.split("## Limits")[1]
    for number in (policy.CHARACTERS, nodes.TERMS, nodes.DEPTH):
        assert " %d " % number in limits
    assert policy.DEFAULT_POLICY in PAGE and " ".join(policy.values.ORDERS[1:]) in PAGE


def test_statements_about_single_values():
    for text in (
        "'1.0.0+a' == '1.0.0'",
        "'10' < '9'",
        "'1.10' < '1.9'",
        '"true" == true && true == 1 && "true" == 1',
        '"512" >= 256',
    ):
        assert policy.compile(text)({}, {})
    for line, read in (("is a version", policy.values.version), ("is a number", policy.values.number)):
        statement = (
            re.search(r"\* It \*\*%s\*\*(.*?)\n(?=\*|\n)" % line, PAGE, re.S)[1]
            .split("exponent:")[-1]
            .split("fewer:")[-1]
        )
        yes, no = (re.findall(r"`(.*?)`", half) for half in statement.split("; not"))
        assert len(yes) >= 2 and all(read(text) is not None for text in yes), yes
        assert len(no) >= 3 and all(read(text) is None for text in no), no

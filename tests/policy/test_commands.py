"""`ioto policy test`: its output for people and for programs, and every error."""

import json

import pytest
from click.testing import CliRunner
from ioto_tools.cli import main

DEVICE = '{"id": "K1", "version": "1.0.0", "region": "eu"}'


def run(*arguments, device=DEVICE):
    done = CliRunner().invoke(main, ["policy", "test", *arguments, "--device", "-"], input=device)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def test_json_output():
    code, out, err = run("region == 'eu' &&\n newVersion > '2'", "--version", "1.1.0", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "policy": "region == 'eu' &&\n newVersion > '2'",
        "holds": False,
        "terms": [
            {"term": "region == 'eu'", "holds": True, "values": {"region": "eu"}},
            {"term": "newVersion > '2'", "holds": False, "values": {"newVersion": "1.1.0"}},
        ],
        "doubts": ["line 2, column 15: '2' is not a SemVer version (like 2.0.0): no version can be compared with it"],
    }


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_blank_policy_is_the_default(blank):
    assert run(blank, "--version", "1.0.1")[1].startswith("the policy matches")
    for version in ("1.0.0", "1.0.0-rc.1", "0.9.9"):
        assert run(blank, "--version", version)[1].startswith("the policy does not match")
    assert run(blank)[1].startswith("the policy does not match")


def test_device_in_json5():
    assert run("a['b-c'] == 1", device="{a: {'b-c': 1,},} // as in device.json5")[1].startswith("the policy matches")


@pytest.mark.parametrize("arguments, device, says", [
    (["a ="], DEVICE, "line 1, column 3"),
    (["a &&\n\tb ? c"], DEVICE, "    b ? c".replace("    ", "   ") + "\n     ^"),
    (["a"], "[1]", "expected: an object"),
    (["a"], "{", "not JSON: line 1 column 2"),
    (["a"], "", "not JSON"),
    (["a", "--version", "1.0"], DEVICE, "--version 1.0: expected: SemVer 2.0"),
])  # fmt: skip
def test_errors_are_clear(arguments, device, says):
    code, out, err = run(*arguments, device=device)
    assert (code, out) == (1, "") and says in err


def test_missing_file_is_named(tmp_path):
    done = CliRunner().invoke(main, ["policy", "test", "a", "--device", str(tmp_path / "nothing.json")])
    assert done.exit_code == 2 and "nothing.json" in done.stderr

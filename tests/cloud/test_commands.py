"""The command line: help, JSON output, error messages, starting and stopping the server."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner
from cloud_under_test import COMMAND, ENV, esp_image
from ioto_tools.cli import main


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(a) for a in arguments])


def test_commands_print_json(tmp_path, monkeypatch, make_site):
    make_site.settings(tmp_path / "site")
    monkeypatch.setenv("IOTO_DATA", str(tmp_path / "site"))
    (tmp_path / "a.bin").write_bytes(esp_image(b"a"))
    made = json.loads(run("product", "new", "thermo", "--json").output)
    assert len(made["id"]) == 26
    published = json.loads(
        run("publish", tmp_path / "a.bin", "--product", made["id"], "--version", "1.0.0", "--json").output
    )
    assert published["new"] is True and published["product"] == "thermo" and published["states"] == {}
    assert (
        json.loads(run("publish", tmp_path / "a.bin", "--product", "thermo", "--version", "1.0.0", "--json").output)[
            "new"
        ]
        is False
    )
    made = json.loads(run("device", "new", "D1", "--product", "thermo", "--json").output)
    assert set(made) == {"id", "product", "token"}
    assert [p["devices"] for p in json.loads(run("product", "list", "--json").output)] == [1]
    assert [d["id"] for d in json.loads(run("devices", "--product", "thermo", "--json").output)] == ["D1"]
    assert json.loads(run("device", "show", "D1", "--json").output)["reports"] == []
    assert json.loads(run("updates", "disable", "thermo@1.0.0", "--json").output)["enabled"] is False
    assert [u["enabled"] for u in json.loads(run("updates", "--product", "thermo", "--json").output)] == [False]
    assert json.loads(run("updates", "enable", published["update"], "--json").output)["enabled"] is True


def test_rollout_with_every_option(tmp_path, monkeypatch, make_site):
    make_site.settings(tmp_path / "site")
    monkeypatch.setenv("IOTO_DATA", str(tmp_path / "site"))
    (tmp_path / "a.bin").write_bytes(esp_image(b"a"))
    run("product", "new", "thermo", "--require-claim")
    run("device", "new", "D1", "--product", "thermo")
    run("groups", "set", "beta", "try_beta == true")
    terms = ("--group", "beta", "--policy", "version < newVersion", "--limit", 9, "--percentage", "50%", "--rate", 3,
        "--period", "1 hour",
             "--start", "2026-01-01", "--end", "2037-01-01", "--stop-rule", "5% after 20")  # fmt: skip
    publish = ("publish", tmp_path / "a.bin", "--product", "thermo", "--version", "1.0.0-alpha11", *terms)
    tried = json.loads(run(*publish, "--dry-run", "--json").output.partition("\n")[2])
    assert tried == {"devices": 1, "found": {"version": {"count": 1, "examples": ["D1"]}}, "doubts": []}
    assert (
        "0 of 1 device would be offered it" in run(*publish, "--dry-run").output
        and json.loads(run("updates", "--json").output) == []
    )
    done = run(*publish, "--require-approval")
    assert (
        done.exit_code == 0 and "alpha.11" in done.output and "ioto updates approve thermo@1.0.0-alpha11" in done.output
    )
    name = "thermo@1.0.0-alpha11"
    shown = json.loads(run("updates", "show", name, "--json").output)
    assert shown["terms"] == {
        "policy": "(try_beta == true) && (version < newVersion)", "limit": 9, "percentage": 50, "rate": 3,
        "period": "1 hour",
        "start": "2026-01-01T00:00:00Z", "end": "2037-01-01T00:00:00Z", "stop": "5% after 20",
        "stages": None, "gate": None, "age": "1 day",
        "kind": "feature", "notes": None, "advisory": None, "no_defer_after": None,
    } and shown["state"] == "awaiting" and shown["audit"][0]["action"] == "release.published"  # fmt: skip
    assert "(try_beta == true)" in run("updates", "show", name).output
    for command, state in (("approve", "active"), ("pause", "paused"), ("resume", "active")):
        assert json.loads(run("updates", command, name, "--json").output)["state"] == state
    assert (
        json.loads(run("updates", "set", name, "--limit", "none", "--stop-rule", "none", "--json").output)["terms"][
            "limit"
        ]
        is None
    )
    assert "does not compare device.version" in run("updates", "set", name, "--policy", "true").output
    assert [each["id"] for each in json.loads(run("devices", "--policy", "id == 'D1'", "--json").output)] == ["D1"]
    assert json.loads(run("devices", "--group", "beta", "--json").output) == []
    for command in (("pin", "D1", "1.0.0"), ("unpin", "D1"), ("release", "D1"), ("claim", "D1")):
        assert run("device", *command).exit_code == 0, command
    found = json.loads(run("device", "show", "D1", "--json").output)
    assert (
        found["claimed"]
        and found["pin"] is None
        and [(each["update"], each["why"]) for each in found["offers"]] == [(shown["update"], "version")]
    )
    assert "1.0.0-alpha11  no" in run("device", "show", "D1").output
    assert json.loads(run("groups", "list", "--json").output) == [{"name": "beta", "policy": "try_beta == true"}]
    assert json.loads(run("groups", "remove", "beta", "--json").output) == {"name": "beta"}
    assert json.loads(run("updates", "cancel", name, "--json").output)["state"] == "cancelled"


def test_stages(tmp_path, monkeypatch, make_site):
    make_site.settings(tmp_path / "site")
    monkeypatch.setenv("IOTO_DATA", str(tmp_path / "site"))
    (tmp_path / "a.bin").write_bytes(esp_image(b"a"))
    run("product", "new", "thermo")
    publish = ("publish", tmp_path / "a.bin", "--product", "thermo", "--version", "1.1.0", "--stages")
    refused = run(*publish, "1% 1h, 1% 1d, 100%")
    assert refused.exit_code == 1 and "stages: stage 2, `1% 1d`: its percentage must be above 1" in refused.output
    assert run(*publish, "1% 1h, 10% 1d, 100%").exit_code == 0
    shown = run("updates", "show", "thermo@1.1.0").output
    assert re.search(r"1 +1% +1 hour +20\d\d-.* UTC\s+2 +10% +1 day +-\s+3 +100% +- +-\s", shown), shown
    assert "the next stage waits for: until 20" in shown and "waits for: 1 more finished device\n" in shown
    assert "not compared: free heap: too little data: sent by 0 devices" in shown
    assert run("updates", "hold", "thermo@1.1.0").output == "thermo 1.1.0 is held in its stage\n"
    assert run("updates", "advance", "thermo@1.1.0").output == "thermo 1.1.0 is in stage 2 of 3 (10%)\n"
    assert "UTC, held" in run("updates", "show", "thermo@1.1.0").output
    assert "no longer held" in run("updates", "unhold", "thermo@1.1.0").output
    assert json.loads(run("updates", "advance", "thermo@1.1.0", "--json").output)["stages"]["stage"] == 3
    for command in ("advance", "hold"):
        refused = run("updates", command, "thermo@1.1.0")
        assert refused.exit_code == 1 and "thermo 1.1.0 is in its last stage" in refused.output
    assert run("updates", "set", "thermo@1.1.0", "--stages", "none", "--percentage", "50").exit_code == 0
    assert "Stages" not in run("updates", "show", "thermo@1.1.0").output


def test_errors_name_the_cause_and_a_remedy(tmp_path, make_site):
    make_site.settings(tmp_path / "site")
    data = "--data", tmp_path / "site"
    (tmp_path / "a.bin").write_bytes(esp_image(b"a"))
    (tmp_path / "t.py").write_text("print()\n" * 100)
    file = tmp_path / "a.bin"
    for arguments, words in (
        (("devices", *data), ("site", "ioto product new", "--data")),
        (("product", "new", "thermo", *data), ("thermo",)),
        (("product", "new", "thermo", *data), ("thermo", "ioto product list")),
        (
            ("publish", file, "--product", "nix", "--version", "1.0.0", *data),
            ("nix", "known products: thermo", "ioto product new nix"),
        ),
        (("publish", file, "--product", "thermo", "--version", "1.0", *data), ("1.0", "SemVer")),
        (("publish", tmp_path / "t.py", "--product", "thermo", "--version", "1.0.0", *data), ("t.py", "--any-file")),
        (
            ("publish", tmp_path / "nix.bin", "--product", "thermo", "--version", "1.0.0", *data),
            ("nix.bin", "does not exist"),
        ),
        (("publish", file, "--version", "1.0.0", *data), ("--product",)),
        (("device", "show", "D9", *data), ("D9", "ioto devices")),
        (("device", "remove", "D9", *data), ("D9", "ioto devices")),
        (("device", "new", "D9", "--product", "nix", *data), ("nix", "ioto product list")),
        (("device", "new", " D9", "--product", "thermo", *data), ("id:", "D9")),
        (("devices", "--product", "nix", *data), ("nix", "ioto product list")),
        (("updates", "enable", "thermo@9.9.9", *data), ("thermo@9.9.9", "ioto updates")),
        (("updates", "enable", "nix", *data), ("nix", "PRODUCT@VERSION")),
        (("updates", "set", "thermo@9.9.9", "--limit", "5", *data), ("thermo@9.9.9", "ioto updates")),
        (("updates", "set", "thermo@9.9.9", *data), ("--limit",)),
        (("updates", "pause", "nix", *data), ("nix", "PRODUCT@VERSION")),
        (
            ("publish", file, "--product", "thermo", "--version", "1.0.0", "--policy", "a ==", *data),
            ("policy", "line 1, column 5"),
        ),
        (
            ("publish", file, "--product", "thermo", "--version", "1.0.0", "--stop-rule", "5", *data),
            ("stop", "5% after 20"),
        ),
        (
            ("publish", file, "--product", "thermo", "--version", "1.0.0", "--group", "nix", *data),
            ("nix", "ioto groups"),
        ),
        (("devices", "--policy", "a ==", *data), ("policy", "line 1")),
        (("device", "pin", "D9", "1.0.0", *data), ("D9", "ioto devices")),
        (("groups", "set", "g", "a ==", *data), ("policy", "line 1")),
        (("groups", "remove", "g", *data), ("g", "ioto groups")),
        (("updates", *data, "enable", "thermo@9.9.9"), ("--data", "after the command")),
        (("updates", "--json", "enable", "thermo@9.9.9"), ("--json", "after the command")),
        (("cloud", "serve", "--host", "256.1.1.1", *data), ("256.1.1.1", "--host")),
    ):
        done = run(*arguments)
        assert "Traceback" not in done.output and (done.exit_code == 0) == (len(words) == 1 and words[0] == "thermo"), (
            arguments,
            done.output,
        )
        assert all(word in done.output for word in words), (arguments, done.output)


def test_help_of_the_main_commands():
    for arguments in (
        (),
        ("cloud",),
        ("cloud", "serve"),
        ("publish",),
        ("product",),
        ("device",),
        ("devices",),
        ("updates",),
    ):
        done = run(*arguments, "--help")
        assert done.exit_code == 0 and "Usage" in done.output and len(done.output) > 150, arguments


@pytest.mark.sweep
def test_serve_prints_its_address_and_stops_on_ctrl_c(serve, make_site, ioto, tmp_path):
    make_site.settings(tmp_path / "site")
    process, address = serve("--data", "site", "--host", "127.0.0.1")
    assert json.loads(ioto("product", "list", "--data", "site", "--json").stdout) == []
    request = urllib.request.Request(address + "/device/register", b"{}", {"Authorization": "bearer x"})
    try:
        urllib.request.urlopen(request, timeout=20)
        raise AssertionError("registered")
    except urllib.error.HTTPError as e:
        assert e.code == 400
    refused = subprocess.run([*COMMAND, "cloud", "serve", "--data", "site", "--port", address.rpartition(":")[2]],
                           cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=30)  # fmt: skip
    assert refused.returncode == 1 and "--port" in refused.stderr and "Traceback" not in refused.stderr
    # Stop the server during an incomplete request.
    host, _, port = address[7:].rpartition(":")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"POST /device/register HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert process.stdout.read().count("\n") == 3  # database, images and workers


def test_the_command_line_does_not_import_slow_packages():
    code = (
        "import sys; from ioto_tools.cli import main; print([m for m in ('sqlalchemy', 'starlette', 'rich') if m "
        "in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr

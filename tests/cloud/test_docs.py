"""The commands in the cloud's pages run as printed; the pages name every command, option, field, state and limit."""

import os
import re
import signal
import subprocess

import click
import pytest
from cloud_under_test import COMMAND, ENV, ROOT, esp_image
from ioto_tools.cli import main
from ioto_tools.cloud import app
from ioto_tools.cloud.devices import messages
from ioto_tools.cloud.images import s3
from ioto_tools.cloud.rules import selection, update_states
from ioto_tools.cloud.site import settings

from tests.bench.servers import free_port

# In this order, because an example may need the effect of an earlier one.
PAGES = ("cloud", "states", "identity", "api", "hosting")
GUIDE = "\n".join((ROOT / "docs" / (page + ".md")).read_text() for page in PAGES)
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def examples():
    """[(command, [lines it prints])] of the console blocks, in order."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def same(printed, wanted):
    """Are the lines equal, apart from white space, if `...` stands for any text?"""
    pattern = r"\s*\n\s*".join(
        r"\s+".join(re.escape(word).replace(r"\.\.\.", ".*") for word in line.split()) for line in wanted
    )
    return re.fullmatch(r"\s*" + pattern + r"\s*", "\n".join(line.rstrip() for line in printed.splitlines()))


@pytest.fixture
def shell(tmp_path):
    """A shell that has `ioto` on its path, and keeps its variables from one command to the next."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ioto"
    program.write_text("#!/bin/sh\nexec '%s' -c '%s' \"$@\"\n" % (COMMAND[0], COMMAND[2]))
    program.chmod(0o755)
    (tmp_path / "micropython.bin").write_bytes(esp_image(b"new", 1640800))
    (tmp_path / "other.bin").write_bytes(esp_image(b"other"))
    env = dict(ENV, PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]))
    return lambda **options: dict(cwd=tmp_path, env=env, text=True, **options)


@pytest.mark.sweep
@pytest.mark.own_links
def test_the_guide_runs(shell, make_site, tmp_path):
    make_site.settings(tmp_path / "ioto-cloud")
    port = str(free_port())
    server = None
    variables = ""
    try:
        for command, wanted in examples():
            command, wanted = command.replace("8080", port), [line.replace("8080", port) for line in wanted]
            if command.startswith("ioto cloud serve"):
                command += " --no-packing"  # a file that is made meanwhile would change what is printed
                server = subprocess.Popen(["bash", "-c", "exec " + command], **shell(stdout=subprocess.PIPE))
                printed = server.stdout.readline()
            elif assigned := re.match(r"([A-Z]+)=", command):
                done = subprocess.run(
                    ["bash", "-c", variables + command + "; echo -n $" + assigned[1]], **shell(capture_output=True)
                )
                variables += "%s='%s'; " % (assigned[1], done.stdout)
                printed = done.stderr
            else:
                done = subprocess.run(["bash", "-c", variables + command], **shell(capture_output=True, timeout=60))
                assert (done.returncode != 0) == any(line.startswith("Error") for line in wanted), command + done.stderr
                printed = done.stdout + done.stderr
            assert same(printed, wanted), "$ %s\n%s\nbut the guide says\n%s" % (command, printed, "\n".join(wanted))
    finally:
        if server:
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
            server.stdout.close()


def walk(command, path):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, path + " " + name)


def test_the_guide_names_every_command_and_option():
    found = [pair for name in ("cloud", "overview", "product", "publish", "devices", "device", "updates", "groups",
        "token", "audit", "webhook")
             for pair in walk(main.get_command(None, name), "ioto " + name)]  # fmt: skip
    assert len(found) > 10
    for path, command in found:
        assert "commands" in vars(command) or path in GUIDE or path.partition(" ")[2] in GUIDE, path
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)
                assert parameter.opts[0] in GUIDE, (path, parameter.opts)


def test_the_protocol_names_every_field_state_and_limit():
    told = selection.told("security", "n", "a", 1)
    release = selection.Release("", "", (), "", 1, True, "active", None, {}, told=told)
    assert len(told) == 4
    for field in (
        *selection.check_in_response(release, "u", 1),
        *messages.Report.__annotations__,
        "product",
        "properties",
        "api",
        "token",
        "registered",
        "warning",
    ):
        assert "`%s`" % field in PROTOCOL or '"%s"' % field in PROTOCOL or field == "properties", field
    for state in messages.STATES:
        assert "`%s`" % state in PROTOCOL, state
    ranked = ", ".join("`%s`" % state for state in update_states.REPORTS)
    assert ranked in " ".join(PROTOCOL.split())
    for number in (messages.BODY_BYTES, messages.DEPTH, messages.ATTEMPTS, messages.REASON_LENGTH, messages.ID_LENGTH):
        assert re.search(r"\b%d\b" % number, PROTOCOL), number
    assert "Retry-After: %d" % app.RETRY_AFTER_S in GUIDE
    for route in app.ROUTES:
        assert route.path.partition("{")[0] in PROTOCOL


def test_the_guide_has_the_table_of_states_and_every_reason():
    others = [event for event in update_states.EVENTS if event not in update_states.REPORTS]
    assert "| state | reports that lead on | %s |" % " | ".join("`%s`" % event for event in others) in GUIDE
    for state, row in update_states.TABLE.items():
        reports = ", ".join(report for report in update_states.REPORTS if report in row) or "-"
        assert all(row[report] == report for report in update_states.REPORTS if report in row)
        line = "| `%s` | %s | %s |" % (state, reports, " | ".join(row.get(event, "-") for event in others))
        assert line in GUIDE, line
    for key, words in selection.REASONS_NOT_OFFERED.items():
        assert "| `%s` | %s |" % (key, words) in GUIDE, key


def test_the_guide_names_every_setting_of_a_site():
    for key, (_, kind) in settings.DEFAULTS.items():
        assert "`%s`" % key in GUIDE or kind is dict, key
    for key in s3.SETTINGS:
        assert "`images.%s`" % key in GUIDE, key

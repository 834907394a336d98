"""`ioto cloud unit`: systemd reads the requested settings from its output."""

import shutil
import subprocess

import pytest

needed = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (apt-get install systemd)"
)


def value(unit, key):
    [line] = [line for line in unit.splitlines() if line.startswith(key + "=")]
    return line.partition("=")[2]


@pytest.mark.sweep
def test_the_options_of_serve_are_in_it(ioto, tmp_path):
    unit = ioto("cloud", "unit", "--user", "updates", "--data", "site", "--port", "443", "--certificate", "cert.pem",
                "--key", "key.pem", "--access-log", "--requests-per-minute", "0", "--lost-after",
                "2 days").stdout  # fmt: skip
    program, *words = value(unit, "ExecStart").split(" ")
    assert program.endswith("/ioto") and value(unit, "User") == "updates"
    assert value(unit, "ReadWritePaths") == str(tmp_path / "site")
    wanted = (
        "cloud serve --data %s --port 443 --certificate %s --key %s --lost-after 172800 --requests-per-minute "
        "0 --access-log"
    )
    assert " ".join(words) == wanted % tuple(tmp_path / name for name in ("site", "cert.pem", "key.pem"))
    assert value(unit, "AmbientCapabilities") == "CAP_NET_BIND_SERVICE"
    assert value(ioto("cloud", "unit", "--port", "8443").stdout, "AmbientCapabilities") == ""


@pytest.mark.sweep
def test_bad_options_are_refused_before_the_service_starts(ioto):
    for options, text in [
        (["--port", "x"], "'x' is not a valid integer"),
        (["--no-such"], "No such option"),
        (["--no-such"], "Usage: ioto cloud serve"),
        (["--user", "a b"], "user 'a b'"),
        (["--user", "a\nExecStartPre=/bin/false"], "user 'a\\nExecStartPre=/bin/false'"),
        (["--data", "a\nb"], "printable"),
    ]:
        refused = ioto("cloud", "unit", *options, ok=False)
        assert refused.returncode and text in refused.stderr and not refused.stdout, refused


@needed
@pytest.mark.parametrize("folder", ["/srv/ioto", '/srv/a b %n $HOME "x"'])
def test_systemd_accepts_it(ioto, tmp_path, folder):
    path = tmp_path / "ioto-cloud.service"
    path.write_text(ioto("cloud", "unit", "--user", "root", "--data", folder, "--port", "443").stdout)
    said = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    assert said.returncode == 0 and "ioto-cloud" not in said.stderr, said.stderr


@pytest.mark.sweep
def test_a_variable_is_escaped_only_in_the_command_line(ioto):
    """systemd expands variables in command lines, where `$$` is a dollar sign, and not in ReadWritePaths."""
    unit = ioto("cloud", "unit", "--data", "/srv/a$b%n").stdout
    assert value(unit, "ReadWritePaths") == "/srv/a$b%%n"
    assert value(unit, "ExecStart").endswith(" --data /srv/a$$b%%n")

"""TLS verification is never disabled; in MicroPython, a wrapper class, a mode or a default can disable it silently.

The client, created as in connect.py, connects to real servers with invalid certificates. Then each check is disabled
in a copy of the agent, to show that the test notices this: an invalid server is accepted.
"""

import json
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from issue_certificates import DAY, HERE, Certificate
from loopback import LIB, MICROPYTHON, Server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
WRONG = {
    "other": "tls_untrusted",
    "itself": "tls_untrusted",
    "name": "tls_name",
    "expired": "tls_expired",
    "not-yet": "tls_not_yet",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder of ioto.json, servers): a valid server, one for each key of WRONG, and a redirect to each of those."""
    folder = tmp_path_factory.mktemp("world")
    ca = Certificate("ca", authority=True).save(folder, "ca")
    Certificate("right", ca, HERE).save(folder, "right")
    Certificate("x", Certificate("other", authority=True), HERE).save(folder, "other")
    Certificate("x", None, HERE).save(folder, "itself")
    Certificate("x", ca, ["stranger.example"]).save(folder, "name")
    Certificate("x", ca, HERE, last=-DAY // 2).save(folder, "expired")
    Certificate("x", ca, HERE, first=DAY).save(folder, "not-yet")
    servers = {name: server(folder, name, OK) for name in ("right", *WRONG)}
    for name in WRONG:
        target = servers[name].url.encode() + b"/"
        servers["to-" + name] = server(
            folder, "right", b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % target
        )
    (folder / "device.json").write_text('{"id": "D1"}')
    (folder / "ioto.json").write_text(
        json.dumps({"builder": servers["right"].url, "tls": {"ca": "ca.pem"}, "network": {"timeout": 5}})
    )
    yield folder, servers
    for each in servers.values():
        each.close()


def server(folder, name, answer):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / (name + ".pem"), folder / (name + ".key"))
    return Server(lambda conn, request: conn.sendall(answer), context=context)


def asked(lib, folder, servers):
    """(verify_mode, {server: status or reason})."""
    urls = [each.url for each in servers.values()]
    done = subprocess.run(
        [MICROPYTHON, str(Path(__file__).with_name("run_client.py")), str(lib), str(folder) + "/", *urls],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    mode, *found = done.stdout.split("\n")[:-1]
    return int(mode), dict(zip(servers, found, strict=True))


def test_no_unverified_server_is_accepted(world):
    folder, servers = world
    mode, found = asked(LIB, folder, servers)
    assert mode == 2  # CERT_REQUIRED
    assert found == {"right": "200", **WRONG, **{"to-" + name: why for name, why in WRONG.items()}}
    assert not any(servers[name].requests for name in WRONG)


# (module, text, its replacement that disables a check) ...
SWITCHES = {
    "the-wrapper": (("certs", "tls.SSLContext(tls", "__import__('ssl').SSLContext(tls"), ("certs",
    "    made.verify_mode = tls.CERT_REQUIRED\n", ""),
                    ("certs", "load_verify_locations(found)", "load_verify_locations(cadata=found)")),
    "none": (("certs", "tls.CERT_REQUIRED", "tls.CERT_NONE"),),
    "optional": (("certs", "tls.CERT_REQUIRED", "tls.CERT_OPTIONAL"),),
    "the-default": (("defaults", '"tls.verify": [True,', '"tls.verify": [False,'),),
    "the-composition": (("certs", 'if config["tls.cert"]:', 'made.verify_mode = 0\n    if config["tls.cert"]:'),),
    "after-a-redirect": (("http", "sent = request_head",
    'self.context.verify_mode = 2 * ("Authorization" in headers)\n        sent = request_head'),),
}  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES)
def test_disabling_any_check_is_noticed(world, tmp_path, switch):
    folder, servers = world
    shutil.copytree(LIB, tmp_path / "lib")
    for name, old, new in SWITCHES[switch]:
        file = tmp_path / "lib" / "ioto" / (name + ".py")
        assert file.read_text().count(old) == 1, "%s.py has changed: adapt this test" % name
        file.write_text(file.read_text().replace(old, new))
    found = asked(tmp_path / "lib", folder, {name: servers[name] for name in ("other", "to-other")})[1]
    assert "200" in found.values(), found

"""Settings with which the agent starts, settings with which it does not start, and its messages."""

import json
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ioto_tools.image import keys
from issue_certificates import HERE, Certificate
from loopback import LIB, MICROPYTHON, Server

HTTPS = {"builder": "https://cloud.example"}
NO_KEY = "not an RSA public key (PEM or DER) of 2048 to 4096 bits with exponent 65537"
GOOD = {**HTTPS, "tls.ca": "ca.pem", "update.keys": "release.pem"}
CASES = {
    "https without an authority": (HTTPS, "ioto.json: builder: https: tls.ca must name the authorities to trust"),
    "an api without an authority": (
        {"api": "https://a", "token": "t"}, "ioto.json: api: https: tls.ca must name the authorities to trust"),
    "http": ({"builder": "http://a"},
    "ioto.json: builder: plain http: use https (or tls.plain: anyone can read and change the data)"),
    "https with urequests": (
        {**GOOD, "update.transport": "urequests"},
        "ioto.json: builder: https: urequests can't verify servers: use asyncio (or tls.verify false, which lets "
        "anyone pose as the server)"),
    "urequests, unverified": ({**GOOD, "update.transport": "urequests", "tls.verify": False},
    "starts ['tls.verify is false: anyone can pose as the cloud']"),
    "a file without a certificate": ({**GOOD, "tls.ca": "text.pem"},
    "ioto.json: tls.ca: text.pem: contains no certificate"),
    "a truncated certificate": ({**GOOD, "tls.ca": "cut.pem"},
    "ioto.json: tls.ca: cut.pem: certificate 1 is invalid"),
    "a truncated certificate among two files": ({**GOOD, "tls.ca": ["ca.pem", "cut.pem"]},
    "ioto.json: tls.ca: cut.pem: certificate 1 is invalid"),
    "a certificate of another kind": ({**GOOD, "tls.ca": "cut.der"}, "ioto.json: tls.ca: cut.der: invalid cert"),
    "a file without a key": ({**GOOD, "update.keys": ["release.pem", "text.pem"]},
    "ioto.json: update.keys: text.pem: " + NO_KEY),
    "a truncated key": ({**GOOD, "update.keys": "cut-key.pem"}, "ioto.json: update.keys: cut-key.pem: " + NO_KEY),
    "an elliptic-curve key": ({**GOOD, "update.keys": "ec.pem"}, "ioto.json: update.keys: ec.pem: " + NO_KEY),
    "the private key": ({**GOOD, "update.keys": "private.pem"}, "ioto.json: update.keys: private.pem: " + NO_KEY),
    "a short key": ({**GOOD, "update.keys": "short.pem"}, "ioto.json: update.keys: short.pem: " + NO_KEY),
    "an invalid tls.key": ({**GOOD, "tls.cert": "ca.pem", "tls.key": "text.pem"},
    "ioto.json: tls.cert: unusable with tls.key: invalid key"),
    "an invalid tls.cert": ({**GOOD, "tls.cert": "text.pem", "tls.key": "ca.key"},
    "ioto.json: tls.cert: unusable with tls.key: invalid cert"),
    "all settings": (GOOD, "starts []"),
    "in DER": ({**GOOD, "tls.ca": "ca.der", "update.keys": ["release.der", "release.pem"]}, "starts []"),
    "no keys": ({**HTTPS, "tls.ca": "ca.pem"}, "starts ['no update.keys: unsigned images are installed']"),
    "unverified": ({**GOOD, "tls.verify": False}, "starts ['tls.verify is false: anyone can pose as the cloud']"),
    "http, allowed": ({"builder": "http://a", "tls.plain": True, "update.keys": "release.pem"}, "starts []"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("device")
    ca = Certificate("ca", authority=True).save(made, "ca")
    Certificate("device", ca).save(made, "device")
    Certificate("server", ca, HERE).save(made, "server")
    lines = ca.pem().split("\n")
    files = {
        "ca.der": ca.der(),
        "cut.der": ca.der()[:-40],
        "cut.pem": "\n".join(lines[:3] + lines[-2:]),
        "text.pem": "nothing here\n",
    }
    private = rsa.generate_private_key(65537, 2048)
    public = keys.public_bytes(private.public_key())
    files.update(
        {
            "release.pem": public,
            "release.der": keys.public_bytes(private.public_key(), der=True),
            "cut-key.pem": public[:-200] + public[-26:],
        }
    )
    files["private.pem"] = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files["short.pem"] = keys.public_bytes(rsa.generate_private_key(65537, 1024).public_key())
    files["ec.pem"] = keys.public_bytes(ec.generate_private_key(ec.SECP256R1()).public_key())
    files["device.json"] = '{"id": "D1"}'
    for name, content in files.items():
        (made / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return made


def nested(settings):
    found = {"log": {"level": "debug"}, "ntp": {"server": ""}}
    for key, value in settings.items():
        *path, last = key.split(".")
        inside = found
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return json.dumps(found)


def test_settings_with_which_the_agent_starts(folder):
    told = subprocess.run(
        [MICROPYTHON, Path(__file__).with_name("run_starts.py"), LIB, str(folder) + "/"],
            input="\n".join(nested(settings) for settings, _ in CASES.values()),
        capture_output=True, text=True)  # fmt: skip
    assert told.returncode == 0, told
    assert dict(zip(CASES, told.stdout.splitlines(), strict=True)) == {case: says for case, (_, says) in CASES.items()}


def test_the_agent_sends_its_certificate_to_a_server_that_requires_one(folder):
    """Mutual TLS: the server accepts the device with its certificate, and refuses it without one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "ca.pem")
    server = Server(
        lambda conn, request: conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), context=context
    )
    for settings, says in (({"tls.cert": "device.pem", "tls.key": "device.key"}, "200"), ({}, "tls_refused")):
        (folder / "ioto.json").write_text(nested({**GOOD, **settings}))
        command = [MICROPYTHON, Path(__file__).with_name("run_client.py"), LIB, str(folder) + "/", server.url]
        told = subprocess.run(command, capture_output=True, text=True)
        assert told.stdout.split() == ["2", says], told
    server.close()

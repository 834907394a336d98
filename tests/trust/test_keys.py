"""`ioto keys`, `ioto sign` and `ioto publish` as an operator uses them; other tools can use the same keys."""

import hashlib
import json
import os
import pty
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ioto import pss, release
from ioto_tools.image import esp, keys

BIN = Path(sys.executable).parent
PASSPHRASE = "correct horse battery staple"


def ioto(*arguments, passphrase=PASSPHRASE, input=None):
    """Run `ioto` without a terminal."""
    environment = dict(os.environ, IOTO_PASSPHRASE=passphrase) if passphrase is not None else dict(os.environ)
    words = [BIN / "ioto", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, input=input, start_new_session=True)


def refused(told, *words):
    assert told.returncode and ("Error: " in told.stderr) and "Traceback" not in told.stderr, told
    for word in words:
        assert word in told.stderr, told.stderr


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    told = ioto("keys", "new", folder / "release.pem")
    assert told.returncode == 0, told
    return folder / "release.pem"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "micropython.bin"
    path.write_bytes(esp.make_image(30000, "a"))
    return path


def test_a_new_key(key):
    public = key.with_name("release.pub.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and b"ENCRYPTED PRIVATE KEY" in key.read_bytes()
    assert pss.public_key(public.read_bytes())[0].bit_length() == 3072
    before = key.read_bytes(), public.read_bytes()
    refused(ioto("keys", "new", key), "is not overwritten")
    assert before == (key.read_bytes(), public.read_bytes())


ASKS = {
    "keys new": (["keys", "new", "new.pem"], "set IOTO_PASSPHRASE, or give --no-passphrase"),
    "keys show": (["keys", "show", "KEY"], "set IOTO_PASSPHRASE"),
    "keys export": (["keys", "export", "KEY", "out.pem"], "set IOTO_PASSPHRASE"),
    "sign": (["sign", "IMAGE", "--key", "KEY", "--product", "P", "--version", "1.0.0"], "set IOTO_PASSPHRASE"),
    "publish": (
        ["publish", "IMAGE", "--key", "KEY", "--product", "P", "--version", "1.0.0", "--data", "SITE"],
        "set IOTO_PASSPHRASE",
    ),
}


@pytest.mark.parametrize("name", ASKS)
def test_without_a_terminal_the_error_names_the_variable_to_set(key, image, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    words, wanted = ASKS[name]
    if name == "publish":
        assert ioto("product", "new", "P", "--data", tmp_path / "site").returncode == 0
    words = [{"KEY": key, "IMAGE": image, "SITE": tmp_path / "site"}.get(word, word) for word in words]
    for given in ("", "typed\ntyped\n"):
        told = ioto(*words, passphrase=None, input=given)
        refused(told, "there is no terminal to read it from: " + wanted)
        assert told.stderr.strip().count("\n") == 0 and "Aborted" not in told.stderr, told.stderr
    assert not (tmp_path / "new.pem").exists() and not (tmp_path / "out.pem").exists()


def test_at_a_terminal_the_passphrase_is_asked_for(tmp_path):
    pid, terminal = pty.fork()
    if not pid:
        environment = {name: value for name, value in os.environ.items() if name != "IOTO_PASSPHRASE"}
        os.execve(BIN / "ioto", ["ioto", "keys", "new", str(tmp_path / "a.pem")], environment)
    said = b""
    for wanted in (b"(not empty): ", b"confirmation: "):
        while not said.endswith(wanted):
            said += os.read(terminal, 1024)
        os.write(terminal, b"typed\n")
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        time.sleep(0.05)
    os.close(terminal)
    assert keys.load(tmp_path / "a.pem", b"typed")


@pytest.mark.sweep
def test_a_key_file_is_never_incomplete_or_overwritten(tmp_path):
    (tmp_path / "a.pub.pem").write_text("somebody's")
    refused(ioto("keys", "new", tmp_path / "a.pem"), "a.pub.pem already exists")
    refused(ioto("keys", "new", tmp_path / "no" / "folder.pem"), "No such file")
    refused(ioto("keys", "new", tmp_path / "b.pem", passphrase=""), "--no-passphrase")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pub.pem"]
    assert ioto("keys", "new", tmp_path / "c.pem", "--no-passphrase", passphrase=None).returncode == 0
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "c.pem").read_bytes()


@pytest.mark.sweep
def test_show_and_export(key, tmp_path):
    public = keys.load_public(key.with_name("release.pub.pem"))
    for file in (key, key.with_name("release.pub.pem")):
        told = ioto("keys", "show", file)
        assert keys.fingerprint(public) in told.stdout and "3072 bits" in told.stdout, told
    assert ioto("keys", "export", key, tmp_path / "k.der", "--der").returncode == 0
    assert pss.public_key((tmp_path / "k.der").read_bytes()) == pss.public_key(
        key.with_name("release.pub.pem").read_bytes()
    )
    refused(ioto("keys", "export", key, tmp_path / "k.der"), "not overwritten")


@pytest.mark.sweep
def test_files_that_are_not_keys_are_refused(key, image, tmp_path):
    (tmp_path / "ec.pem").write_text("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n")
    common = ("--product", "P1", "--version", "1.0.0")
    refused(ioto("sign", image, "--key", image, *common), "no private key in PEM")
    refused(ioto("sign", image, "--key", tmp_path / "ec.pem", *common), "no private key in PEM")
    refused(ioto("sign", image, "--key", key.with_name("release.pub.pem"), *common), "no private key in PEM")
    refused(ioto("sign", image, "--key", key, *common, passphrase="wrong"), "wrong passphrase")
    refused(ioto("keys", "show", image), "no key in PEM or DER")
    (tmp_path / "three.pem").write_bytes(
        rsa.generate_private_key(3, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    refused(ioto("sign", image, "--key", tmp_path / "three.pem", *common), "exponent 65537")
    refused(ioto("keys", "show", tmp_path / "three.pem"), "exponent 65537")
    assert list(tmp_path.glob("*.signed")) == []


@pytest.mark.sweep
def test_secrets_are_in_no_output_process_list_or_file(key, image, tmp_path):
    """Neither the key nor its passphrase is in any output, error, process list or created file."""
    private = keys.load(key, PASSPHRASE.encode()).private_numbers()
    secrets = (
        [PASSPHRASE]
        + ["%d" % n for n in (private.p, private.q, private.d)]
        + ["%x" % n for n in (private.p, private.q, private.d)]
    )
    secrets += [line for line in key.read_text().splitlines() if len(line) == 64]
    common = ("--product", "P1", "--version", "1.0.0")
    told = []
    for arguments in (
        ("keys", "show", key),
        ("keys", "export", key, tmp_path / "out.pem"),
        ("sign", image, "--key", key, *common),
        ("sign", image, "--key", key, "--product", "P1", "--version", "one"),
        ("sign", key, "--key", key, *common),
        ("keys", "new", key),
    ):
        run = subprocess.Popen([BIN / "ioto", *map(str, arguments)], env=dict(os.environ, IOTO_PASSPHRASE=PASSPHRASE),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        while run.poll() is None:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    told.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    pass
            told = list(set(told))
        told.append(run.stdout.read())
    told.append((tmp_path / "micropython.bin.signed").read_bytes().decode("latin-1"))
    told.append((tmp_path / "out.pem").read_text())
    assert len(told) > 8
    for secret in secrets:
        assert not [text for text in told if secret in text], secret[:20]


@pytest.mark.sweep
def test_a_signed_file_can_be_published_elsewhere(key, image, tmp_path):
    site = ("--data", tmp_path / "site")
    assert ioto("product", "new", "thermo", "--id", "THERMO1", *site).returncode == 0
    assert ioto("sign", image, "--key", key, "--product", "THERMO1", "--version", "1.1.0").returncode == 0
    file = tmp_path / "micropython.bin.signed"
    assert (
        release.parse(release.unwrap(file.read_bytes()[:4096])[0])["sha256"]
        == hashlib.sha256(image.read_bytes()).hexdigest()
    )
    told = ioto("publish", file, "--signed", "--json", *site)
    assert told.returncode == 0, told
    assert json.loads(told.stdout)["version"] == "1.1.0" and json.loads(told.stdout)["size"] == 34096
    told = ioto(
        "publish",
        image,
        "--product",
        "thermo",
        "--version",
        "1.2.0",
        "--key",
        key,
        "--expires",
        "90d",
        "--minimum",
        "1.0.0",
        "--json",
        *site,
    )
    assert told.returncode == 0 and json.loads(told.stdout)["size"] == 34096, told


@pytest.mark.sweep
def test_files_that_are_not_published(key, image, tmp_path):
    site = ("--data", tmp_path / "site")
    ioto("product", "new", "thermo", "--id", "THERMO1", *site)
    ioto("sign", image, "--key", key, "--product", "THERMO1", "--version", "1.1.0")
    file = tmp_path / "micropython.bin.signed"
    good = file.read_bytes()
    refused(ioto("publish", image, "--signed", "--product", "thermo", "--version", "1.0.0", *site), "not signed")
    refused(ioto("publish", image, *site), "--product is missing")
    refused(ioto("publish", image, "--expires", "9d", "--product", "thermo", "--version", "1.0.0", *site), "give --key")
    refused(
        ioto("publish", file, "--version", "1.1.1", *site), "its release manifest contains version 1.1.0, not 1.1.1"
    )
    refused(ioto("sign", file, "--key", key, "--product", "THERMO1", "--version", "1.1.0"), "already signed")
    refused(ioto("sign", image, "--key", key, "--product", "THERMO1", "--version", "one"), "not a SemVer")
    refused(ioto("sign", key, "--key", key, "--product", "THERMO1", "--version", "1.0.0"), "--any-file")
    common = ("--key", key, "--product", "THERMO1", "--version", "1.0.0")
    for more in (("--allow-downgrade",), ("--allow-downgrade", "--expires", "31d")):
        refused(ioto("sign", image, *common, *more), "--downgrade-from VERSION")
        refused(ioto("publish", image, *common, *more, *site), "--downgrade-from VERSION")
    refused(ioto("sign", image, *common, "--downgrade-from", "2.0"), "not a SemVer version")
    refused(ioto("sign", image, *common, "--allow-downgrade", "--downgrade-from", "2.0.0"), "one of them")
    for more in (("--allow-downgrade", "--expires", "30d"), ("--downgrade-from", "2.0.0")):
        assert ioto("sign", image, *common, "--output", tmp_path / "down", *more).returncode == 0
    for bad, words in (
        (good[:-1], "manifest_mismatch"),
        (good[:5000] + b"x" + good[5001:], "manifest"),
        (good[:4095] + b"x" + good[4096:], "sign it again"),
    ):
        file.write_bytes(bad)
        refused(ioto("publish", file, *site), words)
    assert json.loads(ioto("updates", "--json", *site).stdout) == []


@pytest.fixture
def unprotected(key, tmp_path):
    """The same key, as a file for tools that accept no passphrase."""
    path = tmp_path / "plain.pem"
    private = keys.load(key, PASSPHRASE.encode())
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path


def test_espsecure_verifies_our_signature(key, tmp_path):
    """espsecure verifies the signature as a Secure Boot v2 signature of the file padded to whole sectors."""
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(range(256)) * 32)
    (tmp_path / "signature").write_bytes(keys.sign(keys.load(key, PASSPHRASE.encode()), data.read_bytes()))
    public = key.with_name("release.pub.pem")
    for command in (
        [
            "sign-data",
            "--version",
            "2",
            "--pub-key",
            public,
            "--signature",
            tmp_path / "signature",
            "--output",
            tmp_path / "signed",
            data,
        ],
        ["verify-signature", "--version", "2", "--keyfile", public, tmp_path / "signed"],
    ):
        told = subprocess.run([BIN / "espsecure", *command], capture_output=True, text=True)
        assert told.returncode == 0, told
    assert "verification successful" in told.stdout, told.stdout
    corrupted = bytearray((tmp_path / "signed").read_bytes())
    corrupted[100] ^= 1
    (tmp_path / "signed").write_bytes(corrupted)
    assert subprocess.run([BIN / "espsecure", *command], capture_output=True).returncode


@pytest.mark.sweep
def test_keys_of_espsecure_can_be_used(image, tmp_path):
    told = subprocess.run(
        [BIN / "espsecure", "generate-signing-key", "--version", "2", "--scheme", "rsa3072", tmp_path / "esp.pem"],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told
    assert (
        ioto(
            "sign", image, "--key", tmp_path / "esp.pem", "--product", "P1", "--version", "1.0.0", passphrase=None
        ).returncode
        == 0
    )
    assert ioto("keys", "export", tmp_path / "esp.pem", tmp_path / "esp.pub.pem").returncode == 0
    found = release.unwrap((tmp_path / "micropython.bin.signed").read_bytes()[:4096])
    assert list(release.verify(found, [pss.public_key((tmp_path / "esp.pub.pem").read_bytes())]))[:-1] == [None] * 18


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed (apt-get install openssl)")
def test_openssl_signs_and_verifies(unprotected, key, tmp_path):
    (tmp_path / "text").write_bytes(b"a manifest")
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
    subprocess.run(
        ["openssl", "dgst", "-sha256", *options, "-sign", unprotected, "-out", tmp_path / "theirs", tmp_path / "text"],
        check=True,
    )
    public = key.with_name("release.pub.pem")
    trusted = [pss.public_key(public.read_bytes())]
    assert list(release.verify((b"a manifest", (tmp_path / "theirs").read_bytes()), trusted))
    (tmp_path / "ours").write_bytes(keys.sign(keys.load(unprotected), b"a manifest"))
    command = [
        "openssl",
        "dgst",
        "-sha256",
        *options,
        "-verify",
        public,
        "-signature",
        tmp_path / "ours",
        tmp_path / "text",
    ]
    assert subprocess.run(command, capture_output=True).returncode == 0

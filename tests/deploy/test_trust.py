"""Trust settings: `ioto init` copies the files, and settings with which the agent would not start are refused."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from ioto import config
from ioto_command import command
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy import trust
from ioto_tools.deploy.agent_build import agent_files
from ioto_tools.deploy.device_files import create_folder, device_files
from ioto_tools.image import esp, keys
from ioto_tools.virtual_board import Board
from stock_firmware import merged

HTTPS = {"product": "P1", "builder": "https://cloud.test"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the files of `ioto cloud certificate`, a release key, and invalid files."""
    folder = tmp_path_factory.mktemp("made")
    certificates.make(folder, ["cloud.test"])
    (folder / "ca.der").write_bytes(
        load_pem_x509_certificate((folder / "ca.pem").read_bytes()).public_bytes(Encoding.DER)
    )
    private = keys.create(folder / "release.pem", b"secret")
    keys.create_file(folder / "release.pub.pem", keys.public_bytes(private.public_key()), 0o644)
    keys.create_file(folder / "release.pub.der", keys.public_bytes(private.public_key(), der=True), 0o644)
    (folder / "text.pem").write_text("not what was meant")
    (folder / "cut.pem").write_bytes((folder / "ca.pem").read_bytes()[:200])
    return folder


@pytest.mark.sweep
def test_init_copies_authorities_and_keys(tmp_path, made):
    there = tmp_path / "device"
    told = command(
        "ioto",
        "init",
        there,
        "--builder",
        "https://cloud.test",
        "--ca",
        made / "ca.pem",
        "--ca",
        made / "ca.der",
        "--key",
        made / "release.pub.pem",
    )
    assert told.returncode == 0 and "note" not in told.stderr, told.stderr
    found = config.load(str(there) + "/")
    assert found["tls.ca"] == ["ca.pem", "ca.der"] and found["update.keys"] == ["release.pub.pem"]
    for name in ("ca.pem", "ca.der", "release.pub.pem"):
        assert (there / name).read_bytes() == (made / name).read_bytes() == device_files(there)[name]
    assert command("ioto", "board", "new", tmp_path / "b.flash", sample(tmp_path), there).stderr == ""


def sample(folder):
    (folder / "app.bin").write_bytes(esp.make_image(8192, "app"))
    return folder / "app.bin"


@pytest.mark.sweep
def test_only_the_owner_can_read_files_with_the_password(tmp_path, made):
    """Settings, ioto_build.py, images and flash files, whatever the umask."""
    there, stock = tmp_path / "device", tmp_path / "stock.bin"
    stock.write_bytes(merged("ESP32"))
    (tmp_path / "old.flash").write_bytes(b"")
    (tmp_path / "old.flash").chmod(0o644)
    words = [
        ["init", there, "--builder", "https://cloud.test", "--ca", made / "ca.pem", "--password", "of the network"],
        ["freeze", there],
        ["image", stock, there, "-o", tmp_path / "new.flash"],
        ["image", stock, there, "-o", tmp_path / "old.flash", "--force"],
        ["board", "new", tmp_path / "b.flash", stock, there],
    ]
    for each in words:
        told = command("ioto", *each)
        assert told.returncode == 0, told.stderr
    found = [path for path in tmp_path.rglob("*") if path.is_file() and b"of the network" in path.read_bytes()]
    assert {path.name for path in found} == {"ioto.json", "ioto_build.py", "new.flash", "old.flash", "b.flash"}
    assert [path.name for path in found if path.stat().st_mode & 0o077] == []


WRONG = [
    ("--ca", "ca.key", "a private key: use the certificate"),
    ("--ca", "text.pem", "contains no certificate"),
    ("--ca", "cut.pem", "certificate 1 is invalid"),
    ("--ca", "release.pub.pem", "contains no certificate"),
    ("--ca", "release.pub.der", "release.pub.der: "),
    ("--key", "release.pem", "a private key: use the public key"),
    ("--key", "ca.pem", "not an RSA public key (PEM or DER)"),
    ("--key", "text.pem", "not an RSA public key (PEM or DER)"),
    ("--builder", "http://cloud.test", "expected: an https URL"),
    ("--version", "1/2", "not a SemVer version"),
]


@pytest.mark.parametrize("option, value, words", WRONG, ids=lambda each: each.replace("/", "-"))
def test_invalid_options_of_init_are_refused_and_nothing_is_written(tmp_path, made, option, value, words):
    value = made / value if "/" not in value else value
    told = command("ioto", "init", tmp_path / "device", option, value)
    assert told.returncode == 1 and words in told.stderr and str(value) in told.stderr, told.stderr
    assert not (tmp_path / "device").exists()


@pytest.mark.sweep
def test_missing_trust_settings_give_warnings(tmp_path, made):
    there = tmp_path / "device"
    told = command("ioto", "init", there, "--ssid", "net")
    assert (
        told.returncode == 0
        and "no --password: net is treated as an open network" in told.stderr
        and "no --ca" in told.stderr
        and "no update.keys: whoever controls the cloud controls the board" in told.stderr
    )
    image = command("ioto", "image", sample(tmp_path), there, "-o", tmp_path / "x")
    assert image.returncode == 1 and "https: tls.ca must name the authorities to trust" in image.stderr
    create_folder(tmp_path / "two", HTTPS, [made / "ca.pem"])
    told = command("ioto", "board", "new", tmp_path / "b.flash", sample(tmp_path), tmp_path / "two")
    assert told.returncode == 0 and "no update.keys" in told.stderr
    settings = {"update.keys": ["k.pem"], "tls.verify": False, "tls.plain": True}
    assert [text.split(":")[0] for text in trust.warnings(settings)] == ["tls.verify is false", "tls.plain is true"]


def test_private_keys_are_not_deployed(tmp_path, made):
    create_folder(tmp_path, HTTPS, [made / "ca.pem"])
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "release.pem").write_bytes((made / "release.pem").read_bytes())
    with pytest.raises(ValueError, match="keep/release.pem: a private key: it does not belong on a board"):
        device_files(tmp_path)
    changed = json.loads((tmp_path / "ioto.json").read_text())
    (tmp_path / "keep" / "release.pem").unlink()
    for name in ("server.pem", "server.key", "ca.key"):
        (tmp_path / "keep" / name).write_bytes((made / name).read_bytes())
    # The device's own key, for a server that requires a client certificate.
    for key, words in (
        ("server.key", "ca.key: a private key"),
        ("ca.key", "belongs to another certificate"),
        ("none", "no such file"),
    ):
        changed["tls"].update(cert="keep/server.pem", key="keep/" + key)
        (tmp_path / "ioto.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=words):
            device_files(tmp_path)
    (tmp_path / "keep" / "ca.key").unlink()
    changed["tls"].update(key="keep/server.key")
    (tmp_path / "ioto.json").write_text(json.dumps(changed))
    assert "keep/server.key" in device_files(tmp_path)


SETTINGS = [
    {"builder": "https://cloud.test"},
    {"builder": "http://cloud.test"},
    {"api": "https://cloud.test", "token": "t"},
    {"api": "http://cloud.test", "token": "t"},
    {"builder": "https://cloud.test", "tls": {"ca": "text.pem"}},
    {"builder": "https://cloud.test", "tls": {"ca": "ca.pem"}, "update": {"transport": "urequests"}},
    {"builder": "https://cloud.test", "tls": {"ca": "ca.pem", "cert": "text.pem", "key": "text.pem"}},
    {"builder": "https://cloud.test", "tls": {"ca": "cut.pem"}},
    {"builder": "https://cloud.test", "tls": {"ca": "ca.pem"}, "update": {"keys": "text.pem"}},
    {"builder": "https://cloud.test", "tls": {"ca": "ca.pem"}, "update": {"keys": "ca.pem"}},
    {"builder": "https://cloud.test", "tls": {"ca": "ca.pem"}, "update": {"keys": "release.pub.pem"}},
    {"builder": "https://cloud.test", "tls": {"verify": False}},
    {"builder": "http://cloud.test", "tls": {"plain": True}},
]


def test_the_tools_refuse_the_settings_that_the_agent_refuses(tmp_path, made):
    """Each of the settings is refused or accepted by the tools as by a board."""
    main = (
        "import sys\nfrom ioto.start import agent\ntry:\n    agent()\n    print('STARTS')\nexcept ValueError as "
        "e:\n    print('REFUSES', e)\n"
    )
    files = {name: (made / name).read_bytes() for name in ("ca.pem", "text.pem", "cut.pem", "release.pub.pem")}
    board = Board.create(
        tmp_path / "b.flash",
        esp.make_image(8192, "app"),
        {**agent_files(), **files},
        flash_bytes=1 << 20,
        slot_bytes=0x10000,
    )
    for settings in SETTINGS:
        here = {
            "main.py": main.encode(),
            "device.json": b'{"id": "auto"}',
            "ioto.json": json.dumps(settings).encode(),
            "boot.py": b"",
        }
        board.write_files(here)
        says = board.run(until_s=5).console
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        for name, raw in {**files, **here}.items():
            (folder / name).write_bytes(raw)
        try:
            device_files(folder)
        except ValueError as e:
            assert "REFUSES ioto.json" in says, (settings, str(e), says)
        else:
            assert "STARTS" in says, (settings, says)

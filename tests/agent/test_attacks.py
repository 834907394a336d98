"""The attacks that docs/security.md names, each on a board with keys: through its agent, a server over TLS, and its
flash.

What is refused before the first erase leaves both slots and otadata byte for byte as they were; what is refused by its
content later never becomes startable. Afterwards the honest release is installed: the board is none the worse.
"""

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ioto import release as device
from ioto_tools.board import Cut
from ioto_tools.board.peers import Asgi, Script, Tls, reply
from ioto_tools.cloud.site import certificates
from ioto_tools.image.release import seal
from rig import MAIN, NOW, PRODUCT, authority, secure
from signing import erases, installed, key, nvs_floor, sealed, slots, trusting

HOUR = 3600
OTHER = "1.0.9"


def served(rig, host, peer):
    """From now on `peer` answers as `host`."""
    rig.air.peers[(rig.air.names[host], 443)] = peer


def survives(rig, cloud, image=7):
    """The honest cloud is back, with a release that is installed."""
    served(rig, "images.test", secure(Asgi(cloud)))
    content = rig.image(image)
    cloud.release(OTHER, sealed(content, OTHER))
    run = rig.run(until_s=3 * HOUR)
    assert "CONFIRMED " + OTHER in run.console, run.console[-1500:]
    assert rig.board.read_slot(run.slots[-1]) == content and nvs_floor(rig) == OTHER


def mirror(content):
    """An image store that has its own idea of every file."""
    return secure(Script(lambda method, path, headers, body: [reply(content)]))


# ---- who it is not


def impostors(folder):
    """(reason, TLS context) of servers that are not the cloud: of another authority, and of ours for another name."""
    shutil.copytree(authority().name, folder / "tls_name")
    for reason, names in (("tls_untrusted", ["api.test", "builder.test", "images.test"]), ("tls_name", ["evil.test"])):
        certificates.make(folder / reason, names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / reason / "server.pem", folder / reason / "server.key")
        yield reason, context


@pytest.mark.parametrize("host", ["builder.test", "api.test", "images.test"])
def test_a_server_in_the_place_of_the_cloud(tmp_path, host):
    """Whoever answers as Builder, cloud or image store without its certificate hears nothing, not even the request."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    heard = []
    script = Script(lambda *request: heard.append(request) or [reply(b"{}")])
    before = slots(rig)
    for reason, context in impostors(tmp_path):
        served(rig, host, Tls(script, context))
        run = rig.run(until_s=HOUR // 2)
        assert reason in run.console, run.console[-800:]
        assert not heard and slots(rig) == before and run.slots == ["ota_0"]
    served(rig, host, secure(Asgi(cloud)))
    installed(rig, rig.run(until_s=2 * HOUR))


def test_a_link_without_tls_is_not_followed(tmp_path):
    """The cloud is owned: its links lead to plain http, straight or by a redirect, where anybody could answer."""
    rig, cloud = trusting(tmp_path / "rig")
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    asked = []
    rig.air.peers[(rig.air.names["images.test"], 80)] = Script(lambda *request: asked.append(request) or [reply(file)])
    before = slots(rig)
    cloud.images = "http://images.test"
    assert "tls_unverified" in rig.run(until_s=HOUR // 2).console
    cloud.images = "https://images.test"
    served(
        rig, "images.test", secure(Script(lambda *request: [reply(b"", 302, [("Location", "http://images.test/i")])]))
    )
    assert "http_redirect" in rig.run(until_s=HOUR).console and slots(rig) == before and not asked
    survives(rig, cloud)


def test_the_token_is_told_to_nobody_else(tmp_path):
    """Neither to the image store, nor by the log at its most talkative, nor in what any watcher is given."""
    events = (
        "app:ready cloud:connected device:registered device:update:available device:update:progress "
        "device:update:failed device:confirmed"
    )
    main = MAIN.replace(
        "asyncio.run",
        "for event in %r.split():\n    rWatch(event, lambda data, arg: print('HEARD', repr(arg)))\nasyncio.run"
        % events,
        1,
    )
    rig, cloud = trusting(tmp_path / "rig", main=main)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    run = rig.run(until_s=2 * HOUR)
    installed(rig, run)
    tokens = [cloud.devices["DEVICE0001"]["token"], PRODUCT]
    cloud.revoke("DEVICE0001")  # it registers again, and is told why
    again = rig.run(until_s=2 * HOUR)
    assert "Authentication failed" in again.console and run.console.count("HEARD") > 4
    tokens.append(cloud.devices["DEVICE0001"]["token"])
    assert len(set(tokens)) == 3 and not [each for each in tokens if each in run.console + again.console]
    assert cloud.objections == []  # the image store objects to any token


# ---- what it is not


def test_fast_forward(tmp_path):
    """The cloud offers what it has as a version out of reach: refused, and the next honest one is still newer than what
    runs.
    """
    rig, cloud = trusting(tmp_path / "rig")
    before = slots(rig)
    cloud.release("99.0.0", sealed(rig.image(1), "1.0.1"))
    assert "FAILED manifest_mismatch" in rig.run(until_s=HOUR // 2).console
    cloud.release("99.0.1", sealed(rig.image(1), "99.0.1", by="thief"))
    assert "FAILED signature_invalid" in rig.run(until_s=2 * HOUR).console
    assert slots(rig) == before and nvs_floor(rig) == "" == rig.record()["floor"]
    survives(rig, cloud)


def test_mix_and_match(tmp_path):
    """The manifest of one signed release before the image of another, of the same size."""
    rig, cloud = trusting(tmp_path / "rig")
    one, other = sealed(rig.image(1), "1.0.1"), sealed(rig.image(2), "1.0.2")
    cloud.release("1.0.1", one[: device.ENVELOPE_BYTES] + other[device.ENVELOPE_BYTES :])
    run = rig.run(until_s=4 * HOUR)
    assert "FAILED checksum_mismatch" in run.console and run.slots == ["ota_0"] and rig.board.otadata() == "1/VALID -"
    assert (
        rig.board.read_slot("ota_1") == b""
        and cloud.devices["DEVICE0001"]["properties"]["error"] == "checksum_mismatch"
    )
    survives(rig, cloud)


def test_parts_of_two_releases_over_two_connections(tmp_path):
    """The connection is lost in the middle, the rest comes from another image: what the flash holds decides."""
    rig, cloud = trusting(tmp_path / "rig", blocks=6)
    one, other = sealed(rig.image(1), "1.0.1"), sealed(rig.image(2), "1.0.1")
    cloud.release("1.0.1", one)

    def store(method, path, headers, body):
        if "range" not in headers:
            return [reply(one)[:14000], None]
        at = int(headers["range"][6:-1])
        head = "HTTP/1.1 206 x\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (
            len(other) - at,
            at,
            len(other) - 1,
            len(other),
        )
        return [head.encode() + other[at:]]

    served(rig, "images.test", secure(Script(store)))
    run = rig.run(until_s=4 * HOUR)
    assert "download lost at block" in run.console and "FAILED checksum_mismatch" in run.console, run.console[-1500:]
    assert rig.board.read_slot("ota_1") == b"" and rig.board.otadata() == "1/VALID -"
    survives(rig, cloud)


@pytest.mark.parametrize("what", ["an-older-release", "of-another-product", "forged", "no-image"])
def test_a_malicious_mirror(tmp_path, what):
    """The cloud is honest, the image store is not: it gives something else that was signed once, or that never was."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    content, reason = {
        "an-older-release": (sealed(rig.image(2), "0.9.0"), "manifest_mismatch"),
        "of-another-product": (sealed(rig.image(2), "1.0.1", product="TOASTER"), "manifest_mismatch"),
        "forged": (sealed(rig.image(2), "1.0.1", by="thief"), "signature_invalid"),
        "no-image": (b"<html>please sign in</html>" * 20, "image_magic"),
    }[what]
    served(rig, "images.test", mirror(content))
    before = slots(rig)
    assert "FAILED " + reason in rig.run(until_s=HOUR // 2).console and slots(rig) == before
    served(rig, "images.test", secure(Asgi(cloud)))  # an honest one again: the very same release is installed
    installed(rig, rig.run(until_s=3 * HOUR))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("cut", [False, True])
def test_a_malicious_mirror_of_a_board_without_keys(tmp_path, signed, cut):
    """The cloud's checksum is over the whole file: an envelope of the mirror's own does not take its place, nor does a
    power cut.
    """
    rig, cloud = trusting(tmp_path / "rig", trusted=(), blocks=14, update__attempts=1)
    good = sealed(rig.image(1), "1.0.1") if signed else rig.image(1)
    update = cloud.release("1.0.1", good)
    served(rig, "images.test", mirror(sealed(rig.image(2), "1.0.1", by="thief")))
    if cut:
        assert (
            rig.run(until_s=HOUR, cut=Cut(erases(tmp_path / "twin", trusted=(), blocks=14)[9], "before")).ended == "cut"
        )
    run = rig.run(until_s=2 * HOUR)
    assert (
        "FAILED checksum_mismatch" in run.console and run.slots == ["ota_0"] and rig.board.read_slot("ota_1") == b""
    ), run.console[-1500:]
    del cloud.releases[update]
    survives(rig, cloud)


@pytest.mark.parametrize("how", ["chunks", "no-length", "a-length-of-its-own"])
def test_endless_data(tmp_path, how):
    """A signed beginning and no end: no more is taken than the slot has room for, and nothing of it starts."""
    rig, cloud = trusting(tmp_path / "rig")
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    more = [b"1000\r\n" + bytes(4096) + b"\r\n" if how == "chunks" else bytes(4096)] * 100
    head = {"chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(file) + file + b"\r\n",
        "no-length": b"\r\n" + file,
            "a-length-of-its-own": b"Content-Length: 4294967295\r\n\r\n" + file}[how]  # fmt: skip
    served(rig, "images.test", secure(Script(lambda *request: [b"HTTP/1.1 200 OK\r\n" + head, *more])))
    before = slots(rig)
    run = rig.run(until_s=HOUR // 2)
    assert "FAILED size_" in run.console and slots(rig) == before, run.console[-1500:]
    assert sum(c.received for c in rig.air.log) < 4 * (len(file) + 65536)
    survives(rig, cloud)


def test_endless_data_behind_what_was_announced(tmp_path):
    """The cloud says how long the file is, the store goes on for ever: as much is taken, and it is not what was
    said.
    """
    rig, cloud = trusting(tmp_path / "rig", update__attempts=1)
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    update = cloud._update
    cloud._update = lambda *request: [
        found.replace(b'{"url"', b'{"size":%d,"url"' % len(file)) if isinstance(found, bytes) else found
        for found in update(*request)
    ]
    more = [b"1000\r\n" + bytes(4096) + b"\r\n"] * 100
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(file)
    served(rig, "images.test", secure(Script(lambda *request: [head + file + b"\r\n", *more])))
    assert "FAILED size_mismatch" in rig.run(until_s=HOUR // 2).console
    assert rig.board.read_slot("ota_1") == b"" and rig.board.otadata() == "1/VALID -"
    cloud._update = update
    survives(rig, cloud)


def test_slow_retrieval(tmp_path):
    """A byte every two seconds: given up after network.timeout, again and again, while everything else goes on."""
    rig, cloud = trusting(tmp_path / "rig", network__timeout=5)
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(file)
    served(rig, "images.test", secure(Script(lambda *request: [head] + [(2, file[i : i + 1]) for i in range(300)])))
    before = slots(rig)
    run = rig.run(until_s=HOUR)
    assert slots(rig) == before and run.ended == "time" and run.console.count("download lost at block 0") > 6
    survives(rig, cloud)


def test_a_release_that_has_expired_is_not_begun(tmp_path):
    """Freezing a fleet at an old release, by offering nothing but it: it can be given an end."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", expires=NOW + 60))
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2", expires=NOW - 1))
    before = slots(rig)
    assert "FAILED manifest_expired" in rig.run(until_s=HOUR // 2).console and slots(rig) == before
    del cloud.releases[list(cloud.releases)[-1]]
    run = rig.run(until_s=2 * HOUR)
    assert "FAILED manifest_expired" in run.console and slots(rig) == before, run.console[-1500:]
    survives(rig, cloud)


# ---- what it is: signed by others' tools


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here: apt-get install openssl")
def test_a_release_that_openssl_has_signed(tmp_path):
    """By `openssl dgst -sign` in PSS mode, as a machine with a key in hardware would; installed like any other."""
    rig, cloud = trusting(tmp_path / "rig")
    image = rig.image(1)
    text = device.unwrap(sealed(image, "1.0.1")[:4096])[0]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "key.pem").write_bytes(key("ours").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "text").write_bytes(text)
        options = [
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:32",
            "-sign",
            folder / "key.pem",
            "-out",
            folder / "signature",
        ]
        subprocess.run(["openssl", "dgst", "-sha256", *options, folder / "text"], check=True)
        cloud.release("1.0.1", seal(text, (folder / "signature").read_bytes()) + image)
    installed(rig, rig.run(until_s=2 * HOUR))
    assert rig.board.read_slot("ota_1") == image

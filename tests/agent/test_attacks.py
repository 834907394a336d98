"""The attacks of docs/security.md on a board with keys: against its agent, its TLS connections, and its flash.

A refusal before the first erase leaves both slots and otadata unchanged, byte for byte. Content that is refused later
never becomes bootable. After each attack, an honest release is installed.
"""

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ioto import release as device
from ioto_tools.cloud.site import certificates
from ioto_tools.image.release import build_envelope
from ioto_tools.virtual_board import Cut
from ioto_tools.virtual_board.peers import AsgiServer, ScriptedServer, TlsServer, http_response
from rig import MAIN, NOW, PRODUCT, authority, secure
from signing import erases, installed, key, nvs_floor, sealed, slots, trusting

HOUR = 3600
OTHER = "1.0.9"


def serve_as(rig, host, peer):
    """Let `peer` answer as `host` from now on."""
    rig.air.peers[(rig.air.names[host], 443)] = peer


def check_honest_release_installs(rig, cloud, image=7):
    """Restore the honest cloud and check that the board installs its release."""
    serve_as(rig, "images.test", secure(AsgiServer(cloud)))
    content = rig.image(image)
    cloud.release(OTHER, sealed(content, OTHER))
    run = rig.run(until_s=3 * HOUR)
    assert "CONFIRMED " + OTHER in run.console, run.console[-1500:]
    assert rig.board.read_slot(run.slots[-1]) == content and nvs_floor(rig) == OTHER


def mirror(content):
    """An image store that answers every request with `content`."""
    return secure(ScriptedServer(lambda method, path, headers, body: [http_response(content)]))


# ---- false servers


def impostors(folder):
    """Yield (reason, TLS context) of two false servers: one with an unknown authority, one with another name."""
    shutil.copytree(authority().name, folder / "tls_name")
    for reason, names in (("tls_untrusted", ["api.test", "builder.test", "images.test"]), ("tls_name", ["evil.test"])):
        certificates.make(folder / reason, names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / reason / "server.pem", folder / reason / "server.key")
        yield reason, context


@pytest.mark.sweep
@pytest.mark.parametrize("host", ["builder.test", "api.test", "images.test"])
def test_server_without_a_valid_certificate_receives_no_request(tmp_path, host):
    """The false server poses as Builder, cloud or image store."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    heard = []
    script = ScriptedServer(lambda *request: heard.append(request) or [http_response(b"{}")])
    before = slots(rig)
    for reason, context in impostors(tmp_path):
        serve_as(rig, host, TlsServer(script, context))
        run = rig.run(until_s=HOUR // 2)
        assert reason in run.console, run.console[-800:]
        assert not heard and slots(rig) == before and run.slots == ["ota_0"]
    serve_as(rig, host, secure(AsgiServer(cloud)))
    installed(rig, rig.run(until_s=2 * HOUR))


@pytest.mark.sweep
def test_link_to_plain_http_is_not_followed(tmp_path):
    """A compromised cloud links to plain http, directly or by a redirect."""
    rig, cloud = trusting(tmp_path / "rig")
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    asked = []
    rig.air.peers[(rig.air.names["images.test"], 80)] = ScriptedServer(
        lambda *request: asked.append(request) or [http_response(file)]
    )
    before = slots(rig)
    cloud.images = "http://images.test"
    assert "tls_unverified" in rig.run(until_s=HOUR // 2).console
    cloud.images = "https://images.test"
    serve_as(
        rig,
        "images.test",
        secure(ScriptedServer(lambda *request: [http_response(b"", 302, [("Location", "http://images.test/i")])])),
    )
    assert "http_redirect" in rig.run(until_s=HOUR).console and slots(rig) == before and not asked
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
def test_token_is_not_given_to_image_store_log_or_watchers(tmp_path):
    """The log has its most detailed level, and all events have watchers."""
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
    cloud.revoke("DEVICE0001")  # the board registers again, and logs why
    again = rig.run(until_s=2 * HOUR)
    assert "Authentication failed" in again.console and run.console.count("HEARD") > 4
    tokens.append(cloud.devices["DEVICE0001"]["token"])
    assert len(set(tokens)) == 3 and not [each for each in tokens if each in run.console + again.console]
    assert cloud.objections == []  # the image store records an objection if it receives a token


# ---- false files


@pytest.mark.sweep
def test_old_release_offered_as_a_high_version_is_refused(tmp_path):
    """The cloud offers it as 99.0.0. The floor does not rise, so the next honest release is still accepted."""
    rig, cloud = trusting(tmp_path / "rig")
    before = slots(rig)
    cloud.release("99.0.0", sealed(rig.image(1), "1.0.1"))
    assert "FAILED manifest_mismatch" in rig.run(until_s=HOUR // 2).console
    cloud.release("99.0.1", sealed(rig.image(1), "99.0.1", by="thief"))
    assert "FAILED signature_invalid" in rig.run(until_s=2 * HOUR).console
    assert slots(rig) == before and nvs_floor(rig) == "" == rig.record()["floor"]
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
def test_manifest_with_the_image_of_another_release_is_refused(tmp_path):
    """Both releases are signed, and their images have the same size."""
    rig, cloud = trusting(tmp_path / "rig")
    one, other = sealed(rig.image(1), "1.0.1"), sealed(rig.image(2), "1.0.2")
    cloud.release("1.0.1", one[: device.ENVELOPE_BYTES] + other[device.ENVELOPE_BYTES :])
    run = rig.run(until_s=4 * HOUR)
    assert (
        "FAILED checksum_mismatch" in run.console
        and run.slots == ["ota_0"]
        and rig.board.describe_otadata() == "1/VALID -"
    )
    assert (
        rig.board.read_slot("ota_1") == b""
        and cloud.devices["DEVICE0001"]["properties"]["error"] == "checksum_mismatch"
    )
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
def test_image_mixed_over_two_connections_is_refused(tmp_path):
    """The second connection continues with another image; the agent checks what is in the flash."""
    rig, cloud = trusting(tmp_path / "rig", blocks=6)
    one, other = sealed(rig.image(1), "1.0.1"), sealed(rig.image(2), "1.0.1")
    cloud.release("1.0.1", one)

    def store(method, path, headers, body):
        if "range" not in headers:
            return [http_response(one)[:14000], None]
        at = int(headers["range"][6:-1])
        head = "HTTP/1.1 206 x\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (
            len(other) - at,
            at,
            len(other) - 1,
            len(other),
        )
        return [head.encode() + other[at:]]

    serve_as(rig, "images.test", secure(ScriptedServer(store)))
    run = rig.run(until_s=4 * HOUR)
    assert "connection lost at block" in run.console and "FAILED checksum_mismatch" in run.console, run.console[-1500:]
    assert rig.board.read_slot("ota_1") == b"" and rig.board.describe_otadata() == "1/VALID -"
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
@pytest.mark.parametrize("what", ["an-older-release", "of-another-product", "forged", "no-image"])
def test_other_file_from_a_mirror_is_refused(tmp_path, what):
    """The cloud is honest. The image store sends another signed release, a forged one, or no image."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1"))
    content, reason = {
        "an-older-release": (sealed(rig.image(2), "0.9.0"), "manifest_mismatch"),
        "of-another-product": (sealed(rig.image(2), "1.0.1", product="TOASTER"), "manifest_mismatch"),
        "forged": (sealed(rig.image(2), "1.0.1", by="thief"), "signature_invalid"),
        "no-image": (b"<html>please sign in</html>" * 20, "image_magic"),
    }[what]
    serve_as(rig, "images.test", mirror(content))
    before = slots(rig)
    assert "FAILED " + reason in rig.run(until_s=HOUR // 2).console and slots(rig) == before
    serve_as(rig, "images.test", secure(AsgiServer(cloud)))  # honest again: the same release is installed
    installed(rig, rig.run(until_s=3 * HOUR))


@pytest.mark.sweep
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("cut", [False, True])
def test_other_file_from_a_mirror_is_refused_by_a_board_without_keys(tmp_path, signed, cut):
    """The cloud's checksum covers the whole file, so an envelope made by the mirror is useless.

    The file is refused even if the power is cut during the download.
    """
    rig, cloud = trusting(tmp_path / "rig", trusted=(), blocks=14, update__attempts=1)
    good = sealed(rig.image(1), "1.0.1") if signed else rig.image(1)
    update = cloud.release("1.0.1", good)
    serve_as(rig, "images.test", mirror(sealed(rig.image(2), "1.0.1", by="thief")))
    if cut:
        assert (
            rig.run(until_s=HOUR, cut=Cut(erases(tmp_path / "twin", trusted=(), blocks=14)[9], "before")).ended == "cut"
        )
    run = rig.run(until_s=2 * HOUR)
    assert (
        "FAILED checksum_mismatch" in run.console and run.slots == ["ota_0"] and rig.board.read_slot("ota_1") == b""
    ), run.console[-1500:]
    del cloud.releases[update]
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
@pytest.mark.parametrize("how", ["chunks", "no-length", "a-length-of-its-own"])
def test_download_without_end_stops_at_the_size_of_the_slot(tmp_path, how):
    """The beginning of the download is signed; no part of it ever boots."""
    rig, cloud = trusting(tmp_path / "rig")
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    more = [b"1000\r\n" + bytes(4096) + b"\r\n" if how == "chunks" else bytes(4096)] * 100
    head = {"chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(file) + file + b"\r\n",
        "no-length": b"\r\n" + file,
            "a-length-of-its-own": b"Content-Length: 4294967295\r\n\r\n" + file}[how]  # fmt: skip
    serve_as(rig, "images.test", secure(ScriptedServer(lambda *request: [b"HTTP/1.1 200 OK\r\n" + head, *more])))
    before = slots(rig)
    run = rig.run(until_s=HOUR // 2)
    assert "FAILED size_" in run.console and slots(rig) == before, run.console[-1500:]
    assert sum(c.received for c in rig.air.log) < 4 * (len(file) + 65536)
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
def test_download_stops_at_the_announced_size(tmp_path):
    """The cloud announces the size, but the store continues to send."""
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
    serve_as(rig, "images.test", secure(ScriptedServer(lambda *request: [head + file + b"\r\n", *more])))
    assert "FAILED size_mismatch" in rig.run(until_s=HOUR // 2).console
    assert rig.board.read_slot("ota_1") == b"" and rig.board.describe_otadata() == "1/VALID -"
    cloud._update = update
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
def test_server_that_sends_too_slowly_is_given_up(tmp_path):
    """The server sends a byte every two seconds: each connection ends after network.timeout; the agent continues."""
    rig, cloud = trusting(tmp_path / "rig", network__timeout=5)
    file = sealed(rig.image(1), "1.0.1")
    cloud.release("1.0.1", file)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(file)
    serve_as(
        rig, "images.test", secure(ScriptedServer(lambda *request: [head] + [(2, file[i : i + 1]) for i in range(300)]))
    )
    before = slots(rig)
    run = rig.run(until_s=HOUR)
    assert slots(rig) == before and run.ended == "time" and run.console.count("connection lost at block 0") > 6
    check_honest_release_installs(rig, cloud)


@pytest.mark.sweep
def test_expired_release_is_refused(tmp_path):
    """Without expiry dates, an attacker could freeze a fleet at an old release by offering only that one."""
    rig, cloud = trusting(tmp_path / "rig")
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", expires=NOW + 60))
    cloud.release("1.0.2", sealed(rig.image(2), "1.0.2", expires=NOW - 1))
    before = slots(rig)
    assert "FAILED manifest_expired" in rig.run(until_s=HOUR // 2).console and slots(rig) == before
    del cloud.releases[list(cloud.releases)[-1]]
    run = rig.run(until_s=2 * HOUR)
    assert "FAILED manifest_expired" in run.console and slots(rig) == before, run.console[-1500:]
    check_honest_release_installs(rig, cloud)


# ---- files signed by other tools


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed (apt-get install openssl)")
def test_release_signed_by_openssl_is_installed(tmp_path):
    """The file is signed with `openssl dgst -sign` in PSS mode, as on a machine with a hardware key."""
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
        cloud.release("1.0.1", build_envelope(text, (folder / "signature").read_bytes()) + image)
    installed(rig, rig.run(until_s=2 * HOUR))
    assert rig.board.read_slot("ota_1") == image

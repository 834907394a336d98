"""The client's TLS: accepted and refused servers, and truncated connections."""

import errno
import socket
import ssl

import pytest
from issue_certificates import DAY, HERE, Certificate
from loopback import one, reason, run

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LIMIT_MS = 5000
HEADERS = {"Authorization": "bearer secret"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("certificates")
    ca, other = (Certificate(name, authority=True).save(made, name) for name in ("ca", "other"))
    between = Certificate("between", ca, authority=True)
    old = Certificate("old", authority=True, first=-9 * DAY, last=-DAY).save(made, "old")
    for name, by, names, changes in (
        ("server", ca, HERE, {}),
        ("wrong-name", ca, ["stranger.example"], {}),
        ("without-names", ca, [], {}),
        ("name-only", ca, ["localhost"], {}),
        ("expired", ca, HERE, {"last": -3600}),
        ("not-yet", ca, HERE, {"first": 3600}),
        ("neither", ca, ["stranger.example"], {"last": -3600}),
        ("of-an-old", old, HERE, {}),
        ("of-a-server", Certificate("no authority", ca, HERE), HERE, {}),
        ("self-signed", None, HERE, {}),
        ("device", other, [], {}),
    ):
        Certificate(name, by, names, **changes).save(made, name)
    Certificate("deep", between, HERE).save(made, "deep", [between]).save(made, "gap")
    (made / "bundle.pem").write_text("# two\n" + other.pem() + "\ntext\n" + ca.pem())
    (made / "ca.der").write_bytes(ca.der())
    return made


@pytest.fixture
def secure(serve, folder):
    """secure(name, answer) starts a server with the certificate `name`; `change(context)` is called first."""

    def start(name, answer=OK, change=None, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / (name + ".pem"), folder / (name + ".key"))
        if change:
            change(context)
        return serve(answer, context=context, **options)

    return start


def ask(server, folder, ca="ca.pem", **case):
    return one(server.url, **{"ca": str(folder / ca), "limit_ms": LIMIT_MS, "headers": HEADERS, **case})


def accepted(result):
    return result.get("status") == 200 and bytes.fromhex(result["body"]) == b"hello"


@pytest.mark.parametrize(
    "name, ca", [("server", "ca.pem"), ("server", "ca.der"), ("server", "bundle.pem"), ("deep", "ca.pem")]
)
def test_valid_certificates_are_accepted(secure, folder, name, ca):
    server = secure(name)
    assert accepted(ask(server, folder, ca))
    server.url = server.url.replace("127.0.0.1", "localhost")
    assert accepted(ask(server, folder, ca))


# (certificate, authority, reason, words in Mbed TLS's message)
REFUSED = {
    "unknown-authority": ("server", "other.pem", "tls_untrusted", "not correctly signed"),
    "self-signed": ("self-signed", "ca.pem", "tls_untrusted", "not correctly signed"),
    "signed-by-a-server": ("of-a-server", "ca.pem", "tls_untrusted", "not correctly signed"),
    "missing-link": ("gap", "ca.pem", "tls_untrusted", "not correctly signed"),
    "wrong-name": ("wrong-name", "ca.pem", "tls_name", "does not match"),
    "no-name": ("without-names", "ca.pem", "tls_name", "does not match"),
    "no-address": ("name-only", "ca.pem", "tls_name", "does not match"),
    "expired": ("expired", "ca.pem", "tls_expired", "expired"),
    "not-yet": ("not-yet", "ca.pem", "tls_not_yet", "starts in the future"),
    "expired-authority": ("of-an-old", "old.pem", "tls_expired", "expired"),
    "expired-and-unknown": ("expired", "other.pem", "tls_untrusted", "expired"),
    "expired-and-wrong-name": ("neither", "ca.pem", "tls_name", "expired"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_certificates_are_refused(secure, folder, case):
    name, ca, why, words = REFUSED[case]
    server = secure(name)
    result = ask(server, folder, ca)
    assert reason(result) == why and words in result["error"][2], result
    assert "\n" not in result["error"][2]
    assert not server.requests and "status" not in result  # no byte of the request was sent


def only(version):
    def change(context):
        context.set_ciphers("ALL:@SECLEVEL=0")  # otherwise OpenSSL would not offer the old versions
        context.minimum_version = context.maximum_version = version

    return change


def wants_a_certificate(folder):
    def change(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "other.pem")

    return change


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_only_tls_1_2_is_accepted(secure, folder):
    """MicroPython's Mbed TLS detects older versions; a server that requires TLS 1.3 ends the handshake itself."""
    for version, why in (
        ("TLSv1", "tls_version"),
        ("TLSv1_1", "tls_version"),
        ("TLSv1_2", None),
        ("TLSv1_3", "tls_refused"),
    ):
        server = secure("server", change=only(getattr(ssl.TLSVersion, version)))
        result = ask(server, folder)
        assert reason(result) == why and len(server.requests) == (why is None), (version, result)


def test_a_server_that_requires_a_client_certificate(secure, folder):
    """Mutual TLS with the right certificate in PEM or DER, with none, and with one from another authority."""
    server = secure("server", change=wants_a_certificate(folder))
    (folder / "device.der").write_bytes(ssl.PEM_cert_to_DER_cert((folder / "device.pem").read_text()))
    for cert in ("device.pem", "device.der"):
        assert accepted(ask(server, folder, cert=str(folder / cert), key=str(folder / "device.key")))
    refused = [
        ask(server, folder),
        ask(server, folder, cert=str(folder / "server.pem"), key=str(folder / "server.key")),
    ]
    assert [reason(each) for each in refused] == ["tls_refused"] * 2 and len(server.requests) == 2


def test_a_certificate_that_is_switched_after_a_redirect(secure, folder):
    """The redirect leads to a server with an invalid certificate, or back to the first, which now uses it too."""
    switched = secure("self-signed")
    first = secure("server", b"HTTP/1.1 307 X\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % switched.url.encode())
    assert reason(ask(first, folder)) == "tls_untrusted" and not switched.requests

    def answer(conn, request):
        first.context = switched.context
        conn.sendall(b"HTTP/1.1 307 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    first = secure("server", answer)
    assert reason(ask(first, folder)) == "tls_untrusted" and len(first.requests) == 1


def test_https_without_an_authority_is_refused(secure):
    server = secure("server")
    assert reason(one(server.url, limit_ms=LIMIT_MS)) == "tls_unverified"
    assert reason(one(server.url, limit_ms=LIMIT_MS, ca="")) == "tls_unverified"  # a context without authorities
    assert reason(one(server.url, transport="urequests")) == "tls_unverified"
    assert not server.requests
    result = one(server.url, transport="urequests", unverified=True, limit_ms=LIMIT_MS)
    assert accepted(result), result


def test_redirects_between_http_and_https(secure, serve, folder):
    ca = str(folder / "ca.pem")
    plain = serve(OK)
    down = secure("server", b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % plain.url.encode())
    assert reason(one(down.url, ca=ca, limit_ms=LIMIT_MS)) == "http_redirect"
    assert not plain.requests
    good = secure("server")
    up = serve(b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % good.url.encode())
    assert one(up.url, ca=ca, limit_ms=LIMIT_MS).get("status") == 200


@pytest.mark.parametrize(
    "begin", (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff", bytes(3000))
)
def test_a_server_without_tls(serve, folder, begin):
    def answer(conn, request):
        conn.sendall(begin)

    server = serve(answer)
    result = one(server.url.replace("http:", "https:"), ca=str(folder / "ca.pem"), limit_ms=300)
    assert reason(result) == "os", result


def test_a_handshake_that_stalls(secure, serve, folder):
    """A silent peer, and one that falls silent after a part of its handshake, hit the time limit."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = "https://127.0.0.1:%d/" % sock.getsockname()[1]
        result = one(url, ca=str(folder / "ca.pem"), limit_ms=300)
        assert result["error"][:2] == ["OSError", errno.ETIMEDOUT], result
    whole = secure("server", change=only(ssl.TLSVersion.TLSv1_2))
    for size in (1, 5, 80, 300, 700):
        relay = serve(lambda conn, request: None, context=Stalling(whole, size))
        result = one(relay.url, ca=str(folder / "ca.pem"), limit_ms=300)
        assert result["error"][:2] == ["OSError", errno.ETIMEDOUT], (size, result)
    assert not whole.requests


class Stalling:
    """Replaces a TLS context: forwards the request to `server`, and returns `size` bytes of its answer."""

    def __init__(self, server, size):
        self.server, self.left = server, size

    def wrap_socket(self, conn, **options):
        with socket.create_connection(("127.0.0.1", self.server.port), 5) as behind:
            behind.sendall(conn.recv(4096))
            while self.left:
                piece = behind.recv(self.left)
                conn.sendall(piece)
                self.left -= len(piece)
            conn.recv(1)  # until the client disconnects
        raise OSError("stalled")


@pytest.mark.parametrize("politely", (True, False))
def test_a_truncated_body_is_noticed(secure, folder, politely):
    """With or without close_notify, only the announced length or the last chunk shows that a body is complete.

    If the peer sends close_notify and then waits for ours, the client waits until the limit: the read function in C
    drops a close_notify that arrives with the last bytes.
    """

    def answer(conn, request):
        size, what = request.split(b" ")[1][1:].split(b"-")
        body = bytes(range(256)) * 40
        head = b"Content-Length: %d\r\n\r\n" % len(body)
        if what == b"chunked":
            head = b"Transfer-Encoding: chunked\r\n\r\n"
            body = b"2800\r\n" + body + b"\r\n0\r\n\r\n"
        conn.sendall(b"HTTP/1.1 200 OK\r\n" + head + body[: int(size)])
        if politely:
            conn.unwrap()

    server = secure("server", answer)
    ca = str(folder / "ca.pem")
    cases = [(size, what) for size in (0, 1, 4095, 4096, 4097, 10239, 10245) for what in ("length", "chunked")]
    results = run([{"url": "%s/%d-%s" % (server.url, *case), "ca": ca, "limit_ms": 1000} for case in cases])
    for (size, what), result in zip(cases, results):
        assert reason(result) == (None if size > 10239 and what == "length" else "os"), (size, what, result)
    assert one(server.url + "/99999-chunked", ca=ca, limit_ms=LIMIT_MS)["reads"] == [4096, 4096, 2048, 0]


def test_records_of_any_size(secure, folder):
    """A body in records of 7, 100, 5000 and 16384 bytes fills every buffer."""
    body = bytes(range(256)) * 160

    def answer(conn, request):
        size = int(request.split(b" ")[1][1:])
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for i in range(0, len(body), size):
            conn.sendall(body[i : i + size])

    server = secure("server", answer)
    for size in (7, 100, 5000, 16384):
        result = one("%s/%d" % (server.url, size), ca=str(folder / "ca.pem"), limit_ms=LIMIT_MS)
        assert bytes.fromhex(result["body"]) == body and result["reads"] == [4096] * 10 + [0], size

"""TLS as the client sees it: who is believed, who is not, and what a connection cut short looks like."""

import shutil
import socket
import ssl
import subprocess

import pytest
from hostile import one, reason, run

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LIMIT_MS = 5000

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="the command openssl makes the certificates")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-keyout", name + ".key", "-out", name + ".pem", "-subj", "/CN=" + name)


def certificate(folder, name, ca, names, days=30):
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key",
            "-out", name + ".csr", "-subj", "/CN=" + name)
    (folder / "names").write_text("subjectAltName=" + names + "\n")
    openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-days", str(days),
            "-extfile", "names", "-out", name + ".pem")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("certificates")
    authority(made, "ca")
    authority(made, "other")
    certificate(made, "server", "ca", "DNS:localhost,IP:127.0.0.1")
    certificate(made, "stranger", "ca", "DNS:stranger.example")
    certificate(made, "expired", "ca", "DNS:localhost,IP:127.0.0.1", days=-1)
    (made / "bundle.pem").write_text("# two\n" + (made / "other.pem").read_text() + "\ntext\n" + (made / "ca.pem").read_text())
    return made


@pytest.fixture
def secure(serve, folder):
    """secure(name, answer) serves with the certificate `name`."""

    def start(name, answer=OK, newest=ssl.TLSVersion.TLSv1_2, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / (name + ".pem"), folder / (name + ".key"))
        if newest == ssl.TLSVersion.TLSv1_3:
            context.minimum_version = newest
        return serve(answer, context=context, **options)

    return start


def test_who_is_believed(secure, folder):
    server = secure("server")
    for ca in ("ca.pem", "bundle.pem"):
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            result = one(url, ca=str(folder / ca), limit_ms=LIMIT_MS)
            assert result.get("status") == 200 and bytes.fromhex(result["body"]) == b"hello", result


@pytest.mark.parametrize("name, ca, words", (
    ("server", "other.pem", "not correctly signed"),
    ("stranger", "ca.pem", "does not match"),
    ("expired", "ca.pem", "expired"),
    ("expired", "other.pem", "not correctly signed"),
))
def test_who_is_not(secure, folder, name, ca, words):
    server = secure(name)
    result = one(server.url, ca=str(folder / ca), limit_ms=LIMIT_MS, headers={"Authorization": "bearer secret"})
    assert reason(result) == "tls_unverified" and words in result["error"][2], result
    assert "\n" not in result["error"][2]
    assert not server.requests  # not a byte of the request went to it


def test_without_an_authority(secure):
    server = secure("server")
    assert reason(one(server.url, limit_ms=LIMIT_MS)) == "tls_unverified"
    assert reason(one(server.url, transport="urequests")) == "tls_unverified"
    assert not server.requests
    result = one(server.url, transport="urequests", unverified=True, limit_ms=LIMIT_MS)
    assert result.get("status") == 200 and bytes.fromhex(result["body"]) == b"hello", result


def test_only_newer_tls(secure, folder):
    server = secure("server", newest=ssl.TLSVersion.TLSv1_3)
    assert reason(one(server.url, ca=str(folder / "ca.pem"), limit_ms=LIMIT_MS)) == "os"


def test_redirects_between_http_and_https(secure, serve, folder):
    ca = str(folder / "ca.pem")
    plain = serve(OK)
    down = secure("server", b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % plain.url.encode())
    assert reason(one(down.url, ca=ca, limit_ms=LIMIT_MS)) == "http_redirect"
    assert not plain.requests
    good = secure("server")
    up = serve(b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % good.url.encode())
    assert one(up.url, ca=ca, limit_ms=LIMIT_MS).get("status") == 200


@pytest.mark.parametrize("begin", (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff", bytes(3000)))
def test_no_tls_at_all(serve, folder, begin):
    def answer(conn, request):
        conn.sendall(begin)

    server = serve(answer)
    result = one(server.url.replace("http:", "https:"), ca=str(folder / "ca.pem"), limit_ms=300)
    assert reason(result) == "os", result


def test_a_mute_peer(folder):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = "https://127.0.0.1:%d/" % sock.getsockname()[1]
        assert reason(one(url, ca=str(folder / "ca.pem"), limit_ms=300)) == "os"


@pytest.mark.parametrize("politely", (True, False))
def test_cut_short(secure, folder, politely):
    """With or without TLS's own goodbye: only the announced length, or the last chunk, says that a body is whole.

    A peer that says goodbye and then waits for ours costs the whole limit: the C code's read swallows the goodbye when it
    comes with the last bytes.
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
    """A body in records of 7, 100, 5000 and 16384 bytes fills every buffer all the same."""
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

"""Behind the real nginx, over TLS: images as the cloud itself sends them, limits, and an unavailable cloud."""

import json
import re
import signal
import socket
import subprocess
from urllib.parse import urlencode

import pytest
from cloud_under_test import call, esp_image
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.hosting.nginx import nginx_configuration
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import operator_tokens
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site.site import Site
from nginx_server import NAME, Nginx, needed
from packed_release import store_packed
from web_session import multipart

URL = "https://" + NAME
SIZE = 200_000


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "site", make=True)
    new_product(made, "thermo", "P7")
    (tmp_path / "new.bin").write_bytes(esp_image(b"new", SIZE))
    update = publish(made, tmp_path / "new.bin", "thermo", "2.0.0")[0]["id"]
    store_packed(made, update, (tmp_path / "new.bin").read_bytes())
    yield made
    made.close()


@pytest.fixture
def behind(site, serve, tmp_path):
    """(nginx, the cloud's process)."""
    process, address = serve("--data", "site", "--public-url", URL)
    with Nginx(tmp_path / "nginx", address, tmp_path / "site") as nginx:
        yield nginx, process


def post(nginx, path, token, fields):
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return nginx.request(
        "POST", URL + path, {"Authorization": "bearer " + token, "Content-Type": "application/json"}, body
    )


def offer(nginx, id="D1", **properties):
    token = json.loads(post(nginx, "/device/register", "P7", {"id": id})[2])["token"]
    return json.loads(post(nginx, "/tok/provision/update", token, {"id": id, "version": "1.0.0", **properties})[2])


KEPT = ("content-length", "content-range", "etag", "content-type")


def lines(headers):
    return {name.lower(): value for name, value in headers if name.lower() in KEPT}


@pytest.mark.sweep
@needed
def test_images_and_limits(behind, site, tmp_path):
    """All checks share one server, because starting it takes longer than the checks."""
    nginx, process = behind
    url = offer(nginx)["url"]
    check_images_match_those_of_the_cloud(nginx, url, SIZE)
    packed = offer(nginx, "PACKED", accepts=["packed"], slotSize=1 << 20)
    assert packed["size"] < SIZE
    check_images_match_those_of_the_cloud(nginx, packed["url"], packed["size"])
    check_the_cloud_answers_if_nginx_cannot_send(nginx, url, site)
    check_too_long_bodies_are_refused(nginx)
    check_an_operator_can_publish(nginx, site)
    check_the_page_accepts_an_image(nginx, site)
    check_unavailable_cloud_is_503_without_a_special_text(nginx, process)


def check_images_match_those_of_the_cloud(nginx, url, size):
    app = create_app(nginx.folder.parent / "site", URL, threads=False)
    etag = call(app, "HEAD", url[len(URL) :]).headers["etag"]
    edges = (0, 1, 4095, 4096, 65536, size - 1, size, size + 1)
    ranges = [None] + [
        "bytes=%s-%s" % (first, last) for first in edges for last in ("", *edges) if last == "" or last >= first
    ]
    for wanted in ranges + ["bytes=-1", "bytes=-4096", "bytes=-999999"]:
        for if_range in (None, etag, '"other"'):
            asked = {"Range": wanted} if wanted else {}
            asked.update({"If-Range": if_range} if if_range else {})
            status, headers, body = nginx.request("GET", url, asked)
            direct = call(app, "GET", url[len(URL) :], asked)
            assert status == direct.status, (wanted, if_range, status)
            if status == 416:
                assert dict(headers)["Content-Range"] == direct.headers["content-range"] == "bytes */%d" % size
                continue
            assert body == direct.body and lines(headers) == lines(direct.headers.items()), (wanted, if_range, headers)
            assert "Last-Modified" in dict(headers), "the cloud sent it, not nginx"
    status, headers, body = nginx.request("HEAD", url, {})
    assert (status, body) == (200, b"") and lines(headers) == lines(call(app, "HEAD", url[len(URL) :]).headers.items())
    app.state.site.close()


def check_the_cloud_answers_if_nginx_cannot_send(nginx, url, site):
    status, _, body = nginx.request("GET", URL + "/image/NOBODY", {})
    assert status == 403 and "not signed" in json.loads(body)["error"]
    status, _, body = nginx.request("GET", url[:-1] + ("A" if url[-1] != "A" else "B"), {})
    assert status == 403 and "wrong" in json.loads(body)["error"]
    [file] = [path for path in site.images.folder.rglob("*") if path.is_file() and path.stat().st_size == SIZE]
    file.rename(file.with_suffix(".away"))
    status, headers, body = nginx.request("GET", url, {})
    assert status == 503 and dict(headers)["Retry-After"] == "30" and "error" in json.loads(body)
    file.with_suffix(".away").rename(file)
    assert nginx.request("GET", url, {})[0] == 200
    for path in ("/_link", "/image/", "/image/../cloud.db", "/images/%s/%s" % (file.name[:2], file.name)):
        assert nginx.request("GET", URL + path, {})[0] in (400, 403, 404), path


def check_too_long_bodies_are_refused(nginx):
    for length in (16384, 16385, 10**6):
        status, _, body = post(nginx, "/tok/provision/update", "T", b'{"id":"D1","x":"%s"}' % (b"x" * (length - 18)))
        assert status == (413 if length > 16384 else 400) and json.loads(body)["error"], (length, status, body)


def check_an_operator_can_publish(nginx, site):
    token = operator_tokens.new(site, "ci", "publish")["token"]
    image = esp_image(b"newer", 1_000_000)
    status, _, body = nginx.request(
        "POST", URL + "/api/v1/products/thermo/releases?version=3.0.0", {"Authorization": "Bearer " + token}, image
    )
    assert status == 200, body
    assert nginx.request("GET", offer(nginx, "D2")["url"], {})[2] == image


def check_the_page_accepts_an_image(nginx, site):
    origin = {"Origin": URL, "Sec-Fetch-Site": "same-origin"}
    token = operator_tokens.new(site, "jo", "publish")["token"]
    body = urlencode({"token": token}).encode()
    status, headers, _ = nginx.request(
        "POST", URL + "/web/sign-in", {**origin, "Content-Type": "application/x-www-form-urlencoded"}, body
    )
    cookie = dict(headers)["Set-Cookie"]
    assert status == 303 and dict(headers)["Location"] == "." and "; Secure" in cookie
    cookie = {"Cookie": cookie.split(";")[0]}
    form = re.search(rb'name="form" value="(\w+)"', nginx.request("GET", URL + "/web/publish", cookie)[2])[1].decode()
    image = esp_image(b"page", 1_000_000)
    body, kind = multipart({"form": form, "product": "P7", "version": "3.1.0"}, image)
    status, headers, body = nginx.request(
        "POST", URL + "/web/publish", {**origin, **cookie, "Content-Type": kind}, body
    )
    assert status == 303 and dict(headers)["Location"].startswith("release?id="), body
    for asset in re.findall(rb'(?:src|href)="(static/[^"]+)"', nginx.request("GET", URL + "/web/sign-in", {})[2]):
        status, headers, body = nginx.request("GET", URL + "/web/" + asset.decode(), {"Accept-Encoding": "gzip"})
        assert status == 200 and dict(headers)["Content-Encoding"] == "gzip" and body[:2] == b"\x1f\x8b"


def check_unavailable_cloud_is_503_without_a_special_text(nginx, process):
    process.send_signal(signal.SIGINT)
    process.wait(20)
    status, headers, body = post(nginx, "/tok/provision/update", "T", {"id": "D1", "version": "1.0.0"})
    assert (status, dict(headers)["Retry-After"], json.loads(body)) == (
        503,
        "30",
        {"error": "the cloud cannot answer now"},
    )
    assert dict(headers)["Content-Length"] == str(len(body))


@pytest.mark.sweep
@needed
def test_plain_http_and_old_tls_are_refused(behind):
    nginx, _ = behind
    with socket.create_connection(("127.0.0.1", nginx.port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % NAME.encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 400 ")
    done = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % nginx.port, "-tls1_1"], input=b"", capture_output=True
    )
    assert done.returncode != 0


def test_values_with_special_characters_are_refused():
    good = {
        "server_name": "a.test",
        "certificate": "c.pem",
        "key": "k.pem",
        "data": "site",
        "listen": "443",
        "upstream": "127.0.0.1:1",
    }
    text = nginx_configuration(**good)
    assert "server_name a.test;" in text and not re.search("@[A-Z]", text)
    for name in good:
        for character in " \n;{}\"'$\\#":
            with pytest.raises(CloudError, match="expected"):
                nginx_configuration(**{**good, name: "a" + character})

"""An S3 store: its own links, streamed images, and a store that answers slowly, wrongly or not at all."""

import hashlib
import http.client
import resource
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from cloud_under_test import Cloud, esp_image
from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.images import s3 as module
from ioto_tools.cloud.site.site import Site

MEGABYTE = 1 << 20


def chunks(size):
    for number in range(size // 65536):
        yield number.to_bytes(4, "big") * 16384


def get(url, **headers):
    """(status, body) that a client gets from this URL."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request("GET", parts.path + "?" + parts.query, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def store(tmp_path, s3, **more):
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "site.toml").write_text(s3.settings(**more))
    return Site(tmp_path / "site", make=True).images


@pytest.fixture
def images(tmp_path, s3):
    return store(tmp_path, s3)


def stored(images, content):
    with images.receive([content]) as incoming:
        incoming.keep()
    return incoming.checksum


def test_link_has_a_margin_for_the_clock_of_the_store(images):
    query = dict(pair.split("=") for pair in urlsplit(images.link("ab" * 32, 60)).query.split("&"))
    assert query["X-Amz-Expires"] == str(60 + 900)


def test_link_opens_only_its_own_image(images, monkeypatch):
    monkeypatch.setattr(module, "_CLOCKS_S", 0)
    content = b"an image" * 1000
    url = images.link(stored(images, content), 60)
    other = stored(images, b"another")
    assert get(url) == (200, content)
    assert get(url, Range="bytes=8-15") == (206, content[8:16])
    parts = urlsplit(url)
    query = dict(pair.split("=") for pair in parts.query.split("&"))
    assert query["X-Amz-Expires"] == "60"
    tampered = [
        parts._replace(
            path=parts.path.replace(parts.path[-64:], other).replace("/%s/" % parts.path[-64:][:2], "/%s/" % other[:2])
        )
    ]
    for key, value in query.items():
        without = "&".join("%s=%s" % pair for pair in query.items() if pair[0] != key)
        for changed in (value[:-1] + ("1" if value[-1] != "1" else "2"), value + "0", ""):
            tampered.append(parts._replace(query="%s&%s=%s" % (without, key, changed)))
        tampered.append(parts._replace(query=without))
    for each in tampered:
        status, body = get(each.geturl())
        assert 400 <= status < 500 and b"image" not in body, each


def test_links_expire(images, monkeypatch):
    monkeypatch.setattr(module, "_CLOCKS_S", 0)
    url = images.link(stored(images, b"an image"), 3)
    assert get(url)[0] == 200
    time.sleep(4.1)  # by the store's clock, which the test cannot set
    status, body = get(url)
    assert status == 403 and b"expired" in body
    assert "X-Amz-Expires=604800&" in images.link("00" * 32, 365 * 86400)  # the maximum of S3


def test_links_can_be_disabled(tmp_path, s3):
    images = store(tmp_path, s3, links=False, prefix="ioto/images")
    assert images.link(stored(images, b"an image"), 60) is None


def test_object_names_begin_with_the_prefix(tmp_path, s3):
    images = store(tmp_path, s3, prefix="ioto/images")
    checksum = stored(images, b"an image")
    assert "/ioto/images/%s/%s?" % (checksum[:2], checksum) in images.link(checksum, 60)
    with images.open(checksum) as file:
        assert (file.size, file.read(100)) == (8, b"an image")


@pytest.mark.sweep
def test_image_is_never_whole_in_memory(images):
    stored(images, b"warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = 96 * MEGABYTE
    with images.receive(chunks(size)) as incoming:
        incoming.keep()
    sha256 = hashlib.sha256()
    with images.open(incoming.checksum) as file:
        assert file.size == size
        while chunk := file.read(65536):
            sha256.update(chunk)
    assert sha256.hexdigest() == incoming.checksum
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < size * 2 / 3


def test_refused_image_never_reaches_the_store(tmp_path, s3):
    cloud = Cloud(tmp_path)
    cloud.site.images = images = store(tmp_path, s3)
    with pytest.raises(CloudError):
        cloud.publish("1.0.0", esp_image(b"cut", 5000)[:-1])
    assert not list(images.folder.iterdir())
    assert get(images.link(hashlib.sha256(esp_image(b"cut", 5000)[:-1]).hexdigest(), 60))[0] == 404
    cloud.close()


# ---- a faulty store

HEADERS = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nETag: "e"\r\nLast-Modified: Tue, 24 Nov 2026 23:12:34 GMT\r\n\r\n'
)
FAULTY_ANSWERS = {
    "nothing": None,  # it accepts the request and never responds
    "hangs up": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n" * 20,
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "another site": b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    "headers only": HEADERS,
    "half a body": HEADERS + b"x" * 2500,
}


@contextmanager
def faulty_store(answer):
    """Run a server that sends `answer` to every request, or nothing if it is None; yield its endpoint."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def run():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection):
        with connection:
            try:
                connection.recv(65536)
                if answer is None:
                    ended.wait(30)
                connection.sendall(answer or b"")
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)
            except OSError:
                pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield "http://127.0.0.1:%d" % listening.getsockname()[1]
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


@pytest.mark.parametrize("answer", FAULTY_ANSWERS.values(), ids=FAULTY_ANSWERS)
def test_faulty_store_is_503_and_a_clear_error(tmp_path, monkeypatch, answer):
    monkeypatch.setattr(module, "_READ_S", 0.5)
    monkeypatch.setattr(module, "_WRITE_S", 0.5)
    with faulty_store(answer) as endpoint:
        check_publish_and_download_fail_cleanly(tmp_path, endpoint)


def test_unreachable_store_is_503_and_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_READ_S", 0.5)
    monkeypatch.setattr(module, "_WRITE_S", 0.5)
    with faulty_store(b"") as endpoint:
        pass
    check_publish_and_download_fail_cleanly(tmp_path, endpoint)


def test_missing_bucket_is_named(tmp_path, s3):
    images = store(tmp_path, s3, bucket="missing")
    with pytest.raises(
        Unavailable, match="/missing: there is no such bucket: create it, or correct images.bucket in site.toml"
    ):
        stored(images, b"an image")


def check_publish_and_download_fail_cleanly(tmp_path, endpoint):
    from cloud_under_test import call

    cloud = Cloud(tmp_path)
    release = cloud.publish("1.0.0")
    settings = {key: value for key, (value, _) in module.SETTINGS.items()} | {
        "bucket": "b",
        "endpoint": endpoint,
        "access_key_id": "a",
        "secret_access_key": "s",
    }
    cloud.site.images = module.S3Images(tmp_path / "incoming", settings)
    reply = call(cloud.app, "GET", cloud.link(release["id"]))
    assert reply.status == 503 and reply.headers["retry-after"] == "30"
    with pytest.raises(Unavailable, match="%s/b" % endpoint) as error:
        cloud.publish("2.0.0")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not list((tmp_path / "incoming").iterdir())
    cloud.close()


def test_invalid_settings_are_named(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    for text, words in (
        ("databas = 'x'", ("databas", "database, images")),
        ("database = 7", ("database", "a string")),
        ("database = 'mysql://a@b/c'", ("mysql://***@b/c", "postgresql://")),
        ("database = 'postgresql://u:secret@b'", ("postgresql://",)),
        ("[images]", ()),
        ("[images]\nprefix = 'x'", ("images.bucket", "missing")),
        ("[images]\nbucket = 'x'\nlinks = 'no'", ("images.links", "true or false")),
        ("[images]\nbucket = 'x'\nbuckets = 'no'", ("images.buckets", "bucket, prefix")),
        ("images = 's3'", ("images", "table")),
        ("[images", ("site.toml",)),
    ):
        (folder / "site.toml").write_text(text)
        if not words:
            Site(folder, make=True).close()
            continue
        with pytest.raises(CloudError) as error:
            Site(folder, make=True)
        assert all(word in str(error.value) for word in words) and "secret@" not in str(error.value), text

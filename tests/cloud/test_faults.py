"""One log line for each 5xx response, with its cause and the id sent to the client; uploads; SQLite's log."""

import http.client
import json
import logging
import os
import re
import sqlite3
import sys
from urllib.parse import urlencode, urlsplit

import pytest
from cloud_under_test import PRODUCT, call, esp_image
from ioto_tools.cloud.http import json_log
from ioto_tools.cloud.operators import control
from ioto_tools.cloud.site import housekeeping
from ioto_tools.cloud.storage import sqlite
from web_session import Session, multipart


def cause(caplog, reply):
    """The only log line about the 5xx response `reply`."""
    id = reply.headers["x-request-id"]
    lines = [record.getMessage() for record in caplog.records if id in record.getMessage()]
    assert re.fullmatch("[0-9a-f]{8}", id) and len(lines) == 1 and id in reply.body.decode(), (reply.body, lines)
    return lines[0]


def test_lost_or_truncated_image_is_logged(cloud, caplog):
    release = cloud.publish("1.0.0")
    path = cloud.link(release["id"])
    cloud.kind.spoil(cloud.site, release["checksum"], b"short")
    assert "its size differs from the published size, 1024 bytes" in cause(caplog, call(cloud.app, "GET", path))
    cloud.kind.spoil(cloud.site, release["checksum"], None)
    line = cause(caplog, call(cloud.app, "GET", path))
    assert "GET /image/" + release["id"] in line and "images" in line
    assert "signature" not in line  # the link itself is still valid


def test_unavailable_database_is_logged_without_secrets(cloud, caplog):
    token = cloud.device()
    jo = Session(cloud)
    with cloud.kind.away(cloud.site):
        for reply in (cloud.check_in("D1", token, "1.0.0"), cloud.register("D2"), jo.sign_in("token-of-jo")):
            assert reply.status == 503
            assert re.search("Unavailable: .{10}", cause(caplog, reply)), caplog.text
        assert token not in caplog.text and PRODUCT not in caplog.text


def test_unexpected_error_is_logged(cloud, caplog, monkeypatch):
    token = cloud.device()
    monkeypatch.setattr(cloud.app.state.memory, "refresh", None)
    with pytest.raises(TypeError):  # Starlette raises it again, so that the server logs the traceback
        cloud.check_in("D1", token, "1.0.0")
    assert "request" in caplog.text and "TypeError" in caplog.text


def test_logged_path_has_no_control_characters(cloud, caplog, monkeypatch):
    from ioto_tools.cloud.http import request_log
    from starlette.requests import Request

    request_log.log_fault(
        Request({"type": "http", "method": "GET", "path": "/\x1b[31m" + "x" * 999, "headers": []}), OSError("x")
    )
    [record] = caplog.records
    assert "\x1b" not in record.getMessage() and len(record.getMessage()) < 300


@pytest.mark.sweep
def test_access_log_has_each_response_and_no_secret(serve, tmp_path, capfd):
    _, address = serve("--data", str(tmp_path / "site"), "--access-log")
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    for path in ("/image/X?expires=9&signature=secret", "/web/sign-in"):
        connection.request("GET", path)
        connection.getresponse().read()
    logged = []
    until(lambda: logged.append(capfd.readouterr().err) or "".join(logged).count("127.0.0.1") == 2)
    lines = [line for line in "".join(logged).splitlines() if "127.0.0.1" in line]
    assert [re.search("GET .* 200|GET .* 403", line) is not None for line in lines] == [True, True], lines
    assert "secret" not in "".join(lines) and "/web/sign-in" in lines[1]


def test_a_traceback_is_in_its_json_line():
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("ioto", logging.ERROR, "", 1, "failed: %s", ("x\ny",), sys.exc_info())
    line = json_log.JsonLines().format(record)
    assert "\n" not in line and json.loads(line)["exception"].startswith("Traceback (most recent call last):\n")
    assert (json.loads(line)["level"], json.loads(line)["message"]) == ("error", "failed: x\ny")


@pytest.mark.sweep
def test_log_as_json_lines(serve, tmp_path, capfd):
    """Every line is a JSON object, including the lines of uvicorn."""
    _, address = serve("--data", str(tmp_path / "site"), "--access-log", "--log-format", "json")
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", "/image/X?expires=9&signature=secret")
    connection.getresponse().read()
    logged = []
    until(lambda: logged.append(capfd.readouterr().err) or '"path": "/image/X"' in "".join(logged))
    lines = [json.loads(line) for line in "".join(logged).splitlines()]
    assert all({"time", "level", "logger", "process", "message"} <= set(line) for line in lines)
    answer = next(line for line in lines if line["logger"] == "ioto.cloud.access")
    assert answer["method"] == "GET" and answer["path"] == "/image/X" and answer["client"] == "127.0.0.1"
    assert "secret" not in "".join(logged)


# ---- uploads


class Browser:
    """An operator's browser, signed in to a real server."""

    def __init__(self, address, token):
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc)
        self.origin = address
        self.cookie = ""
        reply = self.post("sign-in", urlencode({"token": token}).encode(), "application/x-www-form-urlencoded")
        self.cookie = reply.getheader("set-cookie").split(";")[0]

    def send_head(self, page, length, kind):
        self.connection.putrequest("POST", "/web/" + page)
        for name, value in (
            ("Origin", self.origin),
            ("Cookie", self.cookie),
            ("Content-Type", kind),
            ("Content-Length", str(length)),
        ):
            self.connection.putheader(name, value)
        self.connection.endheaders()

    def post(self, page, body, kind):
        self.send_head(page, len(body), kind)
        self.connection.send(body)
        reply = self.connection.getresponse()
        reply.read()
        return reply

    def form_token(self):
        self.connection.request("GET", "/web/", headers={"Cookie": self.cookie})
        return re.search(r'name="form" value="(\w+)"', self.connection.getresponse().read().decode())[1]


def upload_folders(process):
    """The folders of the server's open files that are deleted or still being received."""
    found = set()
    for handle in set(os.listdir("/proc/%d/fd" % process.pid)) - {"0", "1", "2"}:
        try:
            path = os.readlink("/proc/%d/fd/%s" % (process.pid, handle))
        except OSError:
            continue
        if "(deleted)" in path or ".incoming-" in path:
            found.add(os.path.dirname(path))
    return found


def until(condition):
    import time

    for _ in range(500):
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("the condition is still false")


@pytest.mark.sweep
def test_uploads_are_stored_on_the_disk_of_the_images(serve, ioto, tmp_path):
    """Half of an image, sent by API or page, is stored beside the images, not in a small temporary folder."""
    image = esp_image(b"u", 3 << 20)
    ioto("product", "new", "thermo", "--data", "site")
    token = json.loads(ioto("token", "new", "jo", "--scope", "admin", "--data", "site", "--json").stdout)["token"]
    process, address = serve("--data", "site")
    images = {str(tmp_path / "site" / "images")}

    api = http.client.HTTPConnection(urlsplit(address).netloc)
    api.putrequest("POST", "/api/v1/products/thermo/releases?version=1.0.0")
    api.putheader("Authorization", "bearer " + token)
    api.putheader("Content-Length", str(len(image)))
    api.endheaders()
    api.send(image[: len(image) // 2])
    assert until(lambda: upload_folders(process)) == images
    api.send(image[len(image) // 2 :])
    reply = api.getresponse()
    assert reply.status == 200, reply.read()

    jo = Browser(address, token)
    body, kind = multipart({"form": jo.form_token(), "product": "thermo", "version": "1.1.0"}, esp_image(b"v", 3 << 20))
    jo.send_head("publish", len(body), kind)
    jo.connection.send(body[: len(body) // 2])
    assert until(lambda: upload_folders(process)) == images
    jo.connection.send(body[len(body) // 2 :])
    assert jo.connection.getresponse().status == 303
    assert [each["version"] for each in json.loads(ioto("updates", "--data", "site", "--json").stdout)] == [
        "1.1.0",
        "1.0.0",
    ]
    assert not list((tmp_path / "site" / "images").glob(".incoming-*"))


# ---- housekeeping


def test_log_is_truncated_after_a_long_read(tmp_path):
    """A reader keeps SQLite from checkpointing its log; after the reader has ended, housekeeping truncates the log."""
    from ioto_tools.cloud.releases.publish import new_product
    from ioto_tools.cloud.site.site import Site

    site = Site(tmp_path / "site", make=True)
    reader = sqlite3.connect(tmp_path / "site" / "cloud.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM products").fetchall()
    for i in range(40):
        site.database.write(_filler, i)
    log = tmp_path / "site" / "cloud.db-wal"
    grown = log.stat().st_size
    assert grown > 1 << 20
    site.database.run_maintenance()  # neither waits for the reader nor truncates the log that it reads
    assert log.stat().st_size == grown
    reader.close()
    site.database.run_maintenance()
    assert log.stat().st_size == 0
    new_product(site, "thermo")
    [[limit]] = site.database.read(lambda conn: conn.exec_driver_sql("PRAGMA journal_size_limit").all())
    assert limit == sqlite.JOURNAL_BYTES
    site.close()


def _filler(conn, i):
    conn.exec_driver_sql("CREATE TABLE IF NOT EXISTS filler (x)")
    conn.exec_driver_sql("INSERT INTO filler VALUES (randomblob(100000))")


def test_lost_and_truncated_images_are_logged_at_the_start(cloud, caplog):
    good, truncated, lost, old = (cloud.publish("%d.0.0" % n) for n in (1, 2, 3, 4))
    control.change_state(cloud.site, old["id"], "cancelled")
    housekeeping.check_images(cloud.site)
    assert not caplog.records
    cloud.kind.spoil(cloud.site, truncated["checksum"], b"half")
    for each in (lost, old):
        cloud.kind.spoil(cloud.site, each["checksum"], None)
    housekeeping.check_images(cloud.site)
    logged = [record.getMessage() for record in caplog.records]
    assert (
        len(logged) == 2
        and any("2.0.0 has 4 bytes, not 1024" in text for text in logged)
        and any("3.0.0 has 0 bytes" in text for text in logged)
    )


def test_nearly_full_disk_is_logged(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    housekeeping.check_free_space(tmp_path)
    assert "free" not in caplog.text
    monkeypatch.setattr(housekeeping, "FREE_BYTES", 1 << 62)
    housekeeping.check_free_space(tmp_path)
    assert str(tmp_path) in caplog.text and "MiB are free" in caplog.text

"""The operators' page: sessions, protection of forms, response headers, and static files with their size."""

import gzip
import hashlib
import re

import pytest
from cloud_under_test import ROOT, call
from ioto_tools.cloud.http.errors import Unavailable
from ioto_tools.cloud.web import assets, pages, session
from starlette.routing import Mount
from web_session import Session, add_operator

STATIC = ROOT / "tools/ioto_tools/cloud/web/static"
WEIGHT = 60_000
READ_ONLY = {"/policy-check", "/dry-run"}  # forms that only read
OPEN = {"/sign-in", "/static/{hash}/{name}"}  # need no session


def routes(method):
    mount = next(route for route in pages.ROUTES if isinstance(route, Mount))
    return [route.path for route in mount.routes if method in route.methods]


@pytest.fixture
def operator(cloud):
    return Session(cloud)


def delete_operators(conn):
    conn.exec_driver_sql("DELETE FROM operators")


def count_sessions(conn):
    return conn.exec_driver_sql("SELECT count(*) FROM sessions").scalar()


# ---- signing in and out


@pytest.mark.parametrize("path", [path for path in routes("GET") if path not in OPEN])
def test_every_page_needs_a_session(cloud, path):
    for cookie in ("", "ioto_session=", "ioto_session=x", "ioto_session=" + "0" * 5000):
        reply = call(cloud.app, "GET", "/web" + path, {"cookie": cookie})
        assert (reply.status, reply.headers["location"].split("?")[0]) == (303, "sign-in")
        part = call(cloud.app, "GET", "/web" + path, {"cookie": cookie, "hx-request": "true"})
        assert part.status == 200 and part.body == b"" and part.headers["hx-redirect"] == "sign-in"


def test_sign_in_redirects_to_the_requested_page_only_below_web(cloud):
    token = add_operator(cloud.site, "jo")
    operator = Session(cloud, "other")
    for wanted, redirect in (
        ("device?id=a%2Fb", "device?id=a%2Fb"),
        ("", "."),
        ("//evil.test", "."),
        ("https://evil.test", "."),
        ("javascript:alert(1)", "."),
        ("/etc", "."),
        ("..", "."),
        ("\\\\evil.test", "."),
    ):
        page = call(cloud.app, "GET", "/web/sign-in?next=" + wanted.replace("%", "%25").replace("&", "%26"))
        action = re.search(r'action="(sign-in[^"]*)"', page.body.decode())[1].replace("&amp;", "&")
        reply = operator.send(action, {"token": token})
        assert (reply.status, reply.headers["location"]) == (303, redirect)


def test_cookie_attributes(cloud, operator):
    cookie = operator.sign_in("token-of-jo").headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "max-age=43200" in cookie and "path=" not in cookie
    assert "token-of-jo" not in cookie and "secure" not in cookie


def test_cookie_is_secure_over_tls(cloud, operator):
    plain = cloud.app

    async def over_tls(scope, receive, send):
        await plain({**scope, "scheme": "https"}, receive, send)

    cloud.app = over_tls
    assert "secure" in operator.sign_in("token-of-jo").headers["set-cookie"].lower()


def test_invalid_tokens_start_no_session(cloud, operator):
    expired = add_operator(cloud.site, "gone", expires_s=cloud.now_s)
    for token in ("", "x", expired, "token-of-jo ".upper(), "\0", "é" * 1000):
        reply = operator.sign_in(token)
        assert reply.status == 403 and b"no operator has this token" in reply.body and "set-cookie" not in reply.headers
    assert operator.sign_in(" token-of-jo\n").status == 303  # with the white space of pasted text


def test_session_ends_by_time_by_sign_out_and_with_its_token(cloud, operator):
    cloud.now_s += session.SESSION_S - 1
    assert operator.get("").status == 200
    cloud.now_s += 1
    assert operator.get("").status == 303
    operator.sign_in("token-of-jo")
    assert cloud.site.database.read(count_sessions) == 1  # the expired one is deleted
    cookie, form = operator.cookie, operator.form_token()
    assert operator.send("sign-out", {"form": form}).headers["location"] == "sign-in"
    assert operator.get("").status == 303 and cloud.site.database.read(count_sessions) == 0
    operator.sign_in("token-of-jo")
    assert operator.cookie != cookie and operator.get("").status == 200
    cloud.site.database.write(delete_operators)
    assert operator.get("").status == 303 and cloud.site.database.read(count_sessions) == 0


# ---- forms


@pytest.mark.parametrize("path", [path for path in routes("POST") if path != "/sign-in"])
def test_forms_from_other_sites_or_sessions_are_refused(cloud, operator, path):
    form = operator.form_token()
    other = Session(cloud, "other").form_token()
    operator.post("products", {"name": "before"})
    for headers, fields in (
        ({"sec_fetch_site": "cross-site"}, {"form": form}),
        ({"sec_fetch_site": "same-site"}, {"form": form}),
        ({"sec_fetch_site": "none"}, {"form": form}),
        ({"sec_fetch_site": None, "origin": "http://evil.test"}, {"form": form}),
        ({"sec_fetch_site": None, "origin": "null"}, {"form": form}),
        ({"sec_fetch_site": None, "origin": "http://[::1"}, {"form": form}),
        ({"sec_fetch_site": None, "origin": None}, {"form": form}),
        ({}, {}),
        ({}, {"form": ""}),
        ({}, {"form": other}),
        ({}, {"form": "é"}),
    ):
        reply = operator.send(path[1:], {"name": "x", "id": "D1", **fields}, **headers)
        assert reply.status == 403, (headers, fields, reply.body)
    assert b">x<" not in operator.get("products").body


def test_origin_is_checked_over_plain_http(operator):
    assert operator.post("products", {"name": "x"}, sec_fetch_site=None).status == 303
    # Behind a proxy that sends another Host: the browser's origin is the public URL.
    public = {"sec_fetch_site": None, "origin": "https://updates.test"}
    assert operator.send("sign-in", {"token": "token-of-jo"}, **public).status == 303
    assert operator.post("products", {"name": "y"}, **public).status == 303


def test_form_that_is_too_long_or_without_length(operator):
    assert operator.post("products", {"name": "x" * 70_000}).status == 413
    assert operator.post("products", {"name": "x"}, content_length=None).status == 413


def test_scope_read_cannot_change_anything(cloud):
    reader = Session(cloud, "reader", "read")
    for path in routes("POST"):
        if path not in READ_ONLY | {"/sign-in", "/sign-out"}:
            reply = reader.post(path[1:], {"name": "x", "id": "D1"})
            assert reply.status == 403 and b"yours has the scope read" in reply.body, path


# ---- responses


def test_headers_of_every_page(cloud, operator):
    for path in routes("GET"):
        if "{" not in path:
            reply = operator.get(path[1:])
            policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert reply.headers["cache-control"] == "no-store" and reply.headers["x-content-type-options"] == "nosniff"


def test_templates_have_nothing_that_the_content_security_policy_forbids():
    for path in (STATIC.parent / "templates").iterdir():
        text = path.read_text()
        inline = (
            r"""\sstyle=|<style|\son\w+=|javascript:|hx-on|hx-vals=.?js:|hx-trigger="[^"]*\[|\|safe|<script(?! src=)"""
        )
        assert not re.search(inline, text), path
        assert not re.search(r"""(?:href|src|action|hx-get|hx-post)=["'](?:/|https?:)""", text), (
            "%s: a link is not relative" % path
        )


def test_an_unknown_page_and_an_unknown_file(operator):
    assert operator.get("nothing").status == 404
    for name in ("nothing.js", "..%2fassets.py", "../assets.py", "htmx.LICENSE", ".css", "", "..", "\0.js"):
        assert call(operator.cloud.app, "GET", "/web/static/0/" + name).status == 404
    reply = operator.get("device?id=%3Cscript%3E")
    assert reply.status == 404 and b"&lt;script&gt;" in reply.body


def test_redirects_to_the_page(cloud):
    reply = call(cloud.app, "GET", "/web")
    assert (reply.status, reply.headers["location"]) == (308, "web/")
    reply = call(cloud.app, "GET", "/")
    assert (reply.status, reply.headers["location"]) == (307, "web/")


def test_database_unavailable(cloud, operator, monkeypatch):
    form = operator.form_token()

    def unavailable(*arguments):
        raise Unavailable("away")

    monkeypatch.setattr(cloud.site.database, "read", unavailable)
    monkeypatch.setattr(cloud.site.database, "write", unavailable)
    for reply in (
        operator.get(""),
        operator.get("progress?id=x", hx_request="true"),
        operator.send("products", {"form": form, "name": "x"}),
        operator.sign_in("token-of-jo"),
    ):
        assert reply.status == 503 and b"the cloud cannot answer now: try again in half a minute" in reply.body


# ---- files


def test_files_are_cached_for_a_year_under_their_hash(cloud):
    for file in STATIC.iterdir():
        if file.suffix == ".LICENSE":
            continue
        found = assets.asset(file.name)
        assert found.hash == hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        for accept, body in (("gzip, br", gzip.decompress), ("", bytes)):
            reply = call(cloud.app, "GET", "/web/" + found.path, {"accept-encoding": accept})
            assert body(reply.body) == file.read_bytes() and "immutable" in reply.headers["cache-control"]
            assert ("content-encoding" in reply.headers) == bool(accept)
        old = call(cloud.app, "GET", "/web/static/0123456789ab/" + file.name)
        assert old.status == 200 and old.headers["cache-control"] == "no-cache"


def test_vendored_files_match_the_docs():
    documented = dict(
        re.findall(
            r"^\| `([^`]+)` \| [^|]+ \| `([0-9a-f]{64})` \|$", (ROOT / "docs" / "internals.md").read_text(), re.M
        )
    )
    ours = {"page.css", "page.js", "icon.svg"}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in STATIC.iterdir() if path.name not in ours
    }
    assert documented == there
    licences = {name.split(".")[0] for name in there if name.endswith(".LICENSE")}
    assert {name.split(".")[0] for name in there} == {"htmx", "uPlot", "pico"} == licences


def test_static_files_are_small():
    files = {path.name: len(assets.asset(path.name).gzipped) for path in STATIC.iterdir() if path.suffix != ".LICENSE"}
    assert sum(files.values()) < WEIGHT, files

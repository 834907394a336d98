"""Malicious values in URLs and forms: no page fails, with either database; the values are shown only as text."""

import itertools
import json
from urllib.parse import urlencode

import pytest
from cloud_under_test import call
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.lists.device_filter import PARAMETERS
from ioto_tools.cloud.operators import operator_tokens
from ioto_tools.cloud.web import pages
from starlette.routing import Mount
from web_session import Session

MARK = "<script>alert('x')</script>\"'><b a="
NASTY = (
    "",
    "\0",
    "a\0b",
    "9" * 17,
    "9" * 30,
    "9" * 5000,
    "-1",
    "--5",
    "1e999",
    "٣",
    "²",
    "%",
    "%00",
    "\x1b[0m",
    "\u2028",
    "\ud800",
    "\U0010ffff",
    "x" * 9000,
    "1.0.0-" + "a" * 200,
    MARK,
    "thermo",
    "D1",
    "UPDATE",
    "../..",
    "a@b@c",
    "{{7*7}}",
    "[]",
    "{}",
    "null",
)
QUERIES = {  # query parameters of the pages, besides `id`
    "devices": (*PARAMETERS, "sort", "after"),
    "device-rows": ("product", "policy", "sort", "after", "found", "looked"),
    "device-count": (*PARAMETERS, "after", "found"),
    "device-export": ("product", "policy", "sort", "format"),
    "bulk": (*PARAMETERS, "action", "pin"),
    "bulk-count": ("product", "policy", "action", "pin", "after", "found"),
    "publish": ("product",),
    "progress": ("seen",),
    "audit": ("subject", "before"),
    "product": ("archived",),
    "groups": ("name",),
    "group-devices": ("name",),
    "sign-in": ("next",),
}
FORMS = {
    "products": ("name",),
    "release": ("id", "action"),
    "terms": ("id", "policy", "limit", "percentage", "rate", "period", "start", "end", "stop"),
    "policy-check": ("policy",),
    "dry-run": ("product", "version", "group", "policy", "limit", "start", "end", "so_far"),
    "publish": ("product", "version", "description", "group", "policy"),
    "device": ("id", "action", "version"),
    "bulk": ("product", "release", "state", "policy", "action", "pin", "run", "after", "of"),
    "tokens": ("name", "scope", "lifetime", "products", "revoke"),
    "retire": ("id", "action"),
    "product-settings": ("id", "keep_images", "action"),
    "keys": ("id", "public_key"),
    "groups": ("name", "policy", "remove"),
    "webhooks": ("url", "events", "remove", "test"),
}
GOOD = {"id": "D1", "product": "thermo", "version": "3.0.0", "name": "n", "scope": "read", "action": "pin"}


def paths(method):
    mount = next(route for route in pages.ROUTES if isinstance(route, Mount))
    return [route.path[1:] for route in mount.routes if method in route.methods and "{" not in route.path]


def encoded(fields):
    return urlencode(fields, errors="surrogatepass")


@pytest.fixture
def operator(cloud):
    cloud.update = cloud.publish("2.0.0")["id"]
    cloud.check_in("D1", cloud.device(), "1.0.0", note=MARK)
    return Session(cloud)


def check(reply, *what):
    assert reply.status in (200, 303, 400, 404, 409, 413), (reply.status, *what)
    assert MARK.encode() not in reply.body and b"<script>alert" not in reply.body, what


@pytest.mark.sweep
def test_malicious_queries(cloud, operator):
    for page, nasty in itertools.product(paths("GET"), NASTY):
        value = cloud.update if nasty == "UPDATE" else nasty
        for name in ("id", *QUERIES.get(page, ())):
            check(operator.get(page + "?" + encoded({name: value})), page, name, nasty[:40])


@pytest.mark.sweep
def test_malicious_forms(cloud, operator):
    assert set(FORMS) | {"sign-in", "sign-out"} == set(paths("POST"))
    token = operator.form_token()
    for page, names in FORMS.items():
        for name, nasty in itertools.product(names, NASTY):
            value = cloud.update if nasty == "UPDATE" else nasty
            good = {
                each: cloud.update if page in ("release", "terms", "retire") and each == "id" else GOOD.get(each, "")
                for each in names
                if each not in ("revoke", "remove", "test")
            }
            body = encoded({"form": token, **good, name: value}).encode()
            headers = {
                "origin": "http://cloud.test:8080",
                "sec-fetch-site": "same-origin",
                "content-type": "application/x-www-form-urlencoded",
                "cookie": operator.cookie,
                "content-length": str(len(body)),
            }
            check(call(cloud.app, "POST", "/web/" + page, headers, body), page, name, nasty[:40])


@pytest.mark.parametrize(
    "said",
    [
        {"devices": 1e999},
        {"after": "a\0"},
        {"after": "\ud800"},
        {"found": {"policy": {"count": 1e999, "examples": []}}},
        {"found": {"policy": {"count": 1, "examples": [MARK]}}},
        {"found": 5},
        {"after": 7},
    ],
)
def test_dry_run_with_malicious_progress(cloud, operator, said):
    so_far = json.dumps({"devices": 0, "after": "", "found": {}, **said}).replace("Infinity", "1e999")
    check(operator.post("dry-run", {"product": "thermo", "version": "3.0.0", "so_far": so_far}), said)


@pytest.mark.sweep
def test_malicious_api_queries(cloud):
    token = operator_tokens.new(cloud.site, "jo", "admin")["token"]
    for (path, names), nasty in itertools.product(
        {"/audit": ("limit", "subject"), "/devices": ("limit", "after", "format", "sort", *PARAMETERS)}.items(), NASTY
    ):
        for name in names:
            cloud.now_s += 1  # more requests than a token may send in a minute
            reply = call(
                cloud.app,
                "GET",
                openapi.PREFIX + path + "?" + encoded({name: nasty}),
                {"authorization": "bearer " + token},
            )
            assert reply.status in (200, 400, 404), (path, name, nasty[:40], reply.status)


def test_chunked_form_is_not_read_despite_its_content_length(cloud, operator):
    """If the form were read, clients that are not signed in could fill the disk."""
    read = []

    def pieces():
        yield b'--e\r\nContent-Disposition: form-data; name="token"; filename="x"\r\n\r\n'
        for _ in range(1000):
            read.append(1)
            yield bytes(65536)

    headers = {
        "origin": "http://cloud.test:8080",
        "sec-fetch-site": "same-origin",
        "content-type": "multipart/form-data; boundary=e",
        "content-length": "10",
        "transfer-encoding": "chunked",
        "cookie": operator.cookie,
    }
    for page in paths("POST"):
        assert call(cloud.app, "POST", "/web/" + page, headers, pieces=pieces()).status == 413, page
    assert not read

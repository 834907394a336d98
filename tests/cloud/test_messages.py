"""Invalid input of every kind is refused with an error that names the field.

The status is never 500, and the error is never one of the two texts that make a device delete its token.
"""

import itertools
import json

from cloud_under_test import PRODUCT, call
from ioto_tools.cloud.devices import messages
from ioto_tools.cloud.http.errors import Refusal

SPECIAL = (b"Authentication failed", b"Cannot find device")
PATHS = ("/device/register", "/tok/provision/update", "/tok/provision/updateReport")

MALFORMED = (
    b"", b" ", b"null", b"true", b"17", b'"text"', b"[]", b'[{"id": "D1"}]', b"{", b"}", b"{}}", b'{"id"}',
    b"{'id': 'D1'}", b'{"id": "D1"', b"\xff\xfe{}", b'{"id": "\xff"}', '{"id": "D1"}'.encode("utf-16"), b'{"id": NaN}',
    b'{"id": Infinity}', b'{"id": "D1", "x": 1e999}', b'{"id": "D1", "x": -1e999}', b'{"id": "D1", "x": 01}',
    b'{"id": "D1",,}', b"id=D1", b'{"id": "D1", "x": ' + b"9" * 5000 + b"}", b"[" * 16000, b'{"a":' * 3000,
    b"<html></html>", b'{"a": "' + b"x" * 20000,
)  # fmt: skip


def test_malformed_bodies(cloud):
    token = cloud.device()
    for path, body in itertools.product(PATHS, MALFORMED):
        bearer = PRODUCT if "register" in path else token
        reply = cloud.post(path, body, "bearer " + bearer)
        assert reply.status in (400, 413), (path, body[:40], reply.status)
        assert reply.json()["error"].startswith("body: "), (path, body[:40])


WRONG = (
    None,
    1,
    1.5,
    True,
    False,
    [],
    {},
    ["D1"],
    {"id": "D1"},
    "",
    " D1",
    "D1\n",
    "\x00",
    "\x1b[31m",
    "\ud800",
    "x" * 129,
)


def test_every_field_with_every_wrong_value(cloud):
    token = cloud.device()
    update = cloud.publish("2.0.0")["id"]
    good = {
        PATHS[0]: ({"id": "D2"}, ("id",)),
        PATHS[1]: ({"id": "D1", "version": "1.0.0", "product": PRODUCT}, ("id", "version", "product")),
        PATHS[2]: ({"id": "D1", "update": update, "success": True, "state": "staged", "attempt": 1, "version": "1.0.0"},
                   ("id", "update", "success", "state", "attempt", "version")),
    }  # fmt: skip
    optional = {"product", "state", "version", "attempt"}
    for path, (fields, names) in good.items():
        bearer = PRODUCT if "register" in path else token
        assert cloud.post(path, fields, bearer).status == 200
        for name, value in itertools.product(names, WRONG):
            if name == "success" and isinstance(value, bool) or name == "attempt" and value == 1 and value is not True:
                continue
            if name in optional and value in (None, "") and (name, path) != ("version", PATHS[1]) and name != "attempt":
                continue  # counts as a missing field
            reply = cloud.post(path, {**fields, name: value}, bearer)
            assert reply.status == 400 and reply.json()["error"].startswith(name + ": "), (
                path,
                name,
                value,
                reply.body,
            )
        for name in set(names) - optional | ({"version"} if path == PATHS[1] else set()):
            reply = cloud.post(path, {k: v for k, v in fields.items() if k != name}, bearer)
            assert reply.status == 400 and reply.json()["error"].startswith(name), (path, name)


def test_attempts_and_states():
    fields = {"id": "D1", "update": "U", "success": True}
    for attempt in range(-3, messages.ATTEMPTS + 5):
        for shown in (attempt, str(attempt)):
            try:
                assert messages.report({**fields, "attempt": shown}).attempt == attempt
                assert 0 <= attempt <= messages.ATTEMPTS
            except Refusal as e:
                assert e.status == 400 and not 0 <= attempt <= messages.ATTEMPTS, shown
    for state in messages.STATES:
        assert messages.report({**fields, "state": state}).state == state
        for invalid in (state.upper(), state + "x", state[:-1]):
            try:
                messages.report({**fields, "state": invalid})
                raise AssertionError(invalid)
            except Refusal as e:
                assert all(known in e.error for known in messages.STATES)


def test_success_without_state_means_confirmed_or_failed():
    for value, success in (
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("True", True),
        ("FALSE", False),
    ):
        report = messages.report({"id": "D1", "update": "U", "success": value})
        assert (report.success, report.state, report.attempt) == (success, "confirmed" if success else "failed", 0)


def test_a_long_or_unprintable_reason_is_truncated_or_replaced():
    fields = {"id": "D1", "update": "U", "success": False}
    assert messages.report({**fields, "reason": "x" * 999}).reason == "x" * messages.REASON_LENGTH
    assert messages.report({**fields, "reason": "a\x1b[2Jb\nc"}).reason == "a?[2Jb?c"
    assert messages.report({**fields, "reason": None}).reason == ""


def test_exact_body_limit(cloud):
    token = cloud.device()
    for over in (-1, 0, 1):
        body = b'{"id": "D1", "version": "1.0.0", "fill": ""}'
        body = body.replace(b'""', b'"%s"' % (b"x" * (messages.BODY_BYTES + over - len(body))))
        assert len(body) == messages.BODY_BYTES + over
        reply = cloud.post(PATHS[1], body, token)
        assert reply.status == (413 if over > 0 else 200), over


def test_an_endless_body_is_read_only_up_to_the_limit(cloud):
    def endless():
        for n in range(1000):
            read.append(n)
            yield b"x" * 1024

    read = []
    reply = call(cloud.app, "POST", PATHS[0], {"Authorization": PRODUCT}, pieces=endless())
    assert reply.status == 413 and len(read) == messages.BODY_BYTES // 1024 + 1


def test_body_in_pieces(cloud):
    body = json.dumps({"id": "D1", "name": "Grün"}, ensure_ascii=False).encode()
    for cut in range(len(body) + 1):
        reply = call(
            cloud.app, "POST", PATHS[0], {"Authorization": PRODUCT}, pieces=[p for p in (body[:cut], body[cut:]) if p]
        )
        assert reply.status == 200, cut


def test_depth_limit():
    for depth in range(1, 40):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            inner = depth - 1
            text = '{"x":' + opening * inner + "1" + closing * inner + "}"
            try:
                messages.parse_body(text.encode())
                assert depth <= messages.DEPTH, depth
            except Refusal as e:
                assert depth > messages.DEPTH and e.status == 400, depth


def test_trailing_comma_of_older_updaters():
    for text in ('{"id":"D1",}', '{"id":"D1",\n}\n', '{ "id" : "D1" , }  '):
        assert messages.parse_body(text.encode()) == {"id": "D1"}
    for text in ("{,}", '{"id":"D1",,}', '{"a":[1,],"id":"D1"}'):
        try:
            raise AssertionError(messages.parse_body(text.encode()))
        except Refusal:
            pass


def test_authorization_headers():
    for spelling in ("".join(s) for s in itertools.product(*((c, c.upper()) for c in "bearer"))):
        for space in (" ", "  ", "\t"):
            assert messages.bearer_token(spelling + space + "TOKEN-_=1") == "TOKEN-_=1"
    for bare in ("TOKEN", "  TOKEN ", "bearerTOKEN", "Bearer-", "a" * 512):
        assert messages.bearer_token(bare) == bare.strip()
    for header in (
        None,
        "",
        " ",
        "bearer",
        "BEARER ",
        "Basic dXNlcg== x",
        "bearer A B",
        "a" * 513,
        "bearer bearer TOKEN",
    ):
        try:
            raise AssertionError((header, messages.bearer_token(header)))
        except Refusal as e:
            assert e.status == 401 and e.error.encode() not in SPECIAL


def test_no_other_refusal_contains_the_special_texts(cloud):
    """Errors in headers, paths, methods and products must not make a device delete its token."""
    token = cloud.device()
    cloud.publish("1.0.0")
    fields = {"id": "D1", "version": "1.0.0", "update": "U", "success": True}
    replies = [cloud.post(path, body, header)
               for path in PATHS + ("/", "/tok/provision/updates", "/nothing")
               for header in (None, "", "bearer")
               for body in (fields, b"", b"[]", {})]  # fmt: skip
    replies += [cloud.post(PATHS[0], fields, header) for header in ("bearer NOPE", "NOPE", "bearer thermo", token)]
    replies += [
        call(cloud.app, method, path) for path in PATHS for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS")
    ]
    replies += [cloud.post(PATHS[1], {**fields, "product": "NOPE"}, token)]
    for reply in replies:
        assert reply.status in (400, 401, 403, 404, 405), reply.status
        assert not any(text in reply.body for text in SPECIAL), reply.body

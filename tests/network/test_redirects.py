"""Redirects: their targets, the headers that are sent along, and which redirects are refused."""

import pytest
from loopback import one, reason, run

TRANSPORTS = ("asyncio", "urequests")
HEADERS = {"Authorization": "bearer secret", "Range": "bytes=4-"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"


def redirect(location, status=302):
    return b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 3\r\n\r\nbye" % (status, location.encode())


def route(table):
    """An answer to each path in the table; 404 to all other paths."""

    def answer(conn, request):
        path = request.split(b" ")[1].decode()
        conn.sendall(table.get(path, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))

    return answer


def sent(request, name):
    for line in request.split(b"\r\n"):
        if line.lower().startswith(name.lower().encode() + b":"):
            return line.partition(b":")[2].strip().decode()
    return None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_redirects_to_the_same_host(serve_tls, transport):
    table = {"/a/there?x=1": OK}
    server = serve_tls(route(table))
    table.update(
        {
            "/a/%d" % i: redirect(location)
            for i, location in enumerate(
                (
                    server.url + "/a/there?x=1",
                    "/a/there?x=1",
                    "there?x=1",
                    "./b/../there?x=1#f",
                    "//127.0.0.1:%d/a/there?x=1" % server.port,
                )
            )
        }
    )
    for i in range(5):
        result = one("%s/a/%d" % (server.url, i), headers=HEADERS, transport=transport, **serve_tls.trust[transport])
        assert result.get("status") == 200 and bytes.fromhex(result["body"]) == b"here", (i, result)
    assert all(sent(r, "Authorization") == "bearer secret" and sent(r, "Range") == "bytes=4-" for r in server.requests)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_another_host_never_sees_the_token(serve_tls, transport):
    table = {"/there": OK}
    other = serve_tls(route(table))
    server = serve_tls(redirect(other.url + "/there"))
    result = one(server.url, headers=HEADERS, transport=transport, **serve_tls.trust[transport])
    assert result.get("status") == 200, result
    assert sent(server.requests[0], "Authorization") and sent(other.requests[0], "Authorization") is None
    assert sent(other.requests[0], "Range") == "bytes=4-"
    assert sent(other.requests[0], "Host") == "127.0.0.1:%d" % other.port
    # The token was removed at the first redirect; a redirect back to the first host does not add it again.
    server = serve_tls(redirect(other.url + "/back"))
    table["/back"] = redirect(server.url)
    assert (
        reason(one(server.url, headers=HEADERS, transport=transport, **serve_tls.trust[transport])) == "http_redirect"
    )
    assert [bool(sent(r, "Authorization")) for r in server.requests] == [True, False, False]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_plain_http_is_refused_unless_it_is_allowed_and_sees_no_token(serve, serve_tls, transport):
    server = serve(OK)
    assert reason(one(server.url, headers=HEADERS, transport=transport, plain=False)) == "tls_unverified"
    assert not server.requests
    assert one(server.url, headers=HEADERS, transport=transport).get("status") == 200
    assert sent(server.requests[0], "Authorization") is None and sent(server.requests[0], "Range") == "bytes=4-"
    up = serve(redirect(serve_tls(OK).url))  # from http to https: the token was not sent before, and is not sent now
    assert one(up.url, headers=HEADERS, transport=transport, **serve_tls.trust[transport]).get("status") == 200
    assert sent(up.requests[0], "Authorization") is None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_number_of_redirects_is_limited(serve, transport):
    for count, expected in ((5, None), (6, "http_redirect")):
        table = {"/%d" % i: redirect("/%d" % (i + 1)) for i in range(count)}
        table["/%d" % count] = OK
        server = serve(route(table))
        assert reason(one(server.url + "/0", transport=transport)) == expected
        assert len(server.requests) == 6
    assert reason(one(serve(redirect("/")).url, transport=transport)) == "http_redirect"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_invalid_locations_are_refused(serve, transport):
    locations = (
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://u:p@127.0.0.1/",
        "http://",
        "/a b",
        "http://127.0.0.1:0/",
        "mailto:x",
    )
    table = {"/%d" % i: redirect(location) for i, location in enumerate(locations)}
    table["/none"] = b"HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n\r\n"
    table["/twice"] = b"HTTP/1.1 302 Moved\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    table["/long"] = redirect("/" + "x" * 2100)
    table["/longer"] = redirect("/" + "x" * 3000)
    table["/bytes"] = b"HTTP/1.1 302 Moved\r\nLocation: /\xff\xfe\r\nContent-Length: 0\r\n\r\n"
    server = serve(route(table))
    cases = [{"url": server.url + path, "transport": transport} for path in table]
    results = run(cases)
    found = dict(zip(table, map(reason, results)))
    told = {path: result["error"][2] for path, result in zip(table, results) if path.startswith("/long")}
    assert "longer than 2048 characters" in told["/long"] and "longer than" in told["/longer"], told
    assert [found["/%d" % i] for i in range(len(locations))] == ["url_invalid"] * len(locations)
    assert found["/bytes"] == "http_malformed"
    if transport == "asyncio":
        assert (found["/none"], found["/twice"]) == ("http_redirect", "http_malformed")
    else:
        # `requests` does not report the status of a reply with a Location. Of several Locations, the first is used.
        assert found["/none"] == "http_redirect"
    assert len(server.requests) == len(cases) + (transport == "urequests")


@pytest.mark.parametrize("status", (301, 302, 303, 307, 308))
def test_method_and_body_after_a_redirected_post(serve, status):
    server = serve(route({"/": redirect("/there", status), "/there": OK}))
    result = one(server.url, method="POST", body="{}", headers=HEADERS)
    assert result.get("status") == 200, result
    method, length = server.requests[1].split(b" ")[0], sent(server.requests[1], "Content-Length")
    assert (method, length) == ((b"GET", None) if status == 303 else (b"POST", "2"))
    assert server.requests[1].endswith(b"\r\n\r\n" + (b"" if status == 303 else b"{}"))
    assert reason(one(server.url, method="POST", body="{}", transport="urequests")) == "http_redirect"


def test_other_replies_with_a_location(serve):
    for status in (200, 201, 300, 304, 305):
        server = serve(b"HTTP/1.1 %d X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n" % status)
        assert one(server.url).get("status") == status


def test_ipv6(serve):
    server = serve(OK, host="::1")
    result = one(server.url + "/x")
    assert result.get("status") == 200, result
    assert sent(server.requests[0], "Host") == "[::1]:%d" % server.port
    assert reason(one(server.url, transport="urequests")) == "url_invalid"
    plain = serve(redirect(server.url + "/y"))
    assert one(plain.url).get("status") == 200

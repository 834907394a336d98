"""Resolve redirects (RFC 9110, 15.4; 3986, 5.2). Pure."""

from .errors import UpdateError
from .http_parse import host_header, parse_url


def redirected(reply, here, method, headers, body):
    """Return (method, url, body) of the next request after the redirect `reply`.

    `here` is the URL of the request, from parse_url(). 303 changes the method to GET; other redirects keep method and
    body. Authorization is removed from `headers` if it must not be sent to the new host.
    """
    there = follow(here, reply.headers.get("location", ""))
    if not same_origin(here, there):
        headers.pop("Authorization", None)
    return ("GET", there, None) if reply.status == 303 else (method, there, body)


def follow(url, location):
    """Return the target of a redirect from `url` (from parse_url()); UpdateError http_redirect if it is not allowed."""
    there = location.partition("#")[0]
    found = None
    if there:
        here = "http%s://%s" % ("s" if url[0] else "", host_header(*url[:3]))
        if there[:2] == "//":
            there = here.partition("/")[0] + there
        elif ":" not in there.partition("/")[0].partition("?")[0]:
            if there[0] != "/":
                path = url[3].partition("?")[0]
                there = (path if there[0] == "?" else path[: path.rfind("/") + 1]) + there
            there = here + _undotted(there)
        found = parse_url(there)
    if not found or url[0] > found[0]:  # no target, or from https to http
        raise UpdateError("http_redirect", location[:60])
    return found


def _undotted(target):
    """Return the path without `.` and `..` (RFC 3986, 5.2.4)."""
    path, mark, query = target.partition("?")
    out = []
    for part in path[1:].split("/"):
        dots = part in (".", "..")
        if part == "..":
            out = out[:-1]
        elif not dots:
            out.append(part)
    return "/" + "/".join(out) + ("/" if dots and out else "") + mark + query


def same_origin(url, other):
    """May the Authorization for `url` be sent to `other`? Same scheme, host and port, or an upgrade to https."""
    return url[:3] == other[:3] or url[2] == 80 and other[:3] == (True, url[1], 443)

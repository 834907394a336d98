"""Where a redirect leads (RFC 9110, 15.4; 3986, 5.2). Pure."""

from .errors import UpdateError
from .http_parse import host_header, parse_url


def redirected(reply, here, method, headers, body):
    """(method, url, body) of the request that follows from `reply` to the one for `here`, a url as of parse_url().

    303 asks again with GET, every other redirect with the same method and body. Authorization leaves `headers` unless it is meant for
    that host too.
    """
    there = follow(here, reply.headers.get("location", ""))
    if not same_origin(here, there):
        headers.pop("Authorization", None)
    return ("GET", there, None) if reply.status == 303 else (method, there, body)


def follow(url, location):
    """Where a redirect from `url` (as of parse_url) leads; UpdateError http_redirect where we do not go."""
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
    if not found or url[0] > found[0]:  # nowhere, or from https to http
        raise UpdateError("http_redirect", location[:60])
    return found


def _undotted(target):
    """The path without its `.` and `..` (RFC 3986, 5.2.4)."""
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
    """May `other` have the Authorization that was meant for `url`? Same scheme, host and port, or the step up to https."""
    return url[:3] == other[:3] or url[2] == 80 and other[:3] == (True, url[1], 443)

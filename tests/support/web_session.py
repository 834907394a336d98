"""An operator's session without a server: sign-in, pages, and forms as a browser sends them."""

import hashlib
import html
import json
import re
from urllib.parse import urlencode

from cloud_under_test import call
from ioto_tools.cloud.storage.tables import operators

TOKEN = "token-of-%s"
REFUSED = (400, 404, 409)
_TYPE = "application/x-www-form-urlencoded"


def add_operator(site, name, scope="admin", expires_s=None, products=None):
    """Add an operator; return the token. `products`: ids."""
    token = TOKEN % name
    row = {
        "hash": hashlib.sha256(token.encode()).hexdigest(),
        "name": name,
        "scope": scope,
        "created_s": 1,
        "expires_s": expires_s,
        "products": products and json.dumps(products),
    }
    site.database.write(_insert, row)
    return token


def _insert(conn, row):
    conn.execute(operators.insert().values(row))


class Session:
    """Requests to the page with the cookie of a session, like those of a browser."""

    def __init__(self, cloud, name="jo", scope="admin", products=None):
        self.cloud = cloud
        self.cookie = None
        self.sign_in(add_operator(cloud.site, name, scope, products=products))

    def sign_in(self, token):
        reply = self.send("sign-in", {"token": token})
        self.cookie = reply.headers["set-cookie"].split(";")[0] if reply.status == 303 else None
        return reply

    def get(self, page, **headers):
        return call(self.cloud.app, "GET", "/web/" + page, {"cookie": self.cookie or "", **headers})

    def form_token(self, page="."):
        return re.search(r'name="form" value="(\w+)"', self.get("" if page == "." else page).body.decode())[1]

    def post(self, page, fields, **headers):
        """Send a form of the session."""
        return self.send(page, {"form": self.form_token(), **fields}, **headers)

    def send(self, page, fields, **headers):
        """Send any form; a header that is None is omitted."""
        body = urlencode(fields).encode()
        sent = {
            "origin": "http://cloud.test:8080",
            "sec-fetch-site": "same-origin",
            "content-type": _TYPE,
            "cookie": self.cookie,
            "content-length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return call(
            self.cloud.app,
            "POST",
            "/web/" + page,
            {name: value for name, value in sent.items() if value is not None},
            body,
        )


def multipart(fields, image=None, name="i.bin"):
    """(body, content type) of a form with a file, as a browser sends it."""
    edge = "edge"
    parts = [
        '--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (edge, *each) for each in fields.items()
    ]
    body = "".join(parts).encode()
    if image is not None:
        body += (
            ('--%s\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n' % (edge, name)).encode()
            + image
            + b"\r\n"
        )
    return body + ("--%s--\r\n" % edge).encode(), "multipart/form-data; boundary=" + edge


def text(reply):
    """The visible text of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", reply.body.decode())).split())


def problem(reply):
    return html.unescape(re.search(r'class="problem"[^>]*>(.*?)</p>', reply.body.decode(), re.S)[1])

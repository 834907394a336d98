"""Sessions of the web page: sign-in with an operator's token sets a random cookie, valid for half a day.

The session also ends when the token is revoked or expires. The cookie is HttpOnly and SameSite=Strict. For a change,
the browser must also name a page of this site as the origin of the request, and the form must contain a token derived
from the session, which no other site can read.
"""

import base64
import hashlib
import hmac
from urllib.parse import urlsplit

import sqlalchemy as sa
from starlette.datastructures import Headers

from ..http.errors import Refusal
from ..operators.operator_tokens import Operator, operator
from ..site.site import Site
from ..storage.tables import operators, sessions

COOKIE = "ioto_session"
SESSION_S = 12 * 3600
_SESSION_BYTES = 30


def start(site: Site, token: str) -> str | None:
    """Start a session with an operator's token; return its secret, or None if the token is invalid."""
    secret = base64.urlsafe_b64encode(site.random_bytes(_SESSION_BYTES)).decode()
    return secret if site.database.write(_start, _hash(token), _hash(secret), site.now_s()) else None


def _start(conn: sa.Connection, token: str, session: str, now_s: int) -> bool:
    if _named(conn, operators.c.hash == token, now_s) is None:
        return False
    conn.execute(sessions.delete().where(sessions.c.expires_s <= now_s))
    conn.execute(sessions.insert().values(hash=session, operator=token, expires_s=now_s + SESSION_S))
    return True


def operator_of(site: Site, secret: str | None) -> Operator | None:
    """The Operator of the session, or None."""
    return site.database.read(_operator, _hash(secret), site.now_s()) if secret else None


def _operator(conn: sa.Connection, session: str, now_s: int) -> Operator | None:
    open_yet = sa.and_(sessions.c.hash == session, sessions.c.expires_s > now_s)
    return _named(conn, operators.c.hash == sa.select(sessions.c.operator).where(open_yet).scalar_subquery(), now_s)


def _named(conn: sa.Connection, which: sa.ColumnElement[bool], now_s: int) -> Operator | None:
    good = sa.or_(operators.c.expires_s.is_(None), operators.c.expires_s > now_s)
    row = conn.execute(sa.select(operators).where(which, good)).mappings().first()
    return operator(row) if row else None


def end_session(site: Site, secret: str) -> None:
    site.database.write(_end, _hash(secret))


def _end(conn: sa.Connection, session: str) -> None:
    conn.execute(sessions.delete().where(sessions.c.hash == session))


def form_token(secret: str) -> str:
    """The token that every form of the session contains."""
    return _hash("form\n" + secret)


def check_origin(headers: Headers, public_url: str | None = None) -> None:
    """Raise Refusal 403 unless, according to the browser, the request is from a page of this site.

    `public_url`: the cloud's address for browsers; a proxy in front may send a different Host.
    """
    site = headers.get("sec-fetch-site")
    if site is None:  # browsers do not send it over plain HTTP
        origin = _host(headers.get("origin", ""))
        site = "same-origin" if origin and origin in (headers.get("host"), _host(public_url or "")) else "unknown"
    if site != "same-origin":
        raise Refusal(
            403, "this request did not come from a page of this cloud: open the page again and repeat the change"
        )


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # such as http://[::1
        return ""


def check_form(secret: str, token: str) -> None:
    """Raise Refusal 403 unless the form is from this session."""
    if not hmac.compare_digest(form_token(secret).encode(), token.encode()):
        raise Refusal(403, "this form is from an earlier session: reload the page and repeat the change")


def _hash(secret: str) -> str:
    # The secrets are random, so a plain hash cannot be inverted.
    return hashlib.sha256(secret.encode()).hexdigest()

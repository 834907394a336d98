"""Tokens of operators and their programs, each with one scope and an optional expiry.

A token is shown once and stored as SHA-256. It is valid for the operators' API only, not for device requests. The
command line needs no token: it uses the site's folder.
"""

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..devices import tokens
from ..http.errors import CloudError, Conflict, Missing, Refusal
from ..storage import audit
from ..storage.tables import Row, operators

if TYPE_CHECKING:
    from ..site.site import Site

SCOPES = ("read", "publish", "admin")  # each includes the scopes before it
PREFIX = "ioto_"  # makes leaked tokens easy to find
NAME = "[A-Za-z0-9._-]{1,64}"


def new(site: "Site", name: str, scope: str, lifetime_s: int | None = None) -> Row:
    """Create a token; return {name, scope, created_s, expires_s, token}.

    CloudError if the name is invalid or in use, or the scope is unknown.
    """
    if not re.fullmatch(NAME, name):
        raise CloudError("token %s: expected: a name of 1 to 64 letters, digits, . _ -" % name)
    if scope not in SCOPES:
        raise CloudError("scope %s: expected: %s" % (scope, ", ".join(SCOPES)))
    token = PREFIX + tokens.new_token(site.random_bytes)
    now_s = site.now_s()
    row = {"name": name, "scope": scope, "created_s": now_s, "expires_s": lifetime_s and now_s + lifetime_s}
    site.database.write(_new, {**row, "hash": tokens.hash_token(token)}, site.who)
    return {**row, "token": token}


def _new(conn: sa.Connection, row: Row, who: str) -> None:
    if conn.execute(sa.select(operators.c.name).where(operators.c.name == row["name"])).first():
        raise Conflict(
            "token %s: this name is in use: revoke it with `ioto token revoke`, or choose another" % row["name"]
        )
    conn.execute(operators.insert().values(row))
    audit.note(conn, row["created_s"], who, "token.new", row["name"], scope=row["scope"])


def listed(site: "Site") -> list[Row]:
    """[{name, scope, created_s, expires_s}] by name."""
    return site.database.read(_listed)


def _listed(conn: sa.Connection) -> list[Row]:
    columns = operators.c.name, operators.c.scope, operators.c.created_s, operators.c.expires_s
    return [dict(row) for row in conn.execute(sa.select(*columns).order_by(operators.c.name)).mappings()]


def revoke(site: "Site", name: str) -> None:
    """Revoke the token at once. Raises Missing if there is none."""
    site.database.write(_revoke, name, site.now_s(), site.who)


def _revoke(conn: sa.Connection, name: str, now_s: int, who: str) -> None:
    if not conn.execute(operators.delete().where(operators.c.name == name)).rowcount:
        raise Missing("token %s: not found; `ioto token list` lists the tokens" % name)
    audit.note(conn, now_s, who, "token.revoked", name)


def authorize(conn: sa.Connection, token: str, scope: str, now_s: int) -> tuple[str, str]:
    """(name, scope) of the token's operator, if its scope includes `scope`. Raises Refusal 401 or 403."""
    found = conn.execute(sa.select(operators).where(operators.c.hash == tokens.hash_token(token))).mappings().first()
    if found is None:
        raise Refusal(401, "token: unknown or revoked: `ioto token new` creates one")
    if found["expires_s"] is not None and found["expires_s"] <= now_s:
        raise Refusal(401, "token: the token of %s has expired: `ioto token new` creates another" % found["name"])
    if SCOPES.index(found["scope"]) < SCOPES.index(scope):
        raise Refusal(
            403,
            "token: the token of %s has the scope %s; this request needs the scope %s"
            % (found["name"], found["scope"], scope),
        )
    return found["name"], found["scope"]

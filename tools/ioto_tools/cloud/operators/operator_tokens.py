"""Tokens of operators and their programs, each with one scope, an optional expiry, and an optional list of products.

A token that is limited to products shows and changes only these; it can't be used for what concerns the whole site.

A token is shown once and stored as SHA-256. It is valid for the operators' API only, not for device requests. The
command line needs no token: it uses the site's folder.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..devices import tokens
from ..http.errors import CloudError, Conflict, Missing, Refusal
from ..storage import audit, queries
from ..storage.tables import AnyRow, Row, operators
from . import overview

if TYPE_CHECKING:
    from ..site.site import Site

SCOPES = ("read", "publish", "admin")  # each includes the scopes before it
PREFIX = "ioto_"  # makes leaked tokens easy to find
NAME = "[A-Za-z0-9._-]{1,64}"


def includes(scope: str, needed: str) -> bool:
    """Does `scope` include the scope `needed`?"""
    return SCOPES.index(scope) >= SCOPES.index(needed)


@dataclass(frozen=True)
class Operator:
    """The owner of a valid token. `products`: the ids of the only products that it shows and changes; None: all."""

    name: str
    scope: str
    products: frozenset[str] | None = None

    def has_scope(self, scope: str) -> bool:
        return includes(self.scope, scope)

    def check_unlimited(self) -> None:
        """Raise Refusal 403 if the token is limited to products."""
        if self.products is not None:
            raise Refusal(403, "this concerns the whole site: the token of %s is limited to some products" % self.name)


def operator(row: AnyRow) -> Operator:
    """The Operator of a row of the table."""
    products = row["products"] and frozenset(json.loads(row["products"]))
    return Operator(row["name"], row["scope"], products)


def new(
    site: "Site", name: str, scope: str, lifetime_s: int | None = None, products: Sequence[str] | None = None
) -> Row:
    """Create a token; return {name, scope, created_s, expires_s, products, token}.

    `products`: names or ids of the only products that it shows and changes; None: all. CloudError if the name is
    invalid or in use, the scope is unknown, or a product does not exist.
    """
    if products is not None and not products:
        raise CloudError("products: expected: at least one product")
    if not re.fullmatch(NAME, name):
        raise CloudError("token %s: expected: a name of 1 to 64 letters, digits, . _ -" % name)
    if scope not in SCOPES:
        raise CloudError("scope %s: expected: %s" % (scope, ", ".join(SCOPES)))
    token = PREFIX + tokens.new_token(site.random_bytes)
    now_s = site.now_s()
    row = {"name": name, "scope": scope, "created_s": now_s, "expires_s": lifetime_s and now_s + lifetime_s}
    names = site.database.write(_new, {**row, "hash": tokens.hash_token(token)}, products, site.who)
    return {**row, "products": names, "token": token}


def _new(conn: sa.Connection, row: Row, products: Sequence[str] | None, who: str) -> list[str] | None:
    """Add the row; return the names of its products."""
    if conn.execute(sa.select(operators.c.name).where(operators.c.name == row["name"])).first():
        raise Conflict(
            "token %s: this name is in use: revoke it with `ioto token revoke`, or choose another" % row["name"]
        )
    found = None if products is None else [overview.find_product(conn, word) for word in products]
    ids = found and json.dumps(sorted({each["id"] for each in found}))
    conn.execute(operators.insert().values(**row, products=ids))
    names = sorted({each["name"] for each in found}) if found else None
    limit = {"products": names} if names else {}
    audit.note(conn, row["created_s"], who, "token.new", row["name"], scope=row["scope"], **limit)
    return names


def listed(site: "Site") -> list[Row]:
    """[{name, scope, created_s, expires_s, products}] by name; `products`: names, or None for all products."""
    return site.database.read(_listed)


def _listed(conn: sa.Connection) -> list[Row]:
    names = {each["id"]: each["name"] for each in queries.product_names(conn)}
    rows = conn.execute(sa.select(operators).order_by(operators.c.name)).mappings().all()
    return [
        {
            **{column: row[column] for column in ("name", "scope", "created_s", "expires_s")},
            "products": row["products"] and sorted(names.get(id, id) for id in json.loads(row["products"])),
        }
        for row in rows
    ]


def revoke(site: "Site", name: str) -> None:
    """Revoke the token at once. Raises Missing if there is none."""
    site.database.write(_revoke, name, site.now_s(), site.who)


def _revoke(conn: sa.Connection, name: str, now_s: int, who: str) -> None:
    if not conn.execute(operators.delete().where(operators.c.name == name)).rowcount:
        raise Missing("token %s: not found; `ioto token list` lists the tokens" % name)
    audit.note(conn, now_s, who, "token.revoked", name)


def authorize(conn: sa.Connection, token: str, scope: str, now_s: int) -> Operator:
    """The token's operator, if its scope includes `scope`. Raises Refusal 401 or 403."""
    found = conn.execute(sa.select(operators).where(operators.c.hash == tokens.hash_token(token))).mappings().first()
    if found is None:
        raise Refusal(401, "token: unknown or revoked: `ioto token new` creates one")
    if found["expires_s"] is not None and found["expires_s"] <= now_s:
        raise Refusal(401, "token: the token of %s has expired: `ioto token new` creates another" % found["name"])
    if not includes(found["scope"], scope):
        raise Refusal(
            403,
            "token: the token of %s has the scope %s; this request needs the scope %s"
            % (found["name"], found["scope"], scope),
        )
    return operator(found)

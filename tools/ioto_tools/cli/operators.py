"""`ioto token`, `ioto audit`: thin wrappers around ioto_tools.cloud."""

import json as json_module
from typing import Any

import click

from .options import Duration, data_option, json_option
from .output import ago, print_json, print_table
from .printable import printable
from .site import open_site

SCOPES = ("read", "publish", "admin")


@click.group()
def token() -> None:
    """Manage the tokens with which programs and people use the HTTP API."""


@token.command("new")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="read",
    show_default=True,
    help="What the token allows; each scope includes the ones before it.",
)
@click.option(
    "--expires",
    type=Duration(),
    help="Lifetime, such as 90d or `30 days`; by default, the token is valid until it is revoked.",
)
@click.option(
    "--product",
    "products",
    multiple=True,
    metavar="PRODUCT",
    help="Limit the token to this product (name or id); may be repeated. By default, it is for the whole site.",
)
@data_option
@json_option
def token_new(name: str, scope: str, expires: int | None, products: tuple[str, ...], data: str, json: bool) -> None:
    """Create a token for NAME, a person or a program, and print it once: it is not stored.

    read allows reading everything except secrets; publish also allows publishing and changing releases; admin
    allows everything.

    With --product, the token shows and changes only these products, their releases and their devices, and nothing
    that concerns the whole site, such as groups, webhooks, tokens and metrics.
    """
    from ioto_tools.cloud.operators import operator_tokens

    with open_site(data) as site:
        made = operator_tokens.new(site, name, scope, expires, products or None)
    if json:
        print_json(made)
    else:
        limit = " of %s" % printable(", ".join(made["products"])) if made["products"] else ""
        click.echo("token of %s, for %s%s: %s" % (name, scope, limit, made["token"]))


@token.command("list")
@data_option
@json_option
def token_list(data: str, json: bool) -> None:
    """List the tokens: name, scope and expiry. The tokens themselves are not stored."""
    from ioto_tools.cloud.operators import operator_tokens

    with open_site(data) as site:
        found = operator_tokens.listed(site)
        now_s = site.now_s()
    if json:
        print_json(found)
        return
    rows = [
        (
            each["name"],
            each["scope"],
            ", ".join(each["products"] or ["all"]),
            ago(each["created_s"]),
            _format_expiry(each["expires_s"], now_s),
        )
        for each in found
    ]
    print_table("Tokens", ("name", "scope", "products", "created", "expires"), rows)


def _format_expiry(expires_s: int | None, now_s: int) -> str:
    if expires_s is None:
        return "never"
    return "in %d h" % ((expires_s - now_s) // 3600) if expires_s > now_s else "has expired"


@token.command("revoke")
@click.argument("name")
@data_option
def token_revoke(name: str, data: str) -> None:
    """Revoke the token of NAME immediately."""
    from ioto_tools.cloud.operators import operator_tokens

    with open_site(data) as site:
        operator_tokens.revoke(site, name)
    click.echo("token of %s is revoked" % name)


@click.command()
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 100000),
    help="Number of entries, newest first.",
)
@click.option(
    "--subject", metavar="ID", help="Only entries about this device, product, update or token (its id or name)."
)
@data_option
@json_option
def audit(limit: int, subject: str | None, data: str, json: bool) -> None:
    """Show who did what, and when: the actions of operators and of the cloud itself."""
    from ioto_tools.cloud.storage import audit as audits

    with open_site(data) as site:
        found = site.database.read(audits.newest, limit, subject)
    if json:
        print_json(found)
        return
    rows = [
        (ago(row["at_s"]), row["who"], row["action"], row["subject"], _format_detail(row["detail"])) for row in found
    ]
    print_table("Audit", ("when", "who", "did", "to", "detail"), rows)


def _format_detail(detail: dict[str, Any]) -> str:
    return (
        ", ".join(
            "%s %s" % (name, value if isinstance(value, str) else json_module.dumps(value))
            for name, value in detail.items()
        )
        or "-"
    )

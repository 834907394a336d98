"""`ioto cloud nginx`, `ioto cloud link-key`: thin, over ioto_tools.cloud."""

import click

from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.http.nginx import config

from .site import data_option, open_site


@click.command()
@click.argument("server_name", metavar="NAME")
@click.option("--certificate", metavar="FILE", required=True, help="PEM file with the chain that devices see.")
@click.option("--key", metavar="FILE", required=True, help="PEM file of its private key.")
@click.option("--listen", default="443", show_default=True, metavar="[HOST:]PORT", help="Where nginx listens.")
@click.option(
    "--upstream",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where `ioto cloud serve` listens.",
)
@data_option
def nginx(server_name: str, certificate: str, key: str, listen: str, upstream: str, data: str) -> None:
    """Print the configuration for nginx in front of this cloud, which devices reach as NAME.

    nginx ends TLS and sends the images itself, straight from the folder --data, which its user must be able to read.
    """
    try:
        click.echo(config(server_name, certificate, key, data, listen, upstream), nl=False)
    except CloudError as e:
        raise click.ClickException(str(e)) from e


@click.command("link-key")
@click.option("--revoke", is_flag=True, help="End every link that was given out before.")
@data_option
def link_key(revoke: bool, data: str) -> None:
    """Sign the links to images with a new key from now on.

    That happens by itself every 90 days, and links under way hold until they expire. With --revoke they end within a
    minute: a device that is downloading is refused, checks in again and goes on from where it was.
    """
    with open_site(data) as site:
        site.links.rotate(site.who, revoke)
    click.echo("links are signed with a new key%s" % ("; earlier links no longer work" if revoke else ""))

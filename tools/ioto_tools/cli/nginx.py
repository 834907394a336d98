"""`ioto cloud nginx`, `ioto cloud link-key`: thin wrappers around ioto_tools.cloud."""

import click

from ioto_tools.cloud.hosting.nginx import nginx_configuration
from ioto_tools.cloud.http.errors import CloudError

from .options import data_option
from .site import open_site


@click.command()
@click.argument("server_name", metavar="NAME")
@click.option("--certificate", metavar="FILE", required=True, help="PEM file with the certificate chain for devices.")
@click.option("--key", metavar="FILE", required=True, help="PEM file of the private key of --certificate.")
@click.option(
    "--listen", default="443", show_default=True, metavar="[HOST:]PORT", help="Address on which nginx listens."
)
@click.option(
    "--upstream",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Address on which `ioto cloud serve` listens.",
)
@data_option
def nginx(server_name: str, certificate: str, key: str, listen: str, upstream: str, data: str) -> None:
    """Print an nginx configuration for a proxy in front of this cloud. Devices reach it as NAME.

    nginx terminates TLS and sends the images itself, directly from the folder --data. The user that runs nginx
    must be able to read this folder.
    """
    try:
        click.echo(nginx_configuration(server_name, certificate, key, data, listen, upstream), nl=False)
    except CloudError as e:
        raise click.ClickException(str(e)) from e


@click.command("link-key")
@click.option("--revoke", is_flag=True, help="Invalidate all earlier links.")
@data_option
def link_key(revoke: bool, data: str) -> None:
    """Sign the links to images with a new key from now on.

    This happens automatically every 90 days; existing links stay valid until they expire. With --revoke, they
    become invalid within a minute. A device that is downloading then checks in again and resumes its download
    with a new link.
    """
    with open_site(data) as site:
        site.links.rotate(site.who, revoke)
    click.echo("links are signed with a new key%s" % ("; earlier links no longer work" if revoke else ""))

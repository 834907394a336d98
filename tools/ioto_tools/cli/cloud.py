"""`ioto cloud` with its subcommands, and `ioto cloud certificate`."""

import click

from ioto_tools.cloud.http.errors import CloudError

from .backup import backup, migrate, restore
from .nginx import link_key, nginx
from .options import RenamedOption
from .serve import serve
from .systemd import unit


@click.group()
def cloud() -> None:
    """Run and maintain the device cloud."""


for command in (serve, nginx, unit, link_key, migrate, backup, restore):
    cloud.add_command(command)


@cloud.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--output",
    "out",
    cls=RenamedOption,
    was="--out",
    default="tls",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder for the files.",
)
def certificate(names: tuple[str, ...], out: str) -> None:
    """Create your own certificate authority, and a certificate for the server that boards reach as NAME.

    NAME is a host name or an IP address. Use this for a site without a public name. If the folder already contains
    an authority, it is kept, so boards that trust it keep working.

    The chain is as short as possible: a stock ESP32 without PSRAM can verify it beside an application with 40 KB
    of data. The chain of a public authority (an RSA-4096 root and one intermediate, as Let's Encrypt's) fits
    beside 20 KB. If the application is larger, the agent restarts the board without it to check in and update (see
    update.alone). Put the root of a public authority into tls.ca, never the server's own certificate or an
    intermediate. docs/network.md, "Certificates that fit", lists what each chain needs.
    """
    from ioto_tools.cloud.site import certificates

    try:
        certificates.make(out, names)
    except CloudError as e:
        raise click.ClickException(str(e)) from e
    click.echo('%s/ca.pem      copy it to the boards: "tls": {"ca": "ca.pem"} in ioto.json' % out)
    click.echo(
        "%s/server.pem  and server.key: ioto cloud serve --certificate %s/server.pem --key %s/server.key"
        % (out, out, out)
    )
    click.echo("%s/ca.key      issues the next certificate: keep it private" % out)
    click.echo(
        "A stock ESP32 without PSRAM verifies this chain beside an application with 40 KB of data, and the chain "
        "of a public authority beside 20 KB."
    )

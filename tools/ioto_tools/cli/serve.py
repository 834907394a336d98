"""`ioto cloud serve`: a thin wrapper around ioto_tools.cloud.app and ioto_tools.cloud.http.server."""

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.site import settings
from ioto_tools.cloud.site.site import DATABASE, exposed

from .options import Duration, RenamedOption, data_option, json_option
from .output import pluralize, print_json


@click.command()
@data_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for boards on your network."
)
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 selects a free port.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="URL of this cloud for devices, such as https://updates.example.com; needed behind a proxy.",
)
@click.option(
    "--certificate",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="PEM file of the certificate to serve TLS with; `ioto cloud certificate` creates one.",
)
@click.option(
    "--key", metavar="FILE", type=click.Path(dir_okay=False), help="PEM file of the private key of --certificate."
)
@click.option(
    "--link-lifetime",
    default="24 hrs",
    show_default=True,
    type=Duration(),
    help="How long a link to an image is valid.",
)
@click.option(
    "--register-again",
    default="3 days",
    show_default=True,
    type=Duration(),
    help="Time without requests after which a registered device may register again.",
)
@click.option(
    "--lost-after",
    default="24 hrs",
    show_default=True,
    type=Duration(),
    help="Time without requests after which a device with an offered update counts as lost; increase it for "
    "devices that check in rarely.",
)
@click.option(
    "--requests-per-minute",
    "rate",
    cls=RenamedOption,
    was="--rate",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Requests per minute that a device may make; 0: no limit.",
)
@click.option(
    "--registrations-per-hour",
    "new_devices",
    cls=RenamedOption,
    was="--new-devices",
    default=600,
    show_default=True,
    type=click.IntRange(0),
    help="Devices of a product that may register for the first time per hour; 0: no limit.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Number of server processes, for example one for each processor core.",
)
@click.option(
    "--connections",
    default=4000,
    show_default=True,
    type=click.IntRange(1),
    help="Maximum number of connections of one worker; a further one replaces the one that is idle longest.",
)
@click.option(
    "--connections-per-address",
    "per_address",
    cls=RenamedOption,
    was="--per-address",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Maximum number of connections from one address; this does not limit a proxy on this machine.",
)
@click.option(
    "--no-packing",
    is_flag=True,
    help="Make no packed files of new releases; leave this to other servers of the site.",
)
@click.option("--access-log", is_flag=True, help="Log each response to standard error.")
@click.option(
    "--log-format",
    default="text",
    show_default=True,
    type=click.Choice(["text", "json"]),
    help="Format of the log; json: one object per line, for programs that collect logs.",
)
@json_option
def serve(
    data: str,
    host: str,
    port: int,
    public_url: str | None,
    certificate: str | None,
    key: str | None,
    link_lifetime: int,
    register_again: int,
    lost_after: int,
    rate: int,
    new_devices: int,
    workers: int,
    connections: int,
    per_address: int,
    no_packing: bool,
    access_log: bool,
    log_format: str,
    json: bool,
) -> None:
    """Serve devices until Ctrl-C: registration, check-ins, reports, images.

    The first start creates the folder --data. Publish into it from another terminal while the server runs.
    """
    from ioto_tools.cloud.app import create_app  # only this command needs a web server
    from ioto_tools.cloud.http.server import Options
    from ioto_tools.cloud.http.server import serve as run
    from ioto_tools.cloud.packing.service import Service

    if bool(certificate) != bool(key):
        raise click.UsageError("--certificate and --key must be given together")

    warnings = [*exposed(Path(data)), *_unsafe(host, bool(certificate), public_url, rate, new_devices)]
    for each in warnings:
        click.echo("Warning: " + each, err=True)

    def ready(port: int) -> None:
        address = "http%s://%s:%d" % ("s" if key else "", "[%s]" % host if ":" in host else host, port)
        if json:
            found = {"address": address, "page": address + "/web/", "data": str(data), "public_url": public_url}
            print_json({**found, **_storage(data), "workers": workers, "warnings": warnings})
        else:
            _print_ready(address, data, workers, connections)
        sys.stdout.flush()
        if not no_packing:
            service.start()

    try:
        make_app = partial(
            create_app,
            data,
            public_url,
            link_lifetime_s=link_lifetime,
            quiet_s=register_again,
            lost_after_s=lost_after,
            rate=rate,
            new_per_hour=new_devices,
        )
        options = Options(certificate, key, connections, per_address, access_log, log_format == "json")
        with Service(data, _said, options.json_log) as service:
            run(make_app, host, port, ready, options, workers, _said)
    except (CloudError, Unavailable) as e:
        raise click.ClickException(str(e)) from e


def _said(text: str) -> None:
    click.echo(text, err=True)


def _print_ready(address: str, data: str, workers: int, connections: int) -> None:
    click.echo("device cloud at %s, web page at %s/web/, data in %s (Ctrl-C stops it)" % (address, address, data))
    for name, where in _storage(data).items():
        click.echo("  %s: %s" % (name, where))
    click.echo("  %s of up to %d connections" % (pluralize(workers, "worker"), connections))


def _storage(data: str) -> dict[str, str]:
    """Where the site keeps its data, without passwords."""
    found = settings.load(Path(data))
    database, images = found["database"], found["images"]
    if database:
        from sqlalchemy import make_url

        database = make_url(database).render_as_string(hide_password=True)
    store = "bucket %s at %s" % (images.get("bucket"), images.get("endpoint") or "Amazon S3") if images else None
    return {
        "database": database or "SQLite, %s" % (Path(data) / DATABASE),
        "images": store or str(Path(data) / "images"),
    }


def _unsafe(host: str, has_tls: bool, public_url: str | None, rate: int, new_devices: int) -> Iterator[str]:
    """Yield a sentence for each weakness that an attacker on the network could use.

    On a loopback address, only the public URL is checked, because a proxy in front is expected.
    """
    if public_url and not public_url.startswith("https:"):
        yield "--public-url %s is plain HTTP: devices send their tokens where others can read them" % public_url
    if host in ("localhost", "::1") or host.startswith("127."):
        return
    if not has_tls and not public_url:
        yield (
            "plain HTTP on %s: tokens of devices and operators can be read on the network: give --certificate and "
            "--key, or listen on 127.0.0.1 behind nginx (`ioto cloud nginx`)" % host
        )
    if not rate:
        yield "--requests-per-minute 0: a single device can keep the server busy"
    if not new_devices:
        yield (
            "--registrations-per-hour 0: anyone with the id of a product, which each board contains, can register "
            "any number of devices"
        )
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield "running as root: use a separate user (`ioto cloud unit` prints a systemd unit)"

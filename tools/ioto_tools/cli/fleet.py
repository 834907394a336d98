"""`ioto fleet run`: a thin wrapper around ioto_tools.fleet."""

from __future__ import annotations

import asyncio
import json as json_module
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ioto_tools.cloud.http.addresses import is_http_url

from .options import Duration, RenamedOption, json_option
from .output import print_json, print_table

if TYPE_CHECKING:
    from ioto_tools.fleet.settings import Settings


class Property(click.ParamType):
    """Converts NAME=VALUE,VALUE to (name, [values]). A value that is valid JSON, such as 256 or true, is parsed."""

    name = "name=value,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, list[Any]]:
        name, equals, values = value.partition("=")
        if not name or not values:
            self.fail("%s: expected: NAME=VALUE or NAME=VALUE,VALUE" % value, param, ctx)
        return name, [_parse_value(each) for each in values.split(",")]


def _parse_value(text: str) -> Any:
    try:
        return json_module.loads(text)
    except ValueError:
        return text


SHARE = click.FloatRange(0, 1)


@click.group()
def fleet() -> None:
    """Simulate a fleet of devices."""


@fleet.command()
@click.argument("url")
@click.option("--product", required=True, metavar="ID", help="Id of the product that the devices register with.")
@click.option(
    "--devices", default=100, show_default=True, type=click.IntRange(1, (1 << 20) - 1), help="Number of devices."
)
@click.option(
    "--duration", "seconds", default="1 min", show_default=True, type=Duration(), help="How long to simulate."
)
@click.option(
    "--period", default="10 secs", show_default=True, type=Duration(), help="Time between two check-ins of a device."
)
@click.option("--jitter", default="0", type=Duration(), help="Maximum random delay of each check-in.")
@click.option(
    "--version", default="1.0.0", show_default=True, metavar="SEMVER", help="Version that the devices run at first."
)
@click.option(
    "--property",
    "properties",
    multiple=True,
    type=Property(),
    help="Property of the devices; each device has one of the values. May be repeated.",
)
@click.option("--prefix", default="SIM", show_default=True, help="Prefix of the devices' ids.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Random seed; the same seed gives the same devices with the same outcomes.",
)
@click.option(
    "--download",
    default="head",
    show_default=True,
    type=click.Choice(("none", "head", "whole")),
    help="How much of an image to download.",
)
@click.option(
    "--image",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Image that the devices run at first, without signature: they then accept packed files, and unpack them.",
)
@click.option(
    "--apply",
    default="5 secs",
    show_default=True,
    type=Duration(),
    help="Maximum wait before a staged update is applied.",
)
@click.option(
    "--crash", default=0.0, type=SHARE, help="Share of devices whose new image is rolled back at each attempt."
)
@click.option("--fail", default=0.0, type=SHARE, help="Share of devices that find the image's signature invalid.")
@click.option("--refuse", default=0.0, type=SHARE, help="Share of devices that refuse the offer.")
@click.option(
    "--lose", default=0.0, type=SHARE, help="Share of devices that apply the update and are never heard from again."
)
@click.option(
    "--revert",
    default=0.0,
    type=SHARE,
    help="Share of devices that confirm the update and later run the old version again.",
)
@click.option("--defer", default=0.0, type=SHARE, help="Share of devices that defer the update twice.")
@click.option("--mute", default=0.0, type=SHARE, help="Share of devices that never report.")
@click.option(
    "--duplicate-reports",
    "repeats",
    cls=RenamedOption,
    was="--repeats",
    default=0.0,
    type=SHARE,
    help="Share of reports that are sent twice.",
)
@click.option(
    "--connections",
    default=200,
    show_default=True,
    type=click.IntRange(1, 20000),
    help="Maximum number of open connections.",
)
@click.option(
    "--no-keep-alive",
    "fresh",
    cls=RenamedOption,
    was="--fresh",
    is_flag=True,
    help="Open a new connection for each request, as boards do, instead of reusing connections.",
)
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM file of the certificate authority to trust for https.",
)
@json_option
def run(
    url: str,
    product: str,
    seconds: float,
    properties: tuple[tuple[str, list[Any]], ...],
    connections: int,
    fresh: bool,
    ca: str | None,
    json: bool,
    **options: Any,
) -> None:
    """Simulate devices that register at the cloud at URL, check in, download, report, and fail.

    They make requests on schedule, however slow the cloud is (open loop). Use it only against your own cloud.
    """
    from ioto_tools.fleet import real_time

    if not is_http_url(url):
        raise click.UsageError("URL %s: expected: the address of the cloud, such as http://127.0.0.1:8080" % url)
    settings = _read_settings(product, dict(properties), options)
    tls = ssl.create_default_context(cafile=ca)
    found = asyncio.run(real_time.run(settings, url, seconds, tls=tls, connections=connections, keep_alive=not fresh))
    versions, phases = found.devices.counts()
    tally = found.tally
    for (kind, status), text in tally.refusals.items():
        click.echo("Warning: %s, answer %d: %s" % (kind, status, text), err=True)
    if json:
        answers = tally.rows()
        return print_json(
            {
                "answers": answers,
                "reports": tally.reports,
                "versions": versions,
                "devices": phases,
                "faults": tally.faults,
                "bytes": tally.bytes,
                "files": tally.files,
            }
        )
    rows = [
        (each["kind"], each["answers"], each["good"], each["p50_ms"], each["p99_ms"], _format_counts(each["others"]))
        for each in tally.rows()
    ]
    print_table("Requests", ("kind", "answers", "good", "median ms", "p99 ms", "others"), rows)
    print_table(
        "Devices",
        ("", ""),
        [
            ("reports", _format_counts(tally.reports)),
            ("run", _format_counts(versions)),
            ("are", _format_counts(phases)),
            ("faults", _format_counts(tally.faults)),
            ("files", _format_counts({kind: count for kind, (count, _) in tally.files.items()})),
        ],
    )


def _read_settings(product: str, properties: dict[str, list[Any]], options: dict[str, Any]) -> Settings:
    from ioto_tools.fleet import phases
    from ioto_tools.fleet.settings import Settings

    shares = {outcome: options.pop(outcome) for outcome in phases.OUTCOMES}
    times = {name + "_s": options.pop(name) for name in ("period", "jitter", "apply")}
    if options["image"]:
        options["image"] = Path(options["image"]).read_bytes()
    fast = {"boot_s": 1.0, "retry_s": 2.0, "put_off_s": 5.0, "relapse_s": 3 * times["period_s"]}
    try:
        return Settings(product, shares=shares, properties=properties, **times, **fast, **options)
    except ValueError as e:
        raise click.UsageError(str(e)) from e


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join("%s %d" % each for each in sorted(counts.items())) or "-"

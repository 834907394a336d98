"""What the commands about a site share: its folder, JSON or a table, moments as people say them."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from ioto import duration

from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.site.site import Site

from .printable import printable

data_option = click.option(
    "--data",
    default="ioto-cloud",
    show_default=True,
    envvar="IOTO_DATA",
    show_envvar=True,
    type=click.Path(file_okay=False),
    help="Folder of the site: its database and its images.",
)
product_option = click.option("--product", metavar="PRODUCT", help="Only this product (its name or id).")


class Duration(click.ParamType):
    """`90`, `24 hrs`, `3 days`: whole seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            return duration.parse(value)
        except ValueError as e:
            self.fail("%s: %s" % (value, e), param, context)


@contextmanager
def open_site(data: str, make: bool = False) -> Iterator[Site]:
    """The site in `data`, closed afterwards; its errors as click shows them."""
    site = None
    try:
        site = Site(data, make=make)
        site.who = "command line %s" % _user()
        yield site
    except CloudError as e:
        raise click.ClickException(printable(str(e))) from e
    except Unavailable as e:
        raise click.ClickException("%s; try again" % e) from e
    finally:
        if site:
            site.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        return "?"

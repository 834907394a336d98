"""The site that a command works on: the option --data, and errors as click shows them."""

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
    help="Folder of the site, with its database and its images.",
)
product_option = click.option("--product", metavar="PRODUCT", help="Only this product (name or id).")


class Duration(click.ParamType):
    """`90`, `24 hrs`, `3 days` as whole seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            return duration.parse(value)
        except ValueError as e:
            self.fail("%s: %s" % (value, e), param, context)


@contextmanager
def open_site(data: str, make: bool = False) -> Iterator[Site]:
    """Open the site in `data` and close it afterwards; shows its errors as click does."""
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
    except (OSError, KeyError):  # in a container, a user id without a name
        return "?"

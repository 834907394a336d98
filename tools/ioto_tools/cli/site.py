"""Opens and closes the site for a command, and reports the site's errors through click."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.site.site import Site

from .printable import printable


@contextmanager
def open_site(data: str, make: bool = False) -> Iterator[Site]:
    """Open the site in `data` and close it afterwards; the site's errors become click errors."""
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
    except (OSError, KeyError):  # in a container, the user id may have no name
        return "?"

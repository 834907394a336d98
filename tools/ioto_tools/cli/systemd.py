"""`ioto cloud unit`: a thin wrapper around ioto_tools.cloud.hosting.systemd."""

import sys
from pathlib import Path

import click

from ioto_tools.cloud.hosting.systemd import unit as unit_text
from ioto_tools.cloud.http.errors import CloudError

from .serve import serve

_FILES = ("data", "certificate", "key")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--user", default="ioto", show_default=True, help="User of this machine that runs the service.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[SERVE OPTIONS]...")
def unit(user: str, options: tuple[str, ...]) -> None:
    """Print a systemd unit that runs `ioto cloud serve` with these options.

    \b
    ioto cloud unit --data /srv/ioto --port 443 --certificate cert.pem --key key.pem > ioto-cloud.service
    """
    with serve.make_context("serve", list(options)) as context:
        given = {
            param: context.params[param.name]
            for param in serve.params
            if param.name and context.get_parameter_source(param.name) == click.core.ParameterSource.COMMANDLINE
        }
        data, port = context.params["data"], context.params["port"]
        named = {param.opts[0]: value for param, value in given.items() if param.name != "data"}
        flags = {param.opts[0] for param in given if isinstance(param, click.Option) and param.is_flag}
    words = ["cloud", "serve", "--data", str(Path(data).absolute())]
    for name, value in named.items():
        words += [name] if name in flags else [name, _word(name, value)]
    try:
        click.echo(unit_text(user, data, str(Path(sys.executable).with_name("ioto")), words, port), nl=False)
    except CloudError as e:
        raise click.ClickException(str(e)) from e


def _word(option: str, value: object) -> str:
    """The value as given on a command line. A file gets its absolute path: a service runs in another folder."""
    return str(Path(str(value)).absolute()) if option.strip("-") in _FILES else str(value)

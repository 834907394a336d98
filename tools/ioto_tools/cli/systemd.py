"""`ioto cloud unit`: a thin wrapper around ioto_tools.cloud.hosting.systemd."""

import sys
from pathlib import Path

import click

from ioto_tools.cloud.hosting.systemd import unit as unit_text
from ioto_tools.cloud.http.errors import CloudError

from .serve import serve

_FILES = ("certificate", "key")  # a service runs in another folder: they get absolute paths


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--user", default="ioto", show_default=True, help="User of this machine that runs the service.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[SERVE OPTIONS]...")
def unit(user: str, options: tuple[str, ...]) -> None:
    """Print a systemd unit that runs `ioto cloud serve` with these options.

    \b
    ioto cloud unit --data /srv/ioto --port 443 --certificate cert.pem --key key.pem > ioto-cloud.service
    """
    with serve.make_context("ioto cloud serve", list(options)) as context:
        data, port = context.params["data"], context.params["port"]
        words = ["cloud", "serve", "--data", str(Path(data).absolute())]
        for param in serve.params:
            name = param.name or ""
            if name == "data" or context.get_parameter_source(name) != click.core.ParameterSource.COMMANDLINE:
                continue
            words.append(param.opts[0])
            if not (isinstance(param, click.Option) and param.is_flag):
                value = str(context.params[name])
                words.append(str(Path(value).absolute()) if name in _FILES else value)
    try:
        click.echo(unit_text(user, data, str(Path(sys.executable).with_name("ioto")), words, port), nl=False)
    except CloudError as e:
        raise click.ClickException(str(e)) from e

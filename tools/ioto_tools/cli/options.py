"""Options that several commands have."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import click
from ioto import duration


class RenamedOption(click.Option):
    """An option whose old name `was` is still accepted for one version. The help does not show the old name."""

    def __init__(self, declarations: Sequence[str], was: str, **attributes: Any) -> None:
        super().__init__([*declarations, was], **attributes)
        self._was = was

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        return self._without_old_name(super().get_help_record, context)

    def get_error_hint(self, context: click.Context | None) -> str:
        return self._without_old_name(super().get_error_hint, context)

    def _without_old_name(self, method: Callable[..., Any], context: click.Context | None) -> Any:
        self.opts.remove(self._was)
        try:
            return method(context)
        finally:
            self.opts.append(self._was)


class OutputFile(click.Path):
    """A file to write, in a folder that exists."""

    def __init__(self, path_type: type[Any] | None = None) -> None:
        super().__init__(dir_okay=False, path_type=path_type)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        folder = os.path.dirname(os.path.abspath(value))
        if not os.path.isdir(folder):
            self.fail("%s: there is no folder %s: create it first" % (value, folder), param, context)
        return super().convert(value, param, context)


class Duration(click.ParamType):
    """A duration such as `90`, `24 hrs` or `3 days`, converted to whole seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            return duration.parse(value)
        except ValueError as e:
            self.fail("%s: %s" % (value, e), param, context)


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
json_option = click.option("--json", is_flag=True, help="Print JSON for programs instead of a table for people.")
json_object_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
password_option = click.option(
    "--password",
    default="",
    envvar="IOTO_WIFI_PASSWORD",
    help="Password of the Wi-Fi network; also read from the variable IOTO_WIFI_PASSWORD.",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")

"""The command `ioto`: thin wrappers around the rest of ioto_tools. Each module is imported when it is used."""

from importlib import import_module

import click

# command: the module of this package that defines it, under the same name
COMMANDS = {
    "init": "flash",
    "image": "flash",
    "flash": "flash",
    "freeze": "flash",
    "deploy": "deploy",
    "board": "board",
    "demo": "demo",
    "cloud": "cloud",
    "overview": "overview",
    "product": "product",
    "keys": "keys",
    "sign": "keys",
    "pack": "pack",
    "unpack": "pack",
    "publish": "publish",
    "updates": "updates",
    "groups": "groups",
    "policy": "policy",
    "devices": "devices",
    "fleet": "fleet",
    "device": "devices",
    "token": "operators",
    "audit": "operators",
    "webhook": "webhooks",
}


class Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module = COMMANDS.get(name)
        return getattr(import_module("." + module, __name__), name) if module else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Over-the-air updates for MicroPython boards: virtual board, device cloud, releases."""

"""docs/commands.md lists every command with the first paragraph of its help."""

import re
from pathlib import Path

from ioto_tools.cli import COMMANDS, main

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def commands(command, path):
    """Yield (path, command) of each command that can be run."""
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield path, command
    for name, each in inner.items():
        yield from commands(each, path + " " + name)


def test_the_page_lists_every_command_with_its_help():
    listed = dict(re.findall(r"^\| `(ioto [\w -]+)` \| (.+) \|$", PAGE.read_text(), re.M))
    found = dict(pair for name in COMMANDS for pair in commands(main.get_command(None, name), "ioto " + name))
    assert listed == {path: " ".join(command.help.strip().split("\n\n")[0].split()) for path, command in found.items()}

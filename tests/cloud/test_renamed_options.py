"""Options that were renamed are accepted under their old names for one version; the help shows only the new ones."""

import click
import pytest
from ioto_tools.cli import main
from ioto_tools.cli.options import RenamedOption


def walk(command, path=()):
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from walk(command.get_command(click.Context(command), name), (*path, name))


RENAMED = [
    (path, command, option)
    for path, command in walk(main)
    for option in command.params
    if isinstance(option, RenamedOption)
]


@pytest.mark.parametrize(
    "path, command, option", RENAMED, ids=[" ".join(path) + option.opts[0] for path, _, option in RENAMED]
)
def test_both_names_are_accepted_and_one_is_shown(path, command, option):
    new, old = option.opts
    shown = command.get_help(click.Context(command, info_name=" ".join(path)))
    assert new in shown.split() and old not in shown.split()
    value = [] if option.is_flag else ["1"]
    parsed = [command.make_parser(click.Context(command)).parse_args([name, *value])[0] for name in (new, old)]
    assert parsed[0] == parsed[1] and option.name in parsed[0]


def test_an_error_names_the_new_option():
    [(_, command, option)] = [each for each in RENAMED if each[0] == ("cloud", "serve") and each[2].name == "rate"]
    with pytest.raises(click.BadParameter) as e:
        command.make_context("serve", ["--rate", "x"])
    assert "'--requests-per-minute'" in e.value.format_message() and "--rate'" not in e.value.format_message()
    assert len(RENAMED) >= 15

"""Prints the stages of an update."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from .output import print_table

if TYPE_CHECKING:
    from ioto_tools.cloud.storage.tables import Row


def print_stages(found: Row) -> None:
    """Print the stages of an update from overview.update(), and what the next one waits for."""
    rollout = found["stages"]
    if rollout is None:
        return
    rows = [
        (number, "%g%%" % each["percentage"], _duration(each["soak_s"]), _time(rollout, number))
        for number, each in enumerate(rollout["stages"], 1)
    ]
    print_table("Stages", ("stage", "percentage", "at least", "since"), rows)
    for wait in rollout["waits"]:
        click.echo("the next stage waits for: %s" % wait["says"])
    for text in rollout["ignored"]:
        click.echo("not compared: %s" % text)
    if rollout["due_s"] is not None and not rollout["waits"]:
        click.echo("the gate is open: the next stage begins when a device checks in")


def describe_stage(found: Row) -> str:
    """The current stage in words, such as `in stage 2 of 3 (10%)`."""
    rollout = found["stages"]
    plan, number = rollout["stages"], rollout["stage"]
    return "in stage %d of %d (%g%%)" % (number, len(plan), plan[number - 1]["percentage"])


def _duration(seconds: int) -> str:
    from ioto_tools.cloud.rules.stages import format_duration

    return format_duration(seconds) if seconds else "-"


def _time(rollout: Row, number: int) -> str:
    if number != rollout["stage"]:
        return "-" if number > rollout["stage"] else "over"
    since = datetime.fromtimestamp(rollout["since_s"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return since + (", held" if rollout["held"] else "")

"""Prints the files of an update, and which file a device was offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .output import print_table

if TYPE_CHECKING:
    from ioto_tools.cloud.storage.tables import Row


def print_files(found: Row) -> None:
    """Print the result of release_files.of_release(), unless the update has no packed files."""
    if not found["files"]:
        return
    numbers = ("size", "offered", "installed", "failures", "saved")
    rows = []
    for each in found["files"]:
        size, *counts = ("-" if each[name] is None else each[name] for name in numbers)
        rows.append((_file(each), size, _state(each), *counts))
    print_table("Files", ("file", "bytes", "state", "offered to", "installed on", "failed on", "bytes saved"), rows)
    if found["saved"] is None:
        click.echo("too many devices were offered the update: their files are not counted")
    else:
        click.echo("packed files have saved %d bytes so far" % found["saved"])


def print_made(made: Row) -> None:
    """Print the result of making.make_next()."""
    what = "delta from the image %s" % made["base"][:12] if made["base"] else "compressed"
    if made["state"] == "made":
        percent = 100 * made["size"] / made["own_bytes"]
        click.echo("%s: %d bytes, %.1f %% of the whole image" % (what, made["size"], percent))
    else:
        click.echo("%s: not made: %s" % (what, made["reason"]))


def _file(file: Row) -> str:
    if file["kind"] == "delta":
        return "delta from %s" % (file["base_version"] or file["base"][:12])
    return describe_kind(file["kind"])


def _state(file: Row) -> str:
    return file["state"] + (": " + file["reason"] if file["reason"] else "")


def describe_kind(kind: str) -> str:
    return "whole image" if kind == "whole" else kind


def describe_offered(update: Row) -> str:
    """The file of an element of `updates` in overview.device(), in words."""
    return describe_kind(update["file"]) + (", because a packed file failed" if update["packed_failed"] else "")

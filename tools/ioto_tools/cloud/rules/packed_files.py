"""Selects the file of a release that a device is offered: the release's own file, or a smaller packed one. Pure.

A packed file is compressed, or a delta against the image that the device runs (docs/formats.md). A release has
{base: PackedFile}: `base` is the SHA-256 of that image in hex, or "" for a compressed file. In all functions, a file is
named by its base; None is the release's own file, with the whole image.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

COMPRESSED = ""


class PackedFile(NamedTuple):
    checksum: str
    size: int


Files = Mapping[str, PackedFile]
Properties = Mapping[str, Any]  # the body of a check-in


def kind(file: str | None) -> str:
    """The kind of a file: `whole`, `compressed` or `delta`."""
    return "whole" if file is None else "compressed" if file == COMPRESSED else "delta"


def smallest(files: Files, own_bytes: int, image_bytes: int, sent: Properties) -> str | None:
    """The smallest file that the device accepts.

    `own_bytes`: size of the release's own file; `image_bytes`: size of the image.
    """
    found = min(_accepted(files, image_bytes, sent), key=lambda base: (files[base].size, base), default=None)
    return found if found is not None and files[found].size < own_bytes else None


def still_accepted(file: str | None, files: Files, image_bytes: int, sent: Properties) -> str | None:
    """`file`, which the device was offered before, or None if the device no longer accepts it, or it was deleted."""
    return file if file in _accepted(files, image_bytes, sent) else None


def _accepted(files: Files, image_bytes: int, sent: Properties) -> list[str]:
    """The packed files that the device accepts. Only this project's agent sends `accepts`.

    On Linux, it sends no `chip`, and accepts no delta, because it can't read the image that it runs.
    """
    if not files:
        return []
    slot_bytes = sent.get("slotSize")
    if not accepts_packed(sent) or type(slot_bytes) is not int or slot_bytes < image_bytes:
        return []
    return [base for base in {COMPRESSED, delta_base(sent) or COMPRESSED} if base in files]


def delta_base(sent: Properties) -> str | None:
    """The image (its SHA-256) from which the device accepts a delta, or None."""
    image = sent.get("image") if accepts_packed(sent) and type(sent.get("chip")) is int else None
    return image if type(image) is str else None


def accepts_packed(sent: Properties) -> bool:
    accepts = sent.get("accepts")
    return type(accepts) is list and "packed" in accepts

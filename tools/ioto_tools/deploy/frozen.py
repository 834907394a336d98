"""Write ioto_build.py: the settings and files of a device's folder, to freeze into custom firmware."""

import json
from pathlib import Path

from ioto import config

from .. import private_file
from ..virtual_board.file_system import collect_files
from . import trust
from .device_files import NOT_DEPLOYED

NAME = "ioto_build.py"
_HEAD = '''"""Frozen into the firmware by firmware/manifest.py. Written by `ioto freeze`: do not edit."""

PRODUCT = %s
VERSION = %s
FILES = {
%s}
'''
_RUN = (".py", ".mpy")  # code: frozen as modules, if at all


def build(folder: str | Path) -> list[str]:
    """Write `folder`/ioto_build.py; returns the names of the files in it.

    ValueError if the agent would not start with them.
    """
    folder = Path(folder)
    found = {name: raw for name, raw in collect_files(folder).items() if not name.startswith(NOT_DEPLOYED)}
    settings = config.load(str(folder) + "/")
    config.load_device(str(folder) + "/")
    trust.check_settings(folder, settings, found)
    kept = {name: raw for name, raw in found.items() if "/" not in name and not name.endswith(_RUN)}
    lines = "".join("    %s: %r,\n" % (json.dumps(name), raw) for name, raw in sorted(kept.items()))
    text = _HEAD % (json.dumps(settings["product"]), json.dumps(settings["version"]), lines)
    private_file.write(folder / NAME, text.encode())
    return sorted(kept)

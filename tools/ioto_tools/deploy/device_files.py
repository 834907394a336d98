"""Collect the files for a board: the files in the device's folder, and the agent."""

import ast
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from ioto import config

from .. import private_file
from ..virtual_board.file_system import collect_files
from . import trust
from .agent_build import agent_files, agent_sources
from .copy_files import HASHES, hashes

_TEMPLATE = ("boot.py", "main.py", "device.json")  # ioto.json is generated
# Never copied to a board: the state that a device writes itself, and the output of `ioto freeze`.
NOT_DEPLOYED = ("state/", "ioto_build.py")


def _example(name: str) -> bytes:
    """The bytes of a file of the example device, at the root of the sources."""
    try:
        folder = files("ioto_tools.device")
    except ModuleNotFoundError:  # an editable installation
        folder = Path(__file__).parents[3]
    return folder.joinpath(name).read_bytes()


def create_folder(
    folder: str | Path,
    settings: dict[str, Any],
    authorities: Iterable[str | Path] = (),
    keys: Iterable[str | Path] = (),
) -> list[str]:
    """Create boot.py, main.py, ioto.json and device.json in `folder`; `settings` is {dotted key: value} for ioto.json.

    `authorities` and `keys` are files to copy there, for tls.ca and update.keys. Returns the names of the created
    files. FileExistsError if one of them exists, ValueError if one is invalid; then nothing is written.
    """
    folder = Path(folder)
    found = {name: _example(name) for name in _TEMPLATE}
    settings = dict(settings)
    for key, read, paths in (
        ("tls.ca", trust.read_authority, authorities),
        ("update.keys", trust.read_release_key, keys),
    ):
        settings.update({key: [Path(path).name for path in paths]} if paths else {})
        found.update({Path(path).name: read(path) for path in paths})
    found["ioto.json"] = _apply_settings(json.loads(_example("ioto.json")), settings)
    for name in found:
        if (folder / name).exists():
            raise FileExistsError("%s exists; nothing was written" % (folder / name))
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in found.items():
        if name == "ioto.json":  # contains the Wi-Fi password
            private_file.write(folder / name, raw)
        else:
            (folder / name).write_bytes(raw)
    try:
        config.load(str(folder) + "/")
    except config.ConfigError:  # remove what was written
        for name in found:
            (folder / name).unlink()
        if is_new:
            folder.rmdir()
        raise
    return sorted(found)


def _apply_settings(nested: dict[str, Any], settings: dict[str, Any]) -> bytes:
    nested["wifi"].update(ssid="", password="")
    nested["update"] = {k: nested["update"][k] for k in ("schedule", "apply", "period", "jitter")}
    for key in ("api", "token", "state", "tls"):
        del nested[key]
    for key, value in settings.items():
        *path, last = key.split(".")
        inside = nested
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return json.dumps(nested, indent=4).encode() + b"\n"


def device_files(folder: str | Path, source: bool = False) -> dict[str, bytes]:
    """{path on the board: bytes} of a folder and the agent; with `source`, the agent's .py files instead of .mpy.

    The agent's own modules check the configuration; ValueError names a missing or invalid file. The device's state
    (state/) is left out.
    """
    folder = Path(folder)
    found = {k: v for k, v in collect_files(folder).items() if not k.startswith(NOT_DEPLOYED)}
    for name in ("boot.py", "main.py"):
        if name not in found:
            raise ValueError(
                "%s: no such file; `ioto init` creates a folder with all files that a board needs" % (folder / name)
            )
    trust.check_settings(folder, config.load(str(folder) + "/"), found)
    config.load_device(str(folder) + "/")
    for name in found:
        if name.startswith("lib/ioto/"):
            raise ValueError(
                "%s: remove lib/ioto from the folder: `ioto` adds its own copy of the agent" % (folder / name)
            )
    found.update(stripped_sources() if source else agent_files())
    return {**found, HASHES: hashes(found)}


def stripped_sources() -> dict[str, bytes]:
    """{path on the board: bytes} of the agent's modules as source, without comments and docstrings.

    With comments and docstrings, the agent would fill the file system of a board with 4 MB of flash.
    """
    return {"lib/ioto/%s.py" % name: _without_docstrings(text).encode() for name, text in agent_sources().items()}


def _without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree) + "\n"

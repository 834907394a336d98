"""Resolves names in a policy: a property of the device or of the release, null if it is missing. Pure."""

import re

from lark import Token

from .literals import unquote
from .values import Getter, Properties, version

_STEPS = re.compile(r"""[A-Za-z_$][A-Za-z0-9_$]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
# The names whose values are SemVer versions, as the cloud ensures.
VERSIONS = ("device.version", "version", "update.version", "newVersion")
PARTS = {"major": 0, "minor": 1, "patch": 2}


def split_name(token: Token | str) -> tuple[str, ...]:
    """Split a name: device['a-b'].c -> ("device", "a-b", "c")."""
    return tuple(unquote(token, step) if step[0] in "\"'" else step for step in _STEPS.findall(token))


def compile_name(token: Token) -> Getter:
    """Compile a name to a closure. A flat name is a device property, except newVersion, major, minor and patch."""
    first, *rest = (str(token),) if token.isidentifier() else split_name(token)
    if first == "device":
        return _device(rest)
    if first == "update":
        return _update(rest)
    if rest:
        return _device([first, *rest])
    if first == "newVersion":
        return _update(["version"])
    return _part(first) if first in PARTS else _device([first])


def property_names(token: str) -> list[str] | None:
    """The device properties that a name may read; None: any."""
    first, *rest = split_name(token)
    if first == "device":
        return rest[:1] or None
    if first == "update" or first == "newVersion" and not rest:
        return []
    return [first, "version"] if first in PARTS and not rest else [first]


def _device(path: list[str]) -> Getter:
    if len(path) == 1:
        key = path[0]
        return lambda device, update: device.get(key)
    return lambda device, update: _inside(device, path)


def _update(path: list[str]) -> Getter:
    if len(path) == 1:
        key = path[0]
        return lambda device, update: update.get(key)
    return lambda device, update: _inside(update, path)


def _inside(value: object, path: list[str]) -> object:
    for key in path:
        if type(value) is not dict:
            return None
        value = value.get(key)
    return value


def _part(name: str) -> Getter:
    """The closure of major, minor or patch: the device's property of this name, else this part of its version."""
    at = PARTS[name]

    def get(device: Properties, update: Properties) -> object:
        own = device.get(name)
        if own is not None:
            return own
        key = version(device.get("version"))
        return key and key[0][at][1]

    return get

"""Resolves names in a policy: a property of the device or of the release, null if it is missing. Pure."""

import re

from .texts import unquoted
from .values import version

_STEPS = re.compile(r"""[A-Za-z_$][A-Za-z0-9_$]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
VERSIONS = (
    "device.version",
    "version",
    "update.version",
    "newVersion",
)  # the cloud ensures that these are SemVer versions
PARTS = {"major": 0, "minor": 1, "patch": 2}


def keys(token):
    """device['a-b'].c -> ("device", "a-b", "c")."""
    return tuple(unquoted(token, step) if step[0] in "\"'" else step for step in _STEPS.findall(token))


def getter(token):
    """The closure of a name. A flat name is a device property, except newVersion, major, minor and patch."""
    first, *rest = (str(token),) if token.isidentifier() else keys(token)
    if first == "device":
        return _device(rest)
    if first == "update":
        return _update(rest)
    if rest:
        return _device([first, *rest])
    if first == "newVersion":
        return _update(["version"])
    return _part(first) if first in PARTS else _device([first])


def properties(token):
    """The device properties that a name may read, or None: any."""
    first, *rest = keys(token)
    if first == "device":
        return rest[:1] or None
    if first == "update" or first == "newVersion" and not rest:
        return []
    return [first, "version"] if first in PARTS and not rest else [first]


def _device(path):
    if len(path) == 1:
        key = path[0]
        return lambda device, update: device.get(key)
    return lambda device, update: _inside(device, path)


def _update(path):
    if len(path) == 1:
        key = path[0]
        return lambda device, update: update.get(key)
    return lambda device, update: _inside(update, path)


def _inside(value, path):
    for key in path:
        if type(value) is not dict:
            return None
        value = value.get(key)
    return value


def _part(name):
    """The device's own property of this name, else this number of its version."""
    at = PARTS[name]

    def get(device, update):
        own = device.get(name)
        if own is not None:
            return own
        key = version(device.get("version"))
        return key and key[0][at][1]

    return get

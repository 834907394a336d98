"""site.toml: where a site keeps its database and images. Without this file, both are in the site's folder."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..http.errors import CloudError

FILE = "site.toml"
Defaults = Mapping[str, tuple[Any, type]]  # {key: (default, type)}; default None: the key is required
DEFAULTS: Defaults = {
    "database": ("", str),  # postgresql://USER@HOST/NAME; "" = SQLite in the folder
    "images": ({}, dict),  # an S3-compatible store; {} = in the folder
}


def load(folder: Path) -> dict[str, Any]:
    """The settings in folder/site.toml, completed from DEFAULTS. CloudError names the file and the key."""
    path = folder / FILE
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        given = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise CloudError("%s: %s" % (path, getattr(e, "strerror", None) or e)) from e
    return checked(path, "", given, DEFAULTS)


def checked(path: Path, table: str, given: dict[str, Any], defaults: Defaults) -> dict[str, Any]:
    """Check `given`, the settings in a table of the file `path`, and complete them from `defaults`."""
    for key, value in given.items():
        if key not in defaults:
            raise CloudError("%s: %s%s: unknown key; known keys: %s" % (path, table, key, ", ".join(defaults)))
        if not isinstance(value, defaults[key][1]):
            raise CloudError("%s: %s%s: expected: %s" % (path, table, key, _KINDS[defaults[key][1]]))
    found = {**{key: value for key, (value, _) in defaults.items()}, **given}
    for key, value in found.items():
        if value is None:
            raise CloudError("%s: %s%s is missing: expected: %s" % (path, table, key, _KINDS[defaults[key][1]]))
    return found


_KINDS = {str: "a string", bool: "true or false", dict: "a table"}

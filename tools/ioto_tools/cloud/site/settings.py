"""site.toml: where a site keeps data outside its folder. Without this file, everything is in the folder."""

import tomllib

from ..http.errors import CloudError

FILE = "site.toml"
# Key: (default, type), and its meaning. All keys are optional.
DEFAULTS = {
    "database": ("", str),  # postgresql://USER@HOST/NAME; "" = SQLite in the folder
    "images": ({}, dict),  # an S3-compatible store; {} = in the folder
}


def load(folder):
    """{key: value} of folder/site.toml and DEFAULTS. CloudError names the file and the invalid key."""
    path = folder / FILE
    try:
        said = tomllib.loads(path.read_text())
    except FileNotFoundError:
        said = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise CloudError("%s: %s" % (path, getattr(e, "strerror", None) or e)) from e
    return checked(path, "", said, DEFAULTS)


def checked(path, table, said, defaults):
    """`said`, completed from defaults {key: (value, type)}; value None: the key is required."""
    for key, value in said.items():
        if key not in defaults:
            raise CloudError("%s: %s%s: unknown key; known: %s" % (path, table, key, ", ".join(defaults)))
        if not isinstance(value, defaults[key][1]):
            raise CloudError("%s: %s%s: expected: %s" % (path, table, key, _KINDS[defaults[key][1]]))
    found = {**{key: value for key, (value, _) in defaults.items()}, **said}
    for key, value in found.items():
        if value is None:
            raise CloudError("%s: %s%s is missing: expected: %s" % (path, table, key, _KINDS[defaults[key][1]]))
    return found


_KINDS = {str: "a text", bool: "true or false", dict: "a table"}

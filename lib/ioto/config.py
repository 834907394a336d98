"""Load ioto.json and device.json. defaults.py has the keys.

Pure except for reading files.
"""

import gc
import json
import os

from . import duration
from .cron import parse as parse_window
from .defaults import DEFAULTS, MOST_BYTES
from .defaults import ConfigError as ConfigError
from .zone import parse as parse_zone

_ID = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without look-alikes: no I, O, 0, 1


def load(folder, notes=None):
    """Return {dotted key: value} of ioto.json or ioto.json5 in `folder` ("" or ending in /), with defaults filled in.

    Ignored settings of Ioto's own agent are appended to the list `notes`, as (level, message) for a log.

    Durations are in seconds (duration.FOREVER for `never`), windows as returned by cron.parse(), the zone as returned
    by zone.parse().
    """
    path, found = _read(folder, "ioto")
    gc.collect()
    flat = {}
    if not _flatten("", found, flat):
        from .ioto_keys import flatten

        flat = flatten(path, found, [] if notes is None else notes)
    result = {}
    for key, (default, kind) in DEFAULTS.items():
        try:
            result[key] = _convert(flat.get(key, default), kind, folder)
        except ValueError as e:
            from .config_errors import value_error

            raise value_error(path, flat.get("names", {}).get(key, key), flat[key], kind, e)
        if kind == "window":
            gc.collect()
    if result["tls.cert"] and not result["tls.key"]:
        raise wrong(path, "tls.key", "tls.key")
    if result["services.update"] and not result["builder"] and not (result["api"] and result["token"]):
        raise wrong(path, "builder", "builder")
    return result


def load_device(folder):
    """Return the properties of device.json or device.json5 unchanged; a missing `id` is "auto" (to be generated)."""
    path, found = _read(folder, "device")
    id = found.setdefault("id", "auto")
    if not isinstance(id, str) or not 0 < len(id) <= 64:
        raise wrong(path, "id", "id", json.dumps(id)[:60])
    return found


def make_id(random):
    """Return an id of ten characters, made from ten random bytes."""
    return "".join(_ID[b & 31] for b in random[:10])


def wrong(*what):
    """The ConfigError of config_errors.error(). That module is imported only when needed: few starts need its texts."""
    from .config_errors import error

    return error(*what)


def _read(folder, stem):
    path = folder + stem + ".json"
    size, size5 = _size(path), _size(path + "5")
    if (size is None) == (size5 is None):
        raise wrong(path, "", stem) if size is None else wrong(path, "", "both", stem)
    if size is None:
        path, size = path + "5", size5
    if size > MOST_BYTES:
        raise wrong(path, "", "bytes")
    with open(path, "rb") as f:
        raw = f.read(size)  # in one allocation of the exact size
    try:
        found = _parse(raw[3:] if raw[:3] == b"\xef\xbb\xbf" else raw, path[-1] == "5")
    except ValueError as e:
        raise wrong(path, "", e.args[0])
    if not isinstance(found, dict):
        raise wrong(path, "", "object")
    return path, found


def _parse(raw, is_json5):
    try:
        text = raw.decode()
    except ValueError:
        raise ValueError("utf-8")
    if not is_json5:
        try:
            return json.loads(text)
        except ValueError:  # MicroPython's parser gives no position; json5.py does
            pass
    from .json5 import loads

    found = loads(text)
    if not is_json5:
        raise ValueError("json5")
    return found


def _size(path):
    """Size of a file in bytes; None if it does not exist."""
    try:
        return os.stat(path)[6]
    except OSError:
        return None


def _flatten(prefix, found, flat):
    """Put {dotted key: value} into `flat`; False for a key that is not in DEFAULTS, or for an empty section."""
    for key, value in found.items():
        dotted = prefix + key
        is_section = isinstance(value, dict)
        if dotted in DEFAULTS and "." not in key and not (dotted == "api" and is_section):
            flat[dotted] = value
        elif not (is_section and value and _flatten(dotted + ".", value, flat)):
            return False
    return True


def _convert(value, kind, folder):
    """Convert a value of the file for the agent; ValueError with arguments for config_errors.say()."""
    if kind == "window":
        return parse_window(value)
    if kind == "zone":
        return parse_zone(value)
    if kind in ("duration", "limit", "watchdog"):
        seconds = duration.parse(value)
        if kind == "limit" and not 0 < seconds <= 86400 or kind == "watchdog" and 0 < seconds < 30:
            raise ValueError(kind)
        return seconds
    if kind == "ms":
        found = duration.parse(value, True)
        if found > 60000:
            raise ValueError(kind)
        return found
    if isinstance(kind, tuple):
        if type(value) is int and kind[0] <= value <= kind[1]:
            return value
        raise ValueError("number", *kind)
    if kind == "bool":
        if type(value) is bool:
            return value
        raise ValueError(kind)
    if kind in ("texts", "files"):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list):
            raise ValueError("texts")
        found = []
        for text in texts:
            if not isinstance(text, str):
                raise ValueError("texts")
            if text:
                found.append(_text(text, kind[:-1], folder))
        return found
    if not isinstance(value, str):
        raise ValueError("text")
    return _text(value, kind, folder)


def _text(value, kind, folder):
    if kind == "version":
        from .semver import parse  # imported after gc.collect(), not together with this module

        parse(value)
    elif kind == "url":
        # No tuple: startswith() of MicroPython 1.24 does not accept one.
        if value and not (value.startswith("http://") or value.startswith("https://")):
            raise ValueError(kind)
    elif kind == "file":
        if value[:1] == "@":  # Ioto's prefix for its own directories
            value = value[1:]
        if value and _size(folder + value) is None:
            raise ValueError(kind)
    elif kind == "name":
        if not value:
            raise ValueError(kind)
    elif kind != "text" and value not in kind.split():
        raise ValueError("words", ", ".join(kind.split()))
    return value

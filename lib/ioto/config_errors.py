"""Error messages for an invalid configuration, which say what is allowed. Imported only when needed."""

import json
import os

from .cron import ALIASES
from .defaults import MOST_BYTES, ConfigError

_SECRET = ("token", "wifi.password")  # values that must not be shown in a console or log
_ZONE = (
    "invalid time zone at '%s': use UTC, +01:00 (ahead of UTC), or a POSIX TZ string such as CET-1CEST,M3.5.0,M10.5.0/3"
)
# The fields of a window, by their highest number.
_FIELDS = {59: "minute", 23: "hour", 31: "day of month", 12: "month", 7: "day of week"}
TEXTS = {  # {key used in config.py, cron.py, setup.py and others: text}; the details replace %s and %d
    "bool": "true or false",
    "number": "a whole number from %d to %d",
    "limit": "from 1 second to 1 day",
    "watchdog": "30 seconds or more, since one step of TLS or of the file system may take seconds; or never",
    "ms": "milliseconds from 0 to 60000, or with a unit such as '20 ms'",
    "text": "a text in quotes",
    "texts": "a text or a list of texts",
    "name": "a text that is not empty",
    "url": "must begin with https:// or http://",
    "file": "no such file",
    "words": "one of %s",
    "window": "not a window: use five fields, minute hour day month weekday, or " + ", ".join(sorted(ALIASES)),
    "field": " '%s': use *, n, n-m, */s or n-m/s, with commas, from %d to %d",
    "never": "day of month '%s' does not exist in month '%s': use another day, or never",
    "ioto": 'not found; it needs at least {"builder": "https://...", "product": "..."}',
    "device": 'not found; it needs at least {"id": "auto"}',
    "both": "%s.json5 exists too: keep one of them",
    "bytes": "more than %d bytes" % MOST_BYTES,
    "utf-8": "not UTF-8",
    "json5": "this is JSON5: name the file .json5",
    "object": "not an object in braces",
    "id": '%s: "auto" or up to 64 characters',
    "tls.key": "required with tls.cert",
    "builder": "needed to register: the url of your cloud, or https://api.admin.embedthis.com/api for Ioto's own; "
    "or api and token",
    "plain": "plain http: use https (or tls.plain: anyone can read and change the data)",
    "urequests": "https: urequests can't verify servers: use asyncio (or tls.verify false, which lets "
    "anyone pose as the server)",
    "tls.ca": "https: tls.ca must name the authorities to trust",
    "tls.cert": "unusable with tls.key: %s",
}


def shown(value):
    """A value as shown in an error message."""
    return json.dumps(value)[:60]


def say(what, *details):
    """Return the text for `what`; if it is not a key of TEXTS, it is already the text."""
    text = TEXTS.get(what, what)
    if what == "field":
        text = _FIELDS[details[2]] + text
    return text % details if details else text


def error(path, key, what, *details):
    """Return the ConfigError for the file at `path`, or for a key in it.

    The message names the .json5 file if only that one exists.
    """
    if key and path[-5:] == ".json":
        try:
            os.stat(path)
        except OSError:
            path += "5"
    return ConfigError(": ".join([path] + [key] * bool(key) + [say(what, *details)]))


def value_error(path, key, value, kind, e):
    """Return the ConfigError for a value of this kind, from the ValueError `e` of its conversion."""
    text = _ZONE % (e.args[0] or value) if kind == "zone" else say(*e.args)
    return error(path, key, text if key in _SECRET else "%s: %s" % (shown(value), text))

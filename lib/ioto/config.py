"""ioto.json and device.json. DEFAULTS is the reference: key, default, kind, unit and meaning. Pure but for reading files."""

import json
import os

from . import cron, duration, semver, timezone

DEFAULTS = {
    "product": ("", "text"),  # product id; registers the device
    "version": ("0.0.0", "version"),  # of the software, until the first update says otherwise
    "builder": ("", "url"),  # where to register; "" = `api` and `token` stand here
    "api": ("", "url"),  # the device cloud; "" = as registration says
    "token": ("", "text"),  # the device's own; "" = as registration says
    "state": ("state", "text"),  # folder of the record and provision.json
    "timezone": ("UTC", "zone"),  # UTC, +01:00, or POSIX TZ; windows are in this time
    "watchdog": ("2 mins", "duration"),  # armed in the first boot of an image; never = not at all
    "log.level": ("error", "error warn info debug"),  # how much is said
    "network.timeout": ("30 secs", "limit"),  # longest wait for anything of the network, and for 4 KiB
    "network.dns": ("", "texts"),  # name servers; "" = as the Wi-Fi says
    "ntp.server": ("pool.ntp.org", "text"),  # "" = the clock is somebody else's
    "ntp.period": ("1 day", "duration"),  # between two settings of the clock
    "services.update": (True, "bool"),  # the whole service
    "tls.ca": ("", "text"),  # PEM file of the authorities to trust, one or many in it; https needs it
    "tls.cert": ("", "text"),  # PEM or DER file of the device's own certificate, where the server wants one
    "tls.key": ("", "text"),  # file of its key
    "tls.verify": (True, "bool"),  # false: the server is NOT verified, anybody can be it
    "trial.limit": ("5 mins", "limit"),  # self-tests and check-in of a first boot, together
    "trial.selftest": ("1 min", "limit"),  # each self-test
    "update.schedule": ("anytime", "window"),  # when to check in and download
    "update.apply": ("anytime", "window"),  # when device:update is signalled
    "update.period": ("1 day", "duration"),  # least time between two check-ins
    "update.jitter": ("1 hour", "duration"),  # spread of a fleet inside the window
    "update.throttle": (20, "number"),  # milliseconds after each 4 KiB; 0 = none
    "update.attempts": (3, "number"),  # of one update, before it is remembered as failed
    "update.retry": ("10 mins", "duration"),  # pause before another attempt after a rollback
    "update.transport": ("asyncio", "asyncio urequests"),  # urequests blocks the loop and does not verify
    "update.script": ("scripts/update", "text"),  # Linux: run with the path of the verified file
    "update.slot": ("update.bin", "text"),  # Linux: that file
    "update.slotSize": (104857600, "number"),  # Linux: bytes it may have
    "wifi.ssid": ("", "text"),  # "" = the link is somebody else's
    "wifi.password": ("", "text"),
    "wifi.hostname": ("", "text"),
    "wifi.timeout": ("30 secs", "limit"),  # to wait for the link
}

# Sections of Ioto's own ioto.json5 that speak of services this agent does not have; they are accepted and ignored.
FOREIGN = ("account", "ai", "app", "cloud", "database", "directories", "limits", "mqtt", "profile", "shadow", "title", "webserver")

_MOST_BYTES = 16384
_ID = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without look-alikes: no I, O, 0, 1


class ConfigError(ValueError):
    """The configuration can't be used; the text names file, key and value, and says what is allowed."""


def load(folder):
    """{dotted key: value} of ioto.json or ioto.json5 in `folder` ("" or ending in /), defaults filled in.

    Durations are seconds (duration.FOREVER for `never`), windows cron.parse()'s, the zone timezone.parse()'s.
    """
    name, found = _read(folder, "ioto")
    flat = {}
    _flatten(name, "", found, flat)
    result = {}
    for key, (default, kind) in DEFAULTS.items():
        try:
            result[key] = _convert(flat.get(key, default), kind)
        except ValueError as e:
            raise ConfigError("%s: %s: %s: %s" % (folder + name, key, json.dumps(flat[key]), e))
    if result["tls.cert"] and not result["tls.key"]:
        raise ConfigError("%s: tls.key: needed with tls.cert" % (folder + name))
    return result


def load_device(folder):
    """The properties of device.json or device.json5, as they are; `id` is there, "auto" where it is to be made."""
    name, found = _read(folder, "device")
    if not isinstance(found.get("id"), str) or not 0 < len(found["id"]) <= 64:
        raise ConfigError('%s: id: %s: "auto" or up to 64 characters' % (folder + name, json.dumps(found.get("id"))))
    return found


def make_id(random):
    """Ten characters out of ten random bytes."""
    return "".join(_ID[b & 31] for b in random[:10])


def _read(folder, stem):
    here = [n for n in (stem + ".json", stem + ".json5") if _exists(folder + n)]
    if len(here) == 2:
        raise ConfigError("%s%s.json and %s.json5: keep one of them" % (folder, stem, stem))
    if not here:
        raise ConfigError("%s%s.json: not there; see docs/configuration.md for an example" % (folder, stem))
    if os.stat(folder + here[0])[6] > _MOST_BYTES:
        raise ConfigError("%s: more than %d bytes" % (folder + here[0], _MOST_BYTES))
    with open(folder + here[0], "rb") as f:
        raw = f.read()
    try:
        text = raw.decode()
        if text[:1] == "\ufeff":
            text = text[1:]
        if here[0].endswith("5"):
            from .json5 import loads
        else:
            loads = json.loads
        found = loads(text)
    except ValueError as e:
        raise ConfigError("%s: %s" % (folder + here[0], e))
    if not isinstance(found, dict):
        raise ConfigError("%s: not an object in braces" % (folder + here[0]))
    return here[0], found


def _exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _flatten(name, prefix, found, flat):
    for key, value in found.items():
        if not prefix and key in FOREIGN:
            continue
        dotted = prefix + key
        inside = [k for k in DEFAULTS if k.startswith(dotted + ".")]
        if dotted in DEFAULTS:
            flat[dotted] = value
        elif inside and isinstance(value, dict):
            _flatten(name, dotted + ".", value, flat)
        elif inside:
            raise ConfigError("%s: %s: %s: an object of %s" % (name, dotted, json.dumps(value), ", ".join(inside)))
        elif prefix != "services.":  # Ioto's other services may stand there
            near = [k for k in DEFAULTS if k.startswith(prefix) and "." not in k[len(prefix) :]]
            raise ConfigError("%s: %s: unknown key; here are %s" % (name, dotted, ", ".join(sorted(near))))


def _convert(value, kind):
    if kind == "window":
        return cron.parse(value)
    if kind == "duration":
        return duration.parse(value)
    if kind == "limit":
        seconds = duration.parse(value)
        if not 0 < seconds <= 86400:
            raise ValueError("from 1 second to 1 day")
        return seconds
    if kind == "zone":
        return timezone.parse(value)
    if kind == "number":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise ValueError("a whole number, 0 or more")
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise ValueError("true or false")
    if kind == "texts":
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(t, str) for t in texts):
            return [t for t in texts if t]
        raise ValueError("a text or a list of texts")
    if not isinstance(value, str):
        raise ValueError("a text in quotes")
    if kind == "version":
        semver.parse(value)
    elif kind == "url":
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("begins with https:// or http://")
    elif kind != "text" and value not in kind.split():
        raise ValueError("one of " + ", ".join(kind.split()))
    return value

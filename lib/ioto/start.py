"""Puts an agent together from the files of a folder: the one place where the parts meet.

    from ioto.start import agent

    asyncio.run(agent().run())
"""

import asyncio
import gc
import os

# What an import leaves behind is collected before the next one: what stays then lies together, and 4 KiB in one piece
# can still be had when they are needed.
gc.collect()
from . import config
from .log import log, to

gc.collect()
from .clock import Clock
from .cloud import Cloud
from .http import Client
from .net import Resolver

gc.collect()
from . import download, pss  # noqa: F401

gc.collect()
from .agent import Agent

gc.collect()
from .record import Pair
from .watch import rWatch

_SAFE_S = 3600


def agent(folder="", listener=None):
    """The Agent for ioto.json and device.json in `folder` ("" or ending in /), on whatever this runs on.

    `listener(level, message)` hears what is logged, up to log.level. ConfigError says what is wrong in which file.
    """
    notes = []
    found = config.load(folder, notes)
    device = config.load_device(folder)
    to(listener, found["log.level"])
    for note in notes:
        log(*note)
    if not found["product"]:  # where Ioto has it
        found["product"] = str(device.get("product", ""))
    found = _built(found)
    found["state"] = folder + found["state"]
    try:
        os.mkdir(found["state"])
    except OSError:  # it is there, or the first save will say why not
        pass
    board = _board(folder, found)
    pair = Pair(found["state"] + "/record")
    link, servers = _link(found, board)
    resolver = Resolver(servers)
    clock = None  # somebody else's
    if found["ntp.server"]:
        clock = Clock(found, board, link, resolver)
    client = _client(folder, found, resolver, clock and clock.seen)
    cloud = Cloud(client, found, device, board.time_s)
    gc.collect()
    keys = [_public_key(folder, path) for path in found["update.keys"]]
    if not keys:
        log("warn", "no update.keys: unsigned images are installed")
    place = Pair(found["state"] + "/place")
    made = Agent(found, board, cloud, client, pair, place, link, clock, keys)
    if device["id"] == "auto":
        device["id"] = cloud.provision.get("id") or _kept_id(pair)
    return made


def safe_mode():
    """From boot.py: the agent without the application, for an hour, and then a reset: perhaps it was the power that failed so
    often. What is staged is applied.
    """
    rWatch("device:update", lambda data, staged: staged.apply())
    made = agent()
    made.error = "safe_mode"
    try:
        asyncio.run(asyncio.wait_for(made.run(), _SAFE_S))
    except asyncio.TimeoutError:
        made.board.reset()


def _built(found):
    """A firmware that has the agent frozen says itself what it is (firmware/manifest.py)."""
    try:
        from ioto_build import PRODUCT, VERSION
    except ImportError:
        return found
    found["product"] = PRODUCT
    found["version"] = VERSION
    return found


def _kept_id(pair):
    """Made once and kept in the record, from its first save on."""
    record = pair.load() or {}
    if not record.get("id"):
        record["id"] = config.make_id(os.urandom(10))
        pair.save_now(record)
    return record["id"]


def _board(folder, found):
    try:
        from . import board as esp32
    except ImportError:
        from . import linux

        limit_s = found["trial.limit"]
        return linux.Board(folder + found["update.slot"], found["update.slotSize"], folder + found["update.script"], limit_s)
    return esp32.Board()


def _link(found, board):
    """(link or None, where name servers are to be had: a function, see net.Resolver)."""
    given = found["network.dns"]
    if not found["wifi.ssid"]:
        return None, lambda: given or None
    from .wifi import Wifi

    wifi = Wifi(
        found["wifi.ssid"], found["wifi.password"], lambda on, why: log("info", "Wi-Fi %s %s" % (on, why)), found["wifi.timeout"] * 1000, board.reset,
        found["wifi.hostname"],
    )  # fmt: skip
    return wifi, lambda: given or wifi.servers()


def _client(folder, found, resolver, seen=None):
    limit_ms = found["network.timeout"] * 1000
    for key in ("builder", "api"):
        if found[key].startswith("http://"):
            if not found["tls.plain"]:
                raise _wrong(folder, key, "plain")
        elif found[key] and found["tls.verify"]:
            if found["update.transport"] == "urequests":
                raise _wrong(folder, key, "urequests")
            if not found["tls.ca"]:
                raise _wrong(folder, key, "tls.ca")
    if found["update.transport"] == "urequests":
        from . import blocking

        return blocking.Client(limit_ms, not found["tls.verify"], found["tls.plain"])
    return Client(resolver, _context(folder, found, seen), limit_ms, found["tls.plain"])


def _wrong(folder, *what):
    return config.wrong(folder + "ioto.json", *what)


def _context(folder, found, seen):
    """The TLS context: it verifies, unless `tls.verify` says in so many words that it does not. None: no https."""
    if not found["tls.verify"]:
        import tls

        log("warn", "tls.verify is false: anybody can be the cloud")
        made = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        made.verify_mode = tls.CERT_NONE
    elif found["tls.ca"]:
        from .certs import context

        try:
            made = context([folder + path for path in found["tls.ca"]], seen)
        except ValueError as e:
            raise _wrong(folder, "tls.ca", str(e))
    else:
        return None
    if found["tls.cert"]:
        try:
            made.load_cert_chain(pss.der(_raw(folder + found["tls.cert"])), pss.der(_raw(folder + found["tls.key"])))
        except (ValueError, OSError) as e:
            raise _wrong(folder, "tls.cert", "tls.cert", str(e))
    return made


def _public_key(folder, path):
    try:
        return pss.public_key(_raw(folder + path))
    except ValueError as e:
        raise _wrong(folder, "update.keys", "%s: %s" % (path, e))


def _raw(path):
    with open(path, "rb") as f:
        return f.read()

"""Create an agent from the files of a folder; the only module that connects all others. It is unloaded afterwards."""

import gc
import json
import os
import sys

from . import config
from .agent import Agent, link_changed
from .log import log, to
from .parts import Part
from .record import Pair
from .space import SPARE_BYTES, SPARES


def setup(folder, listener):
    """See start.agent()."""
    notes = []
    found = config.load(folder, notes)
    device = config.load_device(folder)
    to(listener, found["log.level"])
    for note in notes:
        log(*note)
    if not found["product"]:  # Ioto's agent reads it from device.json
        found["product"] = str(device.get("product", ""))
    _built(found)
    found["state"] = folder + found["state"]
    for key in ("tls.ca", "update.keys"):
        found[key] = [folder + path for path in found[key]]
    for key in ("tls.cert", "tls.key"):
        found[key] = found[key] and folder + found[key]
    gc.collect()
    try:
        os.mkdir(found["state"])
    except OSError:  # it exists, or the first save reports the error
        pass
    if not _is_reserved(found["state"]):
        with Part():
            _reserve(found["state"])
    _check_servers(folder, found)
    board = _board(folder, found)
    if not board.raw:
        _prepare(found["state"], board.woke)
        board.revision()  # read here while there is enough memory for revision.py; the result is cached
    pair = Pair(found["state"] + "/record")
    made = Agent(found, device, _provision(found), board, pair, _link(found, board))
    if device["id"] == "auto":
        device["id"] = made.provision.get("id") or _kept_id(pair)
    return made


def _prepare(path, woke):
    """Finish an interrupted replacement of the folder, and let littlefs search for free blocks.

    Both happen before other tasks run. A reset may have interrupted the replacement (folder.py). littlefs searches at
    the first write, which takes 25 ms or more. After a wake from deep sleep, the search is left to the first save: no
    other task would have to wait for it.
    """
    try:
        os.stat(path + ".new")
        with Part():
            _finish(path)
    except OSError:  # normally there is none
        pass
    if not woke:
        try:
            with open(path + "/room", "wb") as f:
                f.write(bytes(200))  # too large to be stored inline in the directory
        except OSError:  # the first save reports the error
            pass


def _finish(path):
    from .folder import steps

    for _ in steps(path):
        pass


def _is_reserved(state):
    """Do all spare files exist, each at full size? Reads the folder once."""
    try:
        return sum([each[0][:6] == "spare." and each[-1] == SPARE_BYTES for each in os.ilistdir(state)]) == SPARES
    except OSError:
        return False


def _reserve(state):
    from .space import reserve

    try:
        reserve(state)
    except OSError as e:
        log("warn", "%s: no room for spare files: %r" % (state, e))


def _built(found):
    """Use the product and version of the firmware if the agent is frozen into it (firmware/manifest.py)."""
    build = sys.modules.get("ioto_build")  # imported by prepare.py, if it exists
    if build:
        found["product"] = build.PRODUCT
        found["version"] = build.VERSION


def _kept_id(pair):
    """Return the id from the record; generate and save it the first time."""
    record = pair.load() or {}
    if not record.get("id"):
        record["id"] = config.make_id(os.urandom(10))
        pair.save_now(record)
    return record["id"]


def _provision(found):
    """The stored result of registration (`api`, `token`, `id` and others); {} if there is none."""
    try:
        with open(found["state"] + "/provision.json") as f:
            kept = json.load(f)
        return kept if isinstance(kept, dict) else {}
    except (OSError, ValueError):
        return {}


def _board(folder, found):
    try:
        from .board import Board
    except ImportError:
        from .linux import Board

        limit_s = found["trial.limit"]
        return Board(folder + found["update.slot"], found["update.slotSize"], folder + found["update.script"], limit_s)
    return Board()


def _link(found, board):
    if not found["wifi.ssid"]:
        return None
    from .wifi import Wifi

    return Wifi(
        found["wifi.ssid"],
        found["wifi.password"],
        link_changed,
        found["wifi.timeout"] * 1000,
        board.reset,
        found["wifi.hostname"],
    )


def _check_servers(folder, found):
    """ConfigError unless the settings say how each server is verified, and the files for this are valid."""
    for key in ("builder", "api"):
        if found[key].startswith("http://"):
            if not found["tls.plain"]:
                raise _wrong(folder, key, "plain")
        elif found[key] and found["tls.verify"]:
            if found["update.transport"] == "urequests":
                raise _wrong(folder, key, "urequests")
            if not found["tls.ca"]:
                raise _wrong(folder, key, "tls.ca")
    if not found["tls.verify"]:
        log("warn", "tls.verify is false: anyone can pose as the cloud")
    if not found["update.keys"]:
        log("warn", "no update.keys: unsigned images are installed")
    try:
        with Part():
            _read(found)
    except ValueError as e:
        raise _wrong(folder, *e.args)


def _read(found):
    from .certs import configured
    from .pss import public_keys

    configured(found)
    gc.collect()
    public_keys(found["update.keys"])


def _wrong(folder, *what):
    return config.wrong(folder + "ioto.json", *what)

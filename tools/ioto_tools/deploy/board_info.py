"""Query a board at its prompt, and interpret its answers with the agent's own modules."""

import base64
import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ioto import config, json5, window
from ioto.recall import decode

from ..image.esp import CHIPS, describe
from ..virtual_board import otadata
from .prompt import Prompt

_FACTS = """
import json, os, time, binascii, sys, gc
def b64(b):
    return binascii.b2a_base64(b).decode().strip()
def read(p):
    try:
        with open(p, "rb") as f:
            return b64(f.read())
    except OSError:
        return None
out = {"slots": [], "otadata": [], "running": None, "boot": None}
try:
    from esp32 import Partition
    out["running"] = Partition(Partition.RUNNING).info()[4]
    try:
        out["boot"] = Partition(Partition.BOOT).info()[4]
    except OSError:
        pass
    b = bytearray(288)
    for p in Partition.find(Partition.TYPE_APP):
        p.readblocks(0, b, 0)
        out["slots"].append([p.info()[4], p.info()[1], p.info()[2], p.info()[3], b64(b)])
    for p in Partition.find(Partition.TYPE_DATA, 0):
        for n in (0, 1):
            r = bytearray(32)
            p.readblocks(n, r, 0)
            out["otadata"].append(b64(r))
except ImportError:
    pass
out["files"] = {n: read(n) for n in %r}
try:
    import ioto
    out["agent"] = ioto.__version__
except (ImportError, AttributeError):
    out["agent"] = None
out["now"] = time.time() + (946684800 if time.gmtime(0)[0] == 2000 else 0)
gc.collect()
out["heap"] = [gc.mem_alloc(), gc.mem_free()]
s, _, n, free = os.statvfs("/")[:4]
out["disk"] = [s * free if free <= n else 0, s * n]  # see copy_files.py
print(json.dumps(out))
"""
_SETTINGS = ("ioto.json", "ioto.json5", "device.json", "device.json5")
_STATE = ("state/record.0", "state/record.1", "state/provision.json")
_EXISTING = """
import json, os
def there(p):
    try:
        return not os.stat(p)[0] & 0x4000
    except OSError:
        return False
print(json.dumps({"there": [p for p in %r if there(p)]}))
"""
_CLOCK_SET_S = 1704067200  # 2024-01-01: an earlier time means that the clock was never set


def query(board: Prompt) -> dict[str, Any]:
    """Query the board for everything that `ioto board info` shows."""
    who = board.identify()
    answer = board.run_json(_FACTS % (_SETTINGS + _STATE,))
    files = {name: base64.b64decode(raw) for name, raw in answer["files"].items() if raw is not None}
    named = _named(files)
    there = board.run_json(_EXISTING % named)["there"] if named else ()
    records = [r for r in (decode(files.get("state/record.%d" % i, b"")) for i in (0, 1)) if r]
    record = max(records, default=(0, None), key=lambda r: r[0])[1]
    slots = [_slot(row, record) for row in answer["slots"]]
    return {
        "micropython": ".".join(str(n) for n in who["version"][:3]),
        "machine": who["machine"],
        "agent": answer["agent"],
        "running": answer["running"],
        "boots_next": answer["boot"],
        "otadata": [str(otadata.Record.parse(base64.b64decode(raw))) for raw in answer["otadata"]],
        "rollback": _describe_rollback(answer),
        "slots": slots,
        "heap": {"used": answer["heap"][0], "free": answer["heap"][1]},
        "files": {"free": answer["disk"][0], "size": answer["disk"][1]},
        "clock": answer["now"] if answer["now"] >= _CLOCK_SET_S else None,
        "registered": "state/provision.json" in files,
        **_read_settings(files, there, record, answer),
    }


def _slot(row: list[Any], record: dict[str, Any] | None) -> dict[str, Any]:
    label, _, address, size, raw = row
    image = describe(base64.b64decode(raw))
    given = (record or {}).get("slots", {}).get(label)
    return {
        "label": label, "address": address, "size": size, "image": image or None,
        "chip": image and CHIPS.get(struct.unpack_from("<H", base64.b64decode(raw), 12)[0]),
        "version": given and given["version"],
    }  # fmt: skip


def _describe_rollback(answer: dict[str, Any]) -> str:
    """Describe whether the bootloader rolls back by itself. Only a trial proves it."""
    if len(answer["slots"]) < 2 or not answer["otadata"]:
        return "no: the board does not have two update slots; `ioto flash` creates them"
    states = [otadata.Record.parse(base64.b64decode(raw)).state for raw in answer["otadata"]]
    if any(s in (otadata.NEW, otadata.PENDING_VERIFY, otadata.ABORTED) for s in states):
        return "yes: otadata shows a trial"
    if answer["running"] == answer["boot"] and otadata.UNDEFINED in states and otadata.VALID not in states:
        return "perhaps not: the image was installed without a trial"
    return "not seen yet; MicroPython's own builds enable it"


def _named(files: dict[str, bytes]) -> list[str]:
    """All texts in the settings that may be names of files on the board, such as authorities and keys."""
    found = set()

    def walk(value: Any) -> None:
        if isinstance(value, (dict, list)):
            for inner in value.values() if isinstance(value, dict) else value:
                walk(inner)
        elif isinstance(value, str) and 0 < len(value.lstrip("@/")) < 128 and ".." not in value and "\0" not in value:
            found.add(value.lstrip("@/"))

    for name in ("ioto.json", "ioto.json5"):
        try:
            walk(json5.loads(files.get(name, b"").decode()))
        except ValueError:  # config.load() reports the error
            pass
    return sorted(found)


def _read_settings(
    files: dict[str, bytes], there: Iterable[str], record: dict[str, Any] | None, answer: dict[str, Any]
) -> dict[str, Any]:
    """The board's settings as the agent reads them.

    `there` are the files that the settings name and that exist on the board. Their content is not read.
    """
    with TemporaryDirectory() as folder:
        for name in (*_SETTINGS, *there):
            path = Path(folder) / name
            if name in files or name in there:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files.get(name, b""))
        try:
            found = config.load(folder + "/")
        except config.ConfigError as e:
            return {"configuration": str(e).replace(folder + "/", "")}
    running = (record or {}).get("slots", {}).get(answer["running"] or "file")
    now = answer["now"]
    windows = {}
    for key in ("update.schedule", "update.apply"):
        opens = window.next_open(found[key], now, found["timezone"]) if now >= _CLOCK_SET_S else None
        windows[key] = {"window": found[key][0], "opens": opens and max(opens, now), "open": opens == now}
    return {
        "configuration": None,
        "product": found["product"],
        "version": running["version"] if running else found["version"],
        "last_check_in": (record or {}).get("tried") or None,
        "failures": (record or {}).get("failures", 0),
        "phase": (record or {}).get("phase", "idle"),
        "windows": windows,
    }


def format_lines(found: dict[str, Any]) -> Iterator[str]:
    """Describe the result of query() in lines of text."""
    yield "%s, MicroPython %s, agent %s" % (
        found["machine"] or "board",
        found["micropython"],
        found["agent"] or "none: `ioto deploy` installs it",
    )
    for slot in found["slots"]:
        image = slot["image"]
        holds = "ELF %s, %s" % (image["elf"][:12], image["date"]) if image else "no bootable image"
        marks = " (runs)" if slot["label"] == found["running"] else ""
        marks += " (boots next)" if slot["label"] == found["boots_next"] and not marks else ""
        yield "%-10s 0x%06x %8d bytes  %s%s%s" % (
            slot["label"],
            slot["address"],
            slot["size"],
            holds,
            slot["version"] and ", version " + slot["version"] or "",
            marks,
        )
    yield "otadata    %s" % (" ".join(found["otadata"]) or "none")
    yield "rollback   %s" % found["rollback"]
    if found["configuration"]:
        yield "settings   %s" % found["configuration"]
    else:
        yield "version    %s of product %s, phase %s" % (found["version"], found["product"], found["phase"])
        yield "check-in   last %s, %d failures since" % (_format_time(found["last_check_in"]), found["failures"])
        for key, window in found["windows"].items():
            opens = (
                "open now"
                if window["open"]
                else "opens %s" % _format_time(window["opens"])
                if window["opens"]
                else "opening unknown"
            )
            yield "%-10s %s (%s)" % (key.split(".")[1], window["window"], opens)
    yield "clock      %s" % (_format_time(found["clock"]) if found["clock"] else "never set")
    yield "heap       %d bytes used, %d free; files %d of %d bytes free" % (
        found["heap"]["used"], found["heap"]["free"], found["files"]["free"], found["files"]["size"])  # fmt: skip


def _format_time(unix_s: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_s)) if unix_s else "never"


def as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2)

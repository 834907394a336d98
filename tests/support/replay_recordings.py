"""Replay a recorded scenario of a real ESP32 firmware on the virtual board.

Steps that are code run as MicroPython on the board; other steps are events: `power on`, `power cut`, `pin reset` and
`soft reset`. After each step, the state of the board is recorded: the running slot, the next slot to boot, the otadata
records. The virtual board must make the same observations as the real firmware, in the same order; it may make more.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field

from ioto_tools.image import layout
from ioto_tools.image.corrupt_images import corrupt, with_version
from ioto_tools.virtual_board.board import HARD, PWRON, Board

SLOT = 0x1A0000
VERSIONS = {"a": "v1.25.0", "b": "v1.25.1", "c": "v1.25.2"}
FAULTS = {"crash_panic": "crash", "crash_early": "hang", "hang": "hang"}

MAIN = """
import json, machine, sys, time
from esp32 import Partition as P
names = {"P": P, "machine": machine}

def name(f):
    try:
        return f().info()[4]
    except Exception as e:
        return repr(e)

def where():
    return {
        "reset_cause": machine.reset_cause(),
        "running": name(lambda: P(P.RUNNING)),
        "next": name(lambda: P(P.RUNNING).get_next_update()),
        "boot": name(lambda: P(P.BOOT)),
    }

def plain(x):
    if x is None or isinstance(x, (bool, int, str)):
        return x
    if isinstance(x, (list, tuple)):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    return repr(x)

def q(f, *args):
    try:
        return f(*args)
    except Exception as e:
        return repr(e)

names["q"] = q
names["where"] = where
try:
    n = int(open("boot.txt").read())
except OSError:
    n = 0
with open("boot.txt", "w") as f:
    f.write(str(n + 1))
print("STATE", json.dumps(where()))
for step in json.load(open("steps.json"))[n]:
    print("STEP", json.dumps(step))
    try:
        try:
            code = compile(step, "step", "eval")
        except SyntaxError:
            code = compile(step, "step", "exec")
        out = []
        names["print"] = lambda *a: out.append(" ".join(str(x) for x in a))
        result = eval(code, names)
        if out:
            result = out[-1]
    except Exception as e:
        result = repr(e)
    print("RESULT", json.dumps(plain(result)))
    print("STATE", json.dumps(where()))
print("DONE")
"""

# Steps that the recordings describe in words, and the code for each.
WORDS = {
    "print what is logged": "q(P('ota_1').set_boot)",
    "the old app is gone now; reset without mark": "machine.reset()",
    "machine.reset(); wait 20 s": "machine.reset()",
    "machine.reset(); wait 25 s": "machine.reset()",
    "soft reset": "machine.soft_reset()",
    "machine.WDT(timeout=300) then set_boot()": "w=machine.WDT(timeout=300); P('ota_1').set_boot()",
    "n.set_i32('late',7) without commit, then power cut": "n.set_i32('late',7)",
    "r.writeblocks(415, bytes(4096)): the last block of the running slot": "r.writeblocks(415, bytes(4096))",
}
POWER = ("power on", "power on (watchdogs running)", "power cut", "pin reset")


@dataclass
class Observed:
    """The observations of the virtual board, in order."""

    states: list = field(default_factory=list)
    results: list = field(default_factory=list)
    ops: list = field(default_factory=list)  # a list of flash operations for each step
    messages: list = field(default_factory=list)
    otadata: list = field(default_factory=list)


def image(kind, application):
    if kind == "blank":
        return b""
    if kind in FAULTS:
        return with_version(application, kind)
    return (
        with_version(application, VERSIONS[kind])
        if kind in "bc"
        else application
        if kind == "a"
        else corrupt(application, kind, SLOT)
    )


def segments(steps):
    """[(step that starts the board, [[code, ...] of each boot])]; a step that resets the board ends a boot."""
    found = []
    for step in steps:
        if step in POWER:
            found.append((step, [[]]))
            continue
        code = WORDS.get(step, step)
        found[-1][1][-1].append(code)
        if re.search(r"machine\.(reset|soft_reset|deepsleep)\(|WDT\(timeout=(2000|300)\)", code):
            found[-1][1].append([])
    return found


def coalesce(ops):
    """Join adjacent operations of one kind: the chip's driver splits them into pieces of 64 bytes, ours does not."""
    out = []
    for kind, address, n, data in ops:
        if out and out[-1][0] == kind and out[-1][1] + out[-1][2] == address:
            last = out[-1]
            joined = last[3] + data if last[3] is not None and data is not None else None
            out[-1] = (kind, last[1], last[2] + n, joined)
        else:
            out.append((kind, address, n, data))
    return out


def replay(scenario, application, folder):
    """Run the scenario and return an Observed."""
    seen = Observed()
    stock = "stock partition table" in scenario["steps"][0]
    rows = layout.stock() if stock else layout.ota(4 << 20, SLOT)
    flash = dict(re.findall(r"(ota_\d)=(\w+)", scenario["steps"][0])) or {"factory": "a"}
    images = {label: image(kind, application)[:SLOT] for label, kind in flash.items()}
    boots = segments(scenario["steps"][1:])
    scripts = [script for _, parts in boots for script in parts]
    files = {"main.py": MAIN.encode(), "steps.json": json.dumps(scripts + [[]] * 8).encode()}
    board = Board.create(
        folder / "board.flash", images, files, rows=rows, watchdogs="watchdogs" in " ".join(scenario["steps"])
    )
    for label, kind in flash.items():
        if kind in FAULTS:
            board.faults[hashlib.sha256(images[label]).hexdigest()] = FAULTS[kind]
    words = re.search(r"otadata=(.+)$", scenario["steps"][0])
    if words:
        board.set_otadata(words[1])
    kinds = dict(flash)
    for how, parts in boots:
        _segment(board, seen, PWRON if how.startswith("power") else HARD, len(parts), kinds, stock)
    board.close()
    return seen


def _segment(board, seen, cause, programs, kinds, stock):
    """Run from one power-on or pin reset until `programs` scripts are done."""
    vfs = board.partition("vfs").address
    mark = [0]

    def ops():
        found = [o for o in board.flash.trace.ops[mark[0] :] if o[1] < vfs]
        mark[0] = len(board.flash.trace.ops)
        return coalesce(found)

    def line(text):
        word, _, rest = text.partition(" ")
        if word == "STATE":
            state = json.loads(rest)
            if not stock:
                state["otadata"] = board.describe_otadata()
            state["version"] = VERSIONS.get(kinds.get(state["running"], "a"), "v1.25.0")
            seen.states.append(state)
            seen.ops.append(ops())
        elif word == "RESULT":
            seen.results.append(json.loads(rest))
        elif word == "DONE":
            done[0] += 1
        return done[0] >= programs

    done = [0]
    run = board.run(until_s=30, stop=line, cause=cause)
    seen.ops.append(ops())
    for boot in run.boots:
        seen.messages.append(boot.messages)
    if not stock:
        seen.otadata.append(board.describe_otadata())

"""Copy changed files to a board through its prompt; each is replaced as a whole.

New files are written to `deploy.new/`, verified by their hashes, and only then renamed into place. `deployed.json` on
the board contains the hashes of the last deployment: a file with another hash was changed on the board, and is kept.
"""

import ast
import difflib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from .prompt import Prompt, PromptError

STAGING = "deploy.new"
HASHES = "deployed.json"
AGENT = "lib/ioto/"
STATE = "state"
# The agent's record, registration and spare files, a block each; without them, a board can't start.
STATE_BYTES = 48 * 1024
_BLOCK = 4096
Progress = Callable[[str, int], None]  # called with a file's name and the number of bytes just written

# littlefs counts some blocks twice, so MicroPython's number of free blocks underflows when the disk is nearly full.
_FILES = """
import os, json, hashlib
def h(p):
    s = hashlib.sha256()
    b = bytearray(512)
    with open(p, "rb") as f:
        while True:
            n = f.readinto(b)
            if not n:
                break
            s.update(memoryview(b)[:n])
    return "".join("%%02x" %% x for x in s.digest())
def walk(d, out):
    for e in os.ilistdir(d or "/"):
        p = d + e[0]
        if e[1] == 0x4000:
            if p not in %r:
                walk(p + "/", out)
        else:
            out[p] = h(p), os.stat(p)[6]
    return out
def used(d):
    try:
        return sum(-(-e[3] // 4096) + 1 for e in os.ilistdir(d))
    except OSError:
        return 0
s, _, n, free = os.statvfs("/")[:4]
print(json.dumps({"files": walk(%r, {}), "free": s * free if free <= n else 0, "state": used(%r)}))
"""
# rm(PATH) for a board: deletes a file, or a folder with its content; a missing one is ignored.
REMOVE = """
import os
def rm(p):
    try:
        if os.stat(p)[0] & 0x4000:
            for e in os.ilistdir(p):
                rm(p + "/" + e[0])
            os.rmdir(p)
        else:
            os.remove(p)
    except OSError:
        pass
"""
_PLACE = """
import os
def place(a, b):
    parts = b.split("/")[:-1]
    for i in range(len(parts)):
        try:
            os.mkdir("/".join(parts[:i + 1]))
        except OSError:
            pass
    os.rename(a, b)
"""


class CopyError(ValueError):
    """Nothing on the board was changed; the text gives the reason."""


@dataclass
class Plan:
    """What a deploy changes on the board."""

    write: dict[str, bytes] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)  # {path: diff} of files that were changed on the board
    same: int = 0  # number of equal files
    deployed: dict[str, str] = field(default_factory=dict)  # {path: hash}, the new content of HASHES


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def hashes(files: dict[str, bytes]) -> bytes:
    """The content of HASHES for {path: bytes}."""
    return json.dumps({name: digest(raw) for name, raw in sorted(files.items())}).encode()


def check_mpy_version(files: dict[str, bytes], version: int) -> None:
    """CopyError if a board cannot load these files; `version` is the .mpy version that it loads, 0 if it loads none."""
    for name, raw in files.items():
        if name.endswith(".mpy") and raw[1] != version:
            raise CopyError(
                "%s is a .mpy file of version %d, but this MicroPython loads %s: use --source for .py files"
                % (name, raw[1], version or "none")
            )


def plan(board: Prompt, files: dict[str, bytes], force: bool = False) -> Plan:
    """The Plan to copy `files` {path: bytes} to the board; CopyError if they don't fit."""
    found = board.run_json(_FILES % ((STAGING, STATE), "", STATE))
    there = {name: hash for name, (hash, _) in found["files"].items()}
    before = _last_deployed(board, there)
    made = Plan()
    for name, raw in sorted(files.items()):
        new = digest(raw)
        if there.get(name) == new:
            made.same += 1
        elif _is_changed_on_board(name, there, before) and not force:
            made.kept[name] = _diff(board, name, raw)
            continue
        else:
            made.write[name] = raw
        made.deployed[name] = new
    agents = {name.rsplit(".", 1)[0] for name in files if name.startswith(AGENT)}
    # Files that the new agent does not have are removed. A .py file must not stay beside the new .mpy file: MicroPython
    # would import the .py file.
    made.remove = sorted(n for n in there if n.startswith(AGENT) and n not in files and agents)
    blocks = sum(_blocks(len(raw)) for raw in made.write.values())
    folders = 1 + len(_folders(made.write) - _folders(there))  # 1 for STAGING; each folder takes two blocks
    need = (blocks + 2 * folders) * _BLOCK
    if need > found["free"]:
        raise CopyError(
            "the board's file system has %d bytes free, but %d files need %d: remove files from the board first"
            % (found["free"], len(made.write), need)
        )
    freed = sum(_blocks(size) for name, (_, size) in found["files"].items() if name in (*made.write, *made.remove))
    _check_state(found["free"], (freed - blocks - 2 * (folders - 1)) * _BLOCK, found["state"] * _BLOCK)
    return made


def _blocks(size: int) -> int:
    """The number of blocks of a file, at most."""
    return -(-size // _BLOCK) + 1


def _check_state(free: int, change: int, state: int) -> None:
    """CopyError if a deploy, which changes the free space by `change`, would leave too little for the agent's state.

    `state`: the space that the state takes already.
    """
    if change < 0 and free + change + state < STATE_BYTES:
        raise CopyError(
            "the board's file system would have %d bytes free afterwards, but the agent's state needs %d: remove files "
            "from the board first, or deploy without --source" % (free + change, STATE_BYTES - state)
        )


def _folders(names: Iterable[str]) -> set[str]:
    return {name[:i] for name in names for i, c in enumerate(name) if c == "/"}


def apply(board: Prompt, made: Plan, progress: Progress = lambda name, n: None) -> None:
    """Write the files to STAGING, verify and rename them.

    If the connection breaks, no file on the board is incomplete.
    """
    board.run(REMOVE + "rm(%r)\nos.mkdir(%r)\n" % (STAGING, STAGING))
    names = sorted(made.write)
    try:
        _stage(board, made, names, progress)
    except (CopyError, PromptError):
        with suppress(PromptError):  # the connection was lost; the next deploy removes STAGING
            board.run("rm(%r)\n" % STAGING)
        raise
    board.run(_PLACE)
    for i, name in enumerate(names):
        board.run("place(%r, %r)\n" % ("%s/%d" % (STAGING, i), name))
    for name in made.remove:
        board.run("rm(%r)\n" % name)
    board.write("%s/list" % STAGING, json.dumps(made.deployed).encode())
    board.run("place(%r, %r)\nrm(%r)\n" % (STAGING + "/list", HASHES, STAGING))


def _stage(board: Prompt, made: Plan, names: list[str], progress: Progress) -> None:
    for i, name in enumerate(names):
        board.write("%s/%d" % (STAGING, i), made.write[name], functools.partial(progress, name))
    found = board.run_json(_FILES % ((), STAGING + "/", STATE))["files"]
    for i, name in enumerate(names):
        if found.get("%s/%d" % (STAGING, i), [""])[0] != digest(made.write[name]):
            raise CopyError("%s was corrupted on the way to the board; nothing was changed: try again" % name)


def _last_deployed(board: Prompt, there: dict[str, str]) -> dict[str, str]:
    if HASHES not in there:
        return {}
    try:
        return json.loads(board.run("print(open(%r).read())" % HASHES))
    except ValueError:
        return {}


def _is_changed_on_board(name: str, there: dict[str, str], before: dict[str, str]) -> bool:
    """True if the file was changed on the board since the last deploy; the agent's files never count as changed."""
    return name in there and not name.startswith(AGENT) and there[name] != before.get(name)


def _diff(board: Prompt, name: str, raw: bytes) -> str:
    old = board.run("import sys\nwith open(%r, 'rb') as f:\n    print(repr(f.read()))" % name).strip()
    try:
        a, b = ast.literal_eval(old).decode().splitlines(), raw.decode().splitlines()
    except ValueError:
        return "binary files differ"
    return "\n".join(difflib.unified_diff(a, b, "%s on the board" % name, "%s to deploy" % name, lineterm=""))

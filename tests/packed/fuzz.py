"""Fuzz both decoders of packed files with atheris, which has wheels for Linux on x86_64.

`python -m tests.packed.fuzz -atheris_runs=100000` starts from corpus.txt, and ends at the first difference or
exception. It writes that input to a file `crash-*`; `python -m tests.packed.fuzz crash-*` repeats it. With a folder as
an argument, it keeps there what it finds.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import atheris

with atheris.instrument_imports(include=["ioto", "ioto_tools.image", "tests.packed.run_unpack"]):
    from tests.packed import recipe


def main():
    folder = tempfile.mkdtemp()
    for n, raw in enumerate(recipe.corpus()):
        Path(folder, str(n)).write_bytes(raw)
    files = any(os.path.isfile(each) for each in sys.argv[1:])
    atheris.Setup(sys.argv + [folder] * (not files), recipe.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Load and unload parts of the agent, because the application needs the heap.

A part is the set of modules that a step imports. It is loaded when the step starts and unloaded afterwards. A reference
to a function or class keeps its module in memory, so modules that stay loaded store only plain data.
"""

import gc
import sys


def loaded():
    """Names of the agent's loaded modules."""
    return [name for name in sys.modules if name[:5] == "ioto."]


def release(kept):
    """Unload the agent's modules that are not in `kept`, a list from loaded(), and free their memory."""
    for name in loaded():
        if name not in kept:
            module = sys.modules.pop(name)
            if getattr(sys.modules["ioto"], name[5:], None) is module:
                delattr(sys.modules["ioto"], name[5:])
    gc.collect()


class Part:
    """`with Part():`: at its end, the modules that were imported in it are unloaded."""

    def __enter__(self):
        self._kept = loaded()

    def __exit__(self, *error):
        release(self._kept)

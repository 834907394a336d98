"""Load and unload parts of the agent, because the application needs the heap.

Each part is loaded when its step starts and unloaded afterwards. A part is the set of modules that a step imports.
References keep modules in memory, so resident modules store only plain data.
"""

import gc
import sys


def loaded():
    """Names of the agent's loaded modules."""
    return [name for name in sys.modules if name[:5] == "ioto."]


def release(kept):
    """Unload the agent's modules that are not in `kept`, a list from loaded(), and collect their memory."""
    for name in loaded():
        if name not in kept:
            module = sys.modules.pop(name)
            if getattr(sys.modules["ioto"], name[5:], None) is module:
                delattr(sys.modules["ioto"], name[5:])
    gc.collect()


class Part:
    """`with Part():` unloads at its end the modules imported in it."""

    def __enter__(self):
        self._kept = loaded()

    def __exit__(self, *error):
        release(self._kept)

"""The agent is loaded in parts, each when its phase begins, and released afterwards: the application needs the heap.

A part is whatever modules a phase imports. What refers to them keeps them, so what stays keeps plain data only.
"""

import gc
import sys


def loaded():
    """Names of the agent's modules that are loaded."""
    return [name for name in sys.modules if name[:5] == "ioto."]


def release(kept):
    """Forget the modules that are not in `kept`, a list of loaded(), and collect what they took."""
    for name in loaded():
        if name not in kept:
            module = sys.modules.pop(name)
            if getattr(sys.modules["ioto"], name[5:], None) is module:
                delattr(sys.modules["ioto"], name[5:])
    gc.collect()


class Part:
    """`with Part():` releases at its end what is imported in it."""

    def __enter__(self):
        self._kept = loaded()

    def __exit__(self, *error):
        release(self._kept)

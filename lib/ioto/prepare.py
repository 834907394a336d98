"""What a start does before the agent is imported, while the heap is empty. Released when it is done."""

import gc
import os
import sys

# The port's own modules that the agent uses, and what firmware/manifest.py freezes. An import of one of the first would look for
# a file of that name in each folder of sys.path: 90 reads, in every part anew.
_BUILT_IN = "binascii errno esp32 gc hashlib io json machine network os socket struct sys time tls ioto_build"


def prepare(folder):
    """For start.agent() with the configuration in `folder`."""
    _import_built_in()
    gc.collect()
    _start_radio(folder)


def _import_built_in():
    """One look into each folder says which of the names an application has files for; all others are not looked for in files."""
    paths = sys.path[:]
    names = []
    for path in paths:
        try:
            names.extend([each[0].split(".")[0] for each in os.ilistdir(path or ".")])
        except OSError:  # .frozen, and folders that are not there
            pass
    try:
        for name in _BUILT_IN.split():
            sys.path[:] = paths if name in names else [".frozen"]
            try:
                sys.modules[name] = __import__(name)
            except ImportError:  # the port has none
                pass
    finally:
        sys.path[:] = paths


def _start_radio(folder):
    """Where ioto.json names a Wi-Fi, its driver gets its 35 KB before the agent takes any; wifi.py tries again."""
    try:
        with open(folder + "ioto.json") as f:
            if '"ssid"' not in f.read():
                return
        from network import STA_IF, WLAN

        WLAN(STA_IF)
    except (ImportError, OSError, RuntimeError, MemoryError):
        pass

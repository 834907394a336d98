"""Prepare a start before the agent is imported, while the heap is empty. This module is unloaded afterwards."""

import gc
import os
import sys

# The port's built-in modules that the agent uses, and the module frozen by firmware/manifest.py. An import of a
# built-in module would search each folder of sys.path for a file of that name: 90 reads, repeated in every part.
_BUILT_IN = "binascii errno esp32 gc hashlib io json machine network os socket struct sys time tls ioto_build"


def prepare(folder):
    """Prepare start.agent() with the configuration in `folder`."""
    _import_built_in()
    gc.collect()
    _start_radio(folder)


def _import_built_in():
    """Import the built-in modules.

    Each folder is listed once. sys.path is searched only for names that one of the folders contains.
    """
    paths = sys.path[:]
    names = []
    for path in paths:
        try:
            names.extend([each[0].split(".")[0] for each in os.ilistdir(path or ".")])
        except OSError:  # .frozen, and folders that do not exist
            pass
    try:
        for name in _BUILT_IN.split():
            sys.path[:] = paths if name in names else [".frozen"]
            try:
                sys.modules[name] = __import__(name)
            except ImportError:  # not in this port
                pass
    finally:
        sys.path[:] = paths


def _start_radio(folder):
    """If ioto.json has a Wi-Fi network, allocate the driver's 35 KB before the agent uses memory.

    wifi.py tries again on failure.
    """
    try:
        with open(folder + "ioto.json") as f:
            if '"ssid"' not in f.read():
                return
        from network import STA_IF, WLAN

        WLAN(STA_IF)
    except (ImportError, OSError, RuntimeError, MemoryError):
        pass

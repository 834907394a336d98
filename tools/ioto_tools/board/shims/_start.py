"""What the port's C code does at start: mount the file system, run boot.py and main.py, then sit at the prompt."""

import sys

sys.path.insert(0, sys.argv[0].rsplit("/", 1)[0])

import _bus  # noqa: E402  the shims first, while the host's files can still be read
import asyncio  # noqa: E402, F401
import asyncio.core  # noqa: E402, F401
import asyncio.event  # noqa: E402, F401
import asyncio.funcs  # noqa: E402, F401
import asyncio.lock  # noqa: E402, F401
import asyncio.stream  # noqa: E402, F401
import binascii  # noqa: E402, F401
import errno  # noqa: E402, F401
import os  # noqa: E402
import esp  # noqa: E402, F401
import esp32  # noqa: E402
import gc  # noqa: E402
import hashlib  # noqa: E402, F401
import io  # noqa: E402, F401
import json  # noqa: E402, F401
import _repl  # noqa: E402
import machine  # noqa: E402, F401
import network  # noqa: E402, F401
import select  # noqa: E402, F401
import socket  # noqa: E402, F401
import struct  # noqa: E402, F401
import time  # noqa: E402, F401
import vfs  # noqa: E402

fault = sys.argv[3]
platform = "esp32"


def mount():
    flash = esp32.Partition("vfs")
    vfs.umount("/")
    try:
        files = vfs.VfsLfs2(flash)
    except OSError:  # as the port's inisetup does on an empty flash
        vfs.VfsLfs2.mkfs(flash)
        files = vfs.VfsLfs2(flash)
    vfs.mount(files, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]


def run(name, scope):
    """False if it raised, or was interrupted."""
    try:
        _bus.release()
        with open(name) as f:
            source = f.read()
    except OSError:
        return True
    except KeyboardInterrupt:
        return False
    try:
        exec(compile(source, name, "exec"), scope)
        return True
    except SystemExit:
        machine.soft_reset()
    except BaseException as e:  # KeyboardInterrupt too
        sys.print_exception(e)
        return False


mount()
gc.collect()
# The chip's drivers are in C and leave no garbage; ours do, at each read of the flash. Collected often, it does not
# scatter what the program keeps all over the heap.
gc.threshold(16384)
scope = {"__name__": "__main__"}
try:
    well = run("boot.py", scope)
    if fault == "selftest":
        from ioto import rWatch

        rWatch("device:selftest", lambda data, arg: False)
    elif fault == "exception":
        print("ValueError: broken application")
        _bus.call(27)
    if well and not _repl.raw_mode():  # as the port's main.c has it
        run("main.py", scope)
except KeyboardInterrupt:  # between the two
    pass
_repl.run(scope)

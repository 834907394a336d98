"""The start of the port, which is C on a chip: mount the file system, run boot.py, main.py and then the prompt."""

import asyncio
import asyncio.core
import asyncio.event
import asyncio.funcs
import asyncio.lock
import asyncio.stream
import binascii
import errno
import gc
import hashlib
import io
import json
import os
import select
import socket
import struct
import sys
import time

import _bus  # all shims, before they are unmounted (spawner.py)
import _faults
import _heap
import _repl
import _threads
import _tls
import esp
import esp32
import machine
import micropython
import network
import vfs


# The module, with the kbd_intr() of the board's serial port.
class Micropython:
    def __getattr__(self, name):
        return getattr(micropython, name)

    @staticmethod
    def kbd_intr(char):
        _bus.call(31, char)


sys.modules["micropython"] = Micropython()
sys.modules["gc"] = _heap.Gc()
sys.modules["tls"] = _tls.Tls()
sys.modules["_thread"] = _threads
fault = sys.argv[3]
platform = "esp32"
FROZEN = "/.firmware/"  # the frozen modules; imported before lib/ and before files of the same name


# The frozen modules, as a block device on a file of the host.
class Firmware:
    def __init__(self, path):
        self.file = open(int(path), "rb")

    def readblocks(self, n, buf, offset=0):
        self.file.seek(n * 4096 + offset)
        self.file.readinto(buf)

    def writeblocks(self, n, buf, offset=0):
        raise OSError(30)

    def ioctl(self, op, arg):
        return {4: 256, 5: 4096}.get(op, 0)


# The partition with the file system, as in the port's flashbdev.py; None if there is none.
def flashbdev():
    found = esp32.Partition.find(1, label="vfs") or esp32.Partition.find(1, label="ffat", block_size=512)
    return found[0] if found else None


# Mount the file system like the port's _boot.py, or run a frozen _boot.py instead.
def mount():
    flash = flashbdev()
    firmware = sys.argv[5] and vfs.VfsLfs2(Firmware(sys.argv[5]))
    vfs.umount("/.shims")
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    if firmware:
        vfs.mount(firmware, FROZEN[:-1], readonly=True)
        sys.path.insert(1, FROZEN[:-1])
        sys.modules["flashbdev"] = type("flashbdev", (), {"bdev": flash})
        exec(compile(source_of("_boot.py"), "_boot.py", "exec"), {"__name__": "__main__"})  # Ctrl-C must wait
    elif flash:
        try:
            vfs.mount(flash, "/")
        except OSError:
            inisetup(flash)
    os.chdir("/")


def inisetup(flash):
    block = bytearray(4096)
    flash.readblocks(0, block)
    while block.count(b"\xff") < 4096:
        print("The filesystem appears to be corrupted.")
        time.sleep(3)
    (vfs.VfsFat if flash.info()[4] == "ffat" else vfs.VfsLfs2).mkfs(flash)
    vfs.mount(flash, "/")


# The text of the frozen module, or of the file; None if there is neither.
def source_of(name):
    for path in (FROZEN + name, name):
        try:
            with open(path) as f:
                return f.read()
        except OSError:
            pass


# Run a file; False if it raised an exception or was interrupted.
def run(name, scope):
    try:
        _bus.release()
        source = source_of(name)
    except KeyboardInterrupt:
        return False
    if source is None:
        return True
    try:
        exec(compile(source, name, "exec"), scope)
        return True
    except SystemExit:
        machine.soft_reset()
    except BaseException as e:  # also KeyboardInterrupt
        sys.print_exception(e)
        return False


mount()
gc.collect()
# The chip's drivers are C and leave no garbage; these leave some at each read of the flash. It is collected often, so
# that it does not fragment the heap of the program.
gc.threshold(16384)
scope = {"__name__": "__main__"}
_heap.begin(int(sys.argv[6]))
try:
    well = run("boot.py", scope)
    if fault == "selftest":
        from ioto import rWatch

        rWatch("device:selftest", lambda data, arg: False)
    elif fault == "exception":
        print("ValueError: broken application")
        _bus.call(27)
    if well and not _repl.raw_mode():  # like the port's main.c
        run("main.py", scope)
except KeyboardInterrupt:  # between boot.py and main.py
    pass
_repl.run(scope)

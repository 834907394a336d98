"""What the port's C code does at start: mount the file system, run boot.py and main.py, then sit at the prompt."""

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

import _bus  # the shims first, while they are mounted (spawner.py)
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


class Micropython:
    """The module, with Ctrl-C as the serial port of the board has it."""

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
FROZEN = "/.firmware/"  # what the firmware has frozen; found before lib/ and before files of the same name


class Firmware:
    """The modules of the firmware, as a block device on a file of the host's."""

    def __init__(self, path):
        self.file = open(int(path), "rb")

    def readblocks(self, n, buf, offset=0):
        self.file.seek(n * 4096 + offset)
        self.file.readinto(buf)

    def writeblocks(self, n, buf, offset=0):
        raise OSError(30)

    def ioctl(self, op, arg):
        return {4: 256, 5: 4096}.get(op, 0)


def flashbdev():
    """The partition with the file system, as the port's flashbdev.py has it; None if there is none."""
    found = esp32.Partition.find(1, label="vfs") or esp32.Partition.find(1, label="ffat", block_size=512)
    return found[0] if found else None


def mount():
    """As the port's _boot.py, or the frozen one in its place."""
    flash = flashbdev()
    firmware = sys.argv[5] and vfs.VfsLfs2(Firmware(sys.argv[5]))
    vfs.umount("/.shims")
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    if firmware:
        vfs.mount(firmware, FROZEN[:-1], readonly=True)
        sys.path.insert(1, FROZEN[:-1])
        sys.modules["flashbdev"] = type("flashbdev", (), {"bdev": flash})
        exec(compile(source_of("_boot.py"), "_boot.py", "exec"), {"__name__": "__main__"})  # Ctrl-C has to wait
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


def source_of(name):
    """Of the frozen one, or of the file; None where there is neither."""
    for path in (FROZEN + name, name):
        try:
            with open(path) as f:
                return f.read()
        except OSError:
            pass


def run(name, scope):
    """False if it raised, or was interrupted."""
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
    except BaseException as e:  # KeyboardInterrupt too
        sys.print_exception(e)
        return False


mount()
gc.collect()
# The chip's drivers are in C and leave no garbage; ours do, at each read of the flash. Collected often, it does not
# scatter what the program keeps all over the heap.
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
    if well and not _repl.raw_mode():  # as the port's main.c has it
        run("main.py", scope)
except KeyboardInterrupt:  # between the two
    pass
_repl.run(scope)

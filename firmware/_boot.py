"""Frozen, in the place of MicroPython's own: mounts the file system, whatever state it is in.

One that can't be mounted is made anew, where MicroPython would print a message for ever; and what the device can't be
without (`ioto freeze` has it in ioto_build.py) is put back where it is missing. What else was in a broken file system
is lost.
"""

import gc
import os

import vfs
from flashbdev import bdev


def mount():
    for _ in range(3):  # a read may fail once
        try:
            return vfs.mount(bdev, "/")
        except OSError:
            pass
    vfs.VfsLfs2.mkfs(bdev)
    vfs.mount(bdev, "/")


def put_back(files):
    for name in files:
        try:
            there = os.stat(name)[6] or not files[name]  # empty: the power went while somebody wrote it
        except OSError:
            there = False
        if not there:
            with open("_boot.new", "wb") as f:
                f.write(files[name])
            os.rename("_boot.new", name)  # whole, or not there


try:
    if bdev:
        mount()
        from ioto_build import FILES

        put_back(FILES)
        del FILES
except (OSError, ImportError):  # a flash that is worn out: the agent will say so
    pass
gc.collect()

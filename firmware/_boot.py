"""Mount the file system, whatever its state; frozen in place of MicroPython's own _boot.py.

If the file system can't be mounted, it is formatted; MicroPython's own _boot.py would print a message forever. Then the
files that the device needs to start are restored from ioto_build.py (written by `ioto freeze`) if they are missing. All
other files of a broken file system are lost.
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


def restore(files):
    for name in files:
        try:
            there = os.stat(name)[6] or not files[name]  # empty: the power failed during a write
        except OSError:
            there = False
        if not there:
            with open("_boot.new", "wb") as f:
                f.write(files[name])
            os.rename("_boot.new", name)  # complete or missing, never a part


try:
    if bdev:
        mount()
        from ioto_build import FILES

        restore(FILES)
        del FILES
except (OSError, ImportError):  # worn-out flash: the agent reports it
    pass
gc.collect()

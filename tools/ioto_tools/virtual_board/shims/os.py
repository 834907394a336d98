"""MicroPython's `os` as in the ESP32 port.

Random numbers come from the hardware, so that runs with the same seed are equal. The rest of the unix port's `os` is
missing: a board has no shell and no environment.
"""

import sys
from collections import namedtuple

import _bus
from uos import chdir, getcwd, ilistdir, listdir, mkdir, remove, rename, rmdir, sep, stat, statvfs, unlink
from vfs import VfsFat, VfsLfs2, mount, umount


def urandom(n):
    return _bus.call(26, n)[1]


def uname():
    release = "%d.%d.%d" % sys.implementation.version[:3]
    kind = namedtuple("uname", ("sysname", "nodename", "release", "version", "machine"))
    return kind("esp32", "esp32", release, "v" + release, "virtual board with ESP32")


def sync():
    pass

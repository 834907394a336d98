"""Mount the archive of compiled modules, `parts.bin`, as a file system that only `import` reads.

With one file per module, an import would search a folder of some forty entries four times, and each file would use a
block of 4 KiB. `parts.bin` starts with its index: two bytes, little-endian, with the length of the rest of the index,
then `/name 012345` for each module, where the six digits are its offset.
"""

_MOUNTED = "/.ioto"


class _Archive:
    def __init__(self, path):
        self.path = path

    def mount(self, *flags):
        pass

    umount = mount

    def ilistdir(self, path):  # for programs that list all folders
        return iter(())

    def statvfs(self, path):
        return (1,) * 10

    def stat(self, path):
        """Succeed for any .mpy; open() looks it up.

        MicroPython treats every exception here, even MemoryError, as a missing file.
        """
        if path.endswith(".mpy"):
            return (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        raise OSError(2)

    def open(self, path, mode):
        """Open the archive at the module's first byte; the loader of .mpy files reads only to the end of the module."""
        f = open(self.path, mode)
        index = f.read(int.from_bytes(f.read(2), "little"))
        at = index.find(path[:-4].encode() + b" ")
        if at < 0:
            f.close()
            raise ImportError(path)
        at += len(path) - 3
        f.seek(int(index[at : at + 6]))
        return f


def mounted(path, file):
    """Return the package's `__path__`: the mounted archive if the package is compiled and has one, else `path`.

    `file` is the package's __init__ file.
    """
    try:
        if not file.endswith(".mpy"):
            return path
        open(path + "/parts.bin").close()
    except OSError:
        return path
    try:
        from vfs import mount

        mount(_Archive(path + "/parts.bin"), _MOUNTED)
    except OSError:  # already mounted, if the package is imported a second time
        pass
    return _MOUNTED

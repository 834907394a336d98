"""The compiled modules in one file, mounted as a file system from which only `import` reads.

Where each is a file of its own, an import looks four times through a folder of some forty entries, and each takes a block of 4 KiB.
`parts.bin` begins with its index: two bytes, little-endian, for the length of what follows; then `/name 012345` for each module,
the six digits being where it begins.
"""

_MOUNTED = "/.ioto"


class _Archive:
    def __init__(self, path):
        self.path = path

    def mount(self, *flags):
        pass

    umount = mount

    def ilistdir(self, path):  # for whoever walks through all folders
        return iter(())

    def statvfs(self, path):
        return (1,) * 10

    def stat(self, path):
        """MicroPython takes any exception here, MemoryError too, for a file that is not there: open() tells one from the other."""
        if path.endswith(".mpy"):
            return (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        raise OSError(2)

    def open(self, path, mode):
        """The file at the module's first byte: the loader of .mpy files reads no further than to its end."""
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
    """`__path__` of the package whose __init__ is `file`: the archive's where a compiled one has it beside it, else `path`."""
    try:
        if not file.endswith(".mpy"):
            return path
        open(path + "/parts.bin").close()
    except OSError:
        return path
    try:
        from vfs import mount

        mount(_Archive(path + "/parts.bin"), _MOUNTED)
    except OSError:  # it is, when the package is imported a second time
        pass
    return _MOUNTED

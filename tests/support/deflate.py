"""MicroPython's module `deflate` for CPython: a decoder that reads no byte ahead, with the same errors."""

import zlib

RAW = 1


class DeflateIO:
    def __init__(self, stream, form, wbits):
        assert form == RAW
        self._stream = stream
        self._inflate = zlib.decompressobj(-wbits)
        self._made = b""

    def readinto(self, view):
        while len(self._made) < len(view) and not self._inflate.eof:
            byte = self._stream.read(1)
            if not byte:
                raise EOFError
            try:
                self._made += self._inflate.decompress(byte)
            except zlib.error as e:
                raise OSError(22) from e
        found, self._made = self._made[: len(view)], self._made[len(view) :]
        view[: len(found)] = found
        return len(found)

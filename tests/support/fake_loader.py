"""A Loader without a chip: the flash is in memory, and is erased in blocks of 4096 bytes."""


class FakeLoader:
    def __init__(self, flash, number=0, protected=()):
        self.data, self.number, self.protected = bytearray(flash), number, list(protected)
        self.writes = 0

    def identify(self):
        return self.number, len(self.data)

    def protections(self):
        return self.protected

    def read(self, address, n):
        return bytes(self.data[address : address + n])

    def write(self, parts):
        for address, raw in parts:
            assert address % 4096 == 0
            end = address + -(-len(raw) // 4096) * 4096
            self.data[address:end] = raw.ljust(end - address, b"\xff")
            self.writes += 1

    def erase(self):
        self.data[:] = b"\xff" * len(self.data)
        self.writes += 1

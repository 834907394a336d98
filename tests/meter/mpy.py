"""Read the functions and their bytecode from a .mpy file (format version 6: MicroPython's py/persistentcode.c)."""

_STR, _BYTES, _TUPLE = 5, 6, 10  # str and bytes have a terminator; 1 to 4: None, False, True, Ellipsis


def functions(raw):
    """Bytes of bytecode, with prelude and line numbers, of each function in a .mpy file; the module is the first."""
    if raw[:2] != b"M\x06" or raw[2] >> 2:
        raise ValueError("not bytecode of version 6")
    reader = _Reader(raw, 4)
    names, objects = reader.number(), reader.number()
    for _ in range(names):
        length = reader.number()
        reader.at += 0 if length & 1 else (length >> 1) + 1
    for _ in range(objects):
        reader.object()
    found = []
    reader.code(found)
    if reader.at != len(raw):
        raise ValueError("%d bytes are left over" % (len(raw) - reader.at))
    return found


class _Reader:
    def __init__(self, raw, at):
        self.raw, self.at = raw, at

    def number(self):
        value = 0
        while True:
            byte = self.raw[self.at]
            self.at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def object(self):
        kind = self.raw[self.at]
        self.at += 1
        if kind == _TUPLE:
            for _ in range(self.number()):
                self.object()
        elif kind > 4:
            length = self.number()
            self.at += length + (kind in (_STR, _BYTES))

    def code(self, found):
        head = self.number()
        if head & 3:
            raise ValueError("native code")
        self.at += head >> 3
        found.append(head >> 3)
        if head & 4:
            for _ in range(self.number()):
                self.code(found)

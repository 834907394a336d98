"""MicroPython's `esp32`: Partition and NVS, with the port's errors (ports/esp32/esp32_partition.c, esp32_nvs.c)."""

import json
import struct
import sys

import _bus
import _heap

_NAMES = {
    258: "ESP_ERR_INVALID_ARG", 260: "ESP_ERR_INVALID_SIZE", 261: "ESP_ERR_NOT_FOUND",
    5379: "ESP_ERR_OTA_VALIDATE_FAILED", 4354: "ESP_ERR_NVS_NOT_FOUND", 4357: "ESP_ERR_NVS_NOT_ENOUGH_SPACE",
    4361: "ESP_ERR_NVS_KEY_TOO_LONG", 4364: "ESP_ERR_NVS_INVALID_LENGTH",
}  # fmt: skip
_MASK = 0xFFFFFFFF
_SHORT_BYTES = 512
_MISSING = object()
_chip = open(int(sys.argv[4]), "rb")  # before the board's own file system is mounted


# Begin a part that is C on the chip: it allocates no memory of the program.
def _entered():
    if _bus.look:
        _bus.look()


# Serve a short read, as the file system does often, from the flash file itself: faster than over the bus.
def _short(address, buf):
    _entered()
    _chip.seek(address)
    _chip.readinto(buf)
    _bus.cpu_us += 30 + (len(buf) >> 2)  # the driver's call, and 1 ms per 4 KiB
    if _bus.used:
        _bus.used()


def _check(status):
    if status < 0:
        code = -status
        raise OSError(status, _NAMES[code]) if code in _NAMES else OSError(code)
    return status


def _integer(value):
    if isinstance(value, int):
        return value
    raise TypeError("can't convert %s to int" % type(value).__name__)


def _rows():
    return json.loads(_bus.call(8)[1])


HEAP_DATA, HEAP_EXEC = 4, 1024


# The one heap of this port; a chip has one for data and one for code.
def idf_heap_info(capabilities):
    _heap.check()
    return [tuple(row) for row in json.loads(_bus.call(35)[1])]


class Partition:
    BOOT, RUNNING, TYPE_APP, TYPE_DATA = 0, 1, 0, 1

    def __init__(self, id, block_size=4096):
        self._block = block_size & 0xFFFF
        if isinstance(id, int):
            if id not in (0, 1):
                raise ValueError
            self._index = _check(_bus.call(6, id)[0])
            self._row = _rows()[self._index]
        else:
            rows = _rows()
            found = [i for kind in (0, 1) for i, row in enumerate(rows) if row[0] == kind and row[4] == id]
            if not found:
                raise OSError(2)
            self._index = found[0]
            self._row = rows[found[0]]

    @staticmethod
    def _at(index, row, block_size):
        made = object.__new__(Partition)
        made._index, made._row, made._block = index, row, block_size & 0xFFFF
        return made

    @staticmethod
    def find(type=0, subtype=255, label=None, block_size=4096):
        return [
            Partition._at(i, row, block_size)
            for i, row in enumerate(_rows())
            if row[0] == type and subtype in (255, row[1]) and label in (None, row[4])
        ]

    def __str__(self):
        t, s, a, n, label, e = self.info()
        return "<Partition type=%d, subtype=%d, address=%d, size=%d, label=%s, encrypted=%d>" % (t, s, a, n, label, e)

    __repr__ = __str__

    def info(self):
        t, s, a, n, label = self._row
        return (t, s, a, n, label, False)

    def readblocks(self, n, buf, offset=0):
        if isinstance(buf, bytes):
            raise TypeError("object with buffer protocol required")
        at = (_integer(n) * self._block + _integer(offset)) & _MASK
        if len(buf) <= _SHORT_BYTES and at + len(buf) <= self._row[3]:
            _short(self._row[2] + at, buf)
        else:
            self._long(at, buf)

    # A separate function: MicroPython uses the heap for each call of a function with more than 11 values on its stack.
    def _long(self, at, buf):
        _entered()
        _check(_bus.call(1, self._index, at, struct.pack("<I", len(buf)), buf)[0])

    def writeblocks(self, n, buf, offset=None):
        _entered()
        at = _integer(n) * self._block
        if not isinstance(buf, (bytes, bytearray, memoryview, str)):
            raise TypeError("object with buffer protocol required")
        data = buf.encode() if isinstance(buf, str) else buf
        if offset is not None:
            _check(_bus.call(2, self._index, (at + _integer(offset)) & _MASK, data)[0])
            return
        at &= _MASK
        if self._block >= 4096:
            _check(_bus.call(3, self._index, at, struct.pack("<I", len(data)))[0])
            _check(_bus.call(2, self._index, at, data)[0])
            return
        # Blocks smaller than a sector: each sector is read, changed, erased and written.
        done = 0
        cache = bytearray(4096)
        while done < len(data):
            sector = (at + done) // 4096 * 4096
            _check(_bus.call(1, self._index, sector, struct.pack("<I", 4096), cache)[0])
            first = at + done - sector
            part = min(4096 - first, len(data) - done)
            cache[first : first + part] = data[done : done + part]
            _check(_bus.call(3, self._index, sector, struct.pack("<I", 4096))[0])
            _check(_bus.call(2, self._index, sector, cache)[0])
            done += part

    # No `*args`: their tuple needs memory, and a MemoryError here would jump out of littlefs.
    def ioctl(self, op, arg=_MISSING):
        _entered()
        if arg is _MISSING:
            raise TypeError("function takes 3 positional arguments but 2 were given")
        if op in (1, 2, 3):
            return 0
        if op == 4:
            return self._row[3] // self._block
        if op == 5:
            return self._block
        if op == 6:
            if self._block != 4096:
                return -22
            _check(_bus.call(3, self._index, _integer(arg) * 4096 & _MASK, struct.pack("<I", 4096))[0])
            return 0
        return None

    def set_boot(self):
        _check(_bus.call(4, self._index)[0])

    def get_next_update(self):
        index = _check(_bus.call(7, self._index)[0])
        return Partition._at(index, _rows()[index], 4096)

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        _check(_bus.call(5)[0])


if not _bus.simulated:  # with a serial port, and so with Ctrl-C
    for _name in ("readblocks", "writeblocks", "ioctl"):
        setattr(Partition, _name, _bus.whole(getattr(Partition, _name)))


class NVS:
    def __init__(self, namespace):
        self._space = _check(_bus.call(9, 0, 0, namespace.encode())[0])

    def get_i32(self, key):
        status, reply = _bus.call(10, self._space, 0, key.encode())
        _check(status)
        return struct.unpack("<i", reply)[0]

    def set_i32(self, key, value):
        if not -(1 << 31) < value < 1 << 31:  # a 32-bit port overflows already at the lowest number
            raise OverflowError("overflow converting long int to machine word")
        _check(_bus.call(11, self._space, value, key.encode())[0])

    def get_blob(self, key, buf):
        status, reply = _bus.call(12, self._space, len(buf), key.encode())
        _check(status)
        buf[: len(reply)] = reply
        return len(reply)

    def set_blob(self, key, value):
        _check(_bus.call(13, self._space, len(key), key.encode() + bytes(value))[0])

    def erase_key(self, key):
        _check(_bus.call(14, self._space, 0, key.encode())[0])

    def commit(self):
        pass

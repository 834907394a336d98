"""Non-volatile storage: keys and values, appended to pages of 4096 bytes (ESP-IDF nvs_page.cpp).

Entries are never changed in place. A page has 32 bytes of header (state, sequence number), 32 bytes of entry states
(two bits each: 11 free, 10 written, 00 erased), and 126 entries of 32 bytes. A blob is one entry with its size,
followed by the entries with its bytes.
"""

import struct
import zlib
from typing import Any, NamedTuple

from ..image.layout import Partition
from .flash import Flash
from .partitions import EspError

NVS_NOT_FOUND, KEY_TOO_LONG, INVALID_LENGTH, NOT_ENOUGH_SPACE = -4354, -4361, -4364, -4357
_ENTRIES = 126
_I32, _BLOB, _NAMESPACE = 0x14, 0x41, 0x01
_BLOB_MOST = 4000

_Name = tuple[int, int, str]  # namespace, type, key


class Item(NamedTuple):
    page: int
    entry: int
    span: int  # entries
    value: Any  # int or bytes


class Nvs:
    def __init__(self, flash: Flash, partition: Partition) -> None:
        self.flash = flash
        self.base = partition.address
        self.pages = partition.size // 4096
        self.items: dict[_Name, Item] = {}
        self.namespaces: dict[str, int] = {}
        self.page: int | None = None
        self.free, self.seq = _ENTRIES, 0
        self._scan()

    def _scan(self) -> None:
        heads = []
        for page in range(self.pages):
            state, seq = struct.unpack("<II", self.flash.peek(self.base + page * 4096, 8))
            if state != 0xFFFFFFFF:
                heads.append((seq, page))
        for seq, page in sorted(heads):
            self.page, self.seq, self.free = page, seq, 0
            n = 0
            while n < _ENTRIES:
                raw = self.flash.peek(self._at(page, n), 32)
                state = self._state(page, n)
                span = raw[2] if raw != b"\xff" * 32 and 0 < raw[2] <= _ENTRIES - n else 1
                if state == 2 and struct.unpack_from("<I", raw, 4)[0] == self._crc(raw):
                    self._load_entry(page, n, raw, span)
                if raw != b"\xff" * 32 or state != 3:
                    self.free = n + span
                n += span

    def _load_entry(self, page: int, n: int, raw: bytes, span: int) -> None:
        key = raw[8:24].split(b"\0")[0].decode()
        if raw[1] == _NAMESPACE:
            self.namespaces[key] = raw[24]
            self.items[(0, _NAMESPACE, key)] = Item(page, n, 1, raw[24])
        elif raw[1] == _I32:
            self.items[(raw[0], _I32, key)] = Item(page, n, 1, struct.unpack_from("<i", raw, 24)[0])
        elif raw[1] == _BLOB:
            size = struct.unpack_from("<H", raw, 24)[0]
            self.items[(raw[0], _BLOB, key)] = Item(page, n, span, self.flash.peek(self._at(page, n + 1), size))

    @staticmethod
    def _crc(raw: bytes) -> int:
        return zlib.crc32(raw[:4] + raw[8:])

    def _at(self, page: int, n: int) -> int:
        """The address of entry `n` in a page."""
        return self.base + page * 4096 + 64 + 32 * n

    def _state(self, page: int, n: int) -> int:
        return self.flash.peek(self.base + page * 4096 + 32 + n // 4, 1)[0] >> n % 4 * 2 & 3

    def _mark(self, page: int, first: int, span: int, state: int) -> None:
        """Set the two-bit states of entries, one 32-bit word at a time as on the chip."""
        for word in range(first // 16, (first + span - 1) // 16 + 1):
            address = self.base + page * 4096 + 32 + word * 4
            value = struct.unpack("<I", self.flash.peek(address, 4))[0]
            for n in range(max(first, word * 16), min(first + span, word * 16 + 16)):
                value &= ~((3 ^ state) << n % 16 * 2)
            self.flash.program(address, struct.pack("<I", value & 0xFFFFFFFF))

    def _new_page(self) -> None:
        used = {page: struct.unpack("<II", self.flash.peek(self.base + page * 4096, 8)) for page in range(self.pages)}
        blank = [p for p in used if used[p][0] == 0xFFFFFFFF]
        if len(blank) > 1 or (blank and self.page is None):
            self._start_page(blank[0])
            return
        # One page is kept free: the valid entries of the oldest page are copied to it, then the oldest is erased.
        oldest = min((p for p in used if p not in blank), key=lambda p: used[p][1])
        self._start_page(blank[0])
        for name, (page, _, span, value) in sorted(self.items.items()):
            if page == oldest:
                self._append(name, span, value)
        self.flash.erase(self.base + oldest * 4096, 4096)

    def _start_page(self, page: int) -> None:
        self.seq += 1
        self.page, self.free = page, 0
        head = struct.pack("<II", 0xFFFFFFFE, self.seq) + b"\xfe" + b"\xff" * 19
        self.flash.program(self.base + page * 4096, head + struct.pack("<I", zlib.crc32(head[4:])))

    def _append(self, name: _Name, span: int, value: Any) -> None:
        space, kind, key = name
        page, at = self.page, self.free
        assert page is not None
        raw = bytes([space, kind, span, 0xFF]) + bytes(4) + key.encode().ljust(16, b"\0")
        if kind == _I32:
            raw += struct.pack("<i", value) + b"\xff" * 4
        elif kind == _BLOB:
            raw += struct.pack("<HHI", len(value), 0xFFFF, zlib.crc32(value))
        else:
            raw += bytes([value]) + b"\xff" * 7
        raw = raw[:4] + struct.pack("<I", self._crc(raw)) + raw[8:]
        self.flash.program(self._at(page, at), raw)
        if kind == _BLOB:
            self.flash.program(self._at(page, at + 1), value)
        self._mark(page, at, span, 2)
        self.free += span
        self.items[name] = Item(page, at, span, value)

    def _store(self, name: _Name, span: int, value: Any) -> None:
        if self.page is None or self.free + span > _ENTRIES:
            live = sum(item.span for item in self.items.values())
            if live + span > _ENTRIES * (self.pages - 1):
                raise EspError(NOT_ENOUGH_SPACE)
            self._new_page()
            if self.free + span > _ENTRIES:
                raise EspError(NOT_ENOUGH_SPACE)
        old = self.items.get(name)
        self._append(name, span, value)
        if old:
            self._mark(old.page, old.entry, old.span, 0)

    def open(self, space: str) -> int:
        """The number of a namespace, which is created if it does not exist."""
        if len(space) > 15:
            raise EspError(KEY_TOO_LONG)
        if space not in self.namespaces:
            self.namespaces[space] = len(self.namespaces) + 1
            self._store((0, _NAMESPACE, space), 1, self.namespaces[space])
        return self.namespaces[space]

    def _key(self, key: str) -> str:
        if len(key) > 15:
            raise EspError(KEY_TOO_LONG)
        return key

    def _get(self, space: int, kind: int, key: str) -> Any:
        found = self.items.get((space, kind, self._key(key)))
        if found is None:
            raise EspError(NVS_NOT_FOUND)
        return found.value

    def set_i32(self, space: int, key: str, value: int) -> None:
        name = (space, _I32, self._key(key))
        if name not in self.items or self.items[name].value != value:
            self._store(name, 1, value)

    def get_i32(self, space: int, key: str) -> int:
        return self._get(space, _I32, key)

    def set_blob(self, space: int, key: str, value: bytes) -> None:
        if len(value) > _BLOB_MOST:
            raise EspError(NOT_ENOUGH_SPACE)
        self._store((space, _BLOB, self._key(key)), 1 + -(-len(value) // 32), bytes(value))

    def get_blob(self, space: int, key: str) -> bytes:
        return self._get(space, _BLOB, key)

    def erase(self, space: int, key: str) -> None:
        names = [n for n in self.items if n[0] == space and n[2] == self._key(key)]
        if not names:
            raise EspError(NVS_NOT_FOUND)
        for name in names:
            page, n, span, _ = self.items.pop(name)
            self._mark(page, n, span, 0)

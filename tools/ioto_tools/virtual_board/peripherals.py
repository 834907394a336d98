"""The peripherals that a program can use: flash, NVS, RTC, pins, memory and network; operations reply immediately.

Operations that wait or end the session are in hardware.py.
"""

import hashlib
import json
import random
import struct
from collections.abc import Callable

from ..image.layout import DATA, NVS, Partition
from .clock import Clock
from .efuses import registers
from .flash import Flash
from .memory import IDF_BYTES, SMALL_CHAIN, WIFI_BYTES, Memory
from .nvs import INVALID_LENGTH, Nvs
from .partitions import EspError, Partitions
from .simulated_network import SimulatedNetwork

Reply = tuple[int, bytes]  # status, data


class Peripherals:
    def __init__(
        self,
        flash: Flash,
        rows: list[Partition],
        clock: Clock,
        network: SimulatedNetwork,
        seed: int = 0,
        chip: int = 0,
        idf_bytes: int = IDF_BYTES,
        revision: int = 0,
    ) -> None:
        self.flash = flash
        self.rows = rows
        self.clock = clock
        self.network = network
        self.chip = chip
        self.revision = revision
        self.idf_bytes = idf_bytes
        self.random = random.Random(seed)
        self.unique_id = hashlib.sha256(b"board %d" % seed).digest()[:6]
        self.rtc_memory = b""
        self.pins: dict[int, int] = {}

    def power_on(self) -> None:
        """Power on: RTC time and RTC memory are lost."""
        self.rtc_memory = b""
        self.clock.power_cut()

    def prepare(self, running: Partition, alive: Callable[[], None]) -> None:
        """Prepare for a program that starts from partition `running`; for `alive` see Partitions."""
        self.partitions = Partitions(self.flash, self.rows, running, self.chip, self.revision, alive)
        store = next((p for p in self.rows if p.type == DATA and p.subtype == NVS), None)
        if store:
            self.nvs = Nvs(self.flash, store)
        self.memory = Memory(self.idf_bytes)
        self.network.power_on(self.clock)

    # ---- flash

    def _read(self, a: int, b: int, data: bytes) -> Reply:
        return 0, self.partitions.read(self.rows[a], b, struct.unpack("<I", data)[0])

    def _write(self, a: int, b: int, data: bytes) -> Reply:
        self.partitions.write(self.rows[a], b, data)
        return 0, b""

    def _erase(self, a: int, b: int, data: bytes) -> Reply:
        self.partitions.erase(self.rows[a], b, struct.unpack("<I", data)[0])
        return 0, b""

    def _set_boot(self, a: int, b: int, data: bytes) -> Reply:
        self.partitions.set_boot(self.rows[a])
        return 0, b""

    def _mark_valid(self, a: int, b: int, data: bytes) -> Reply:
        self.partitions.mark_valid()
        return 0, b""

    def _boot(self, a: int, b: int, data: bytes) -> Reply:
        return self.rows.index(self.partitions.running if a else self.partitions.boot()), b""

    def _next_update(self, a: int, b: int, data: bytes) -> Reply:
        return self.rows.index(self.partitions.next_update(self.rows[a])), b""

    def _partitions(self, a: int, b: int, data: bytes) -> Reply:
        return 0, json.dumps([[p.type, p.subtype, p.address, p.size, p.label] for p in self.rows]).encode()

    def _flash_read(self, a: int, b: int, data: bytes) -> Reply:
        if b:
            return self.flash.size, b""
        return 0, self.flash.read(a, struct.unpack("<I", data)[0])

    # ---- NVS

    def _nvs_open(self, a: int, b: int, data: bytes) -> Reply:
        return self.nvs.open(data.decode()), b""

    def _nvs_get_i32(self, a: int, b: int, data: bytes) -> Reply:
        return 0, struct.pack("<i", self.nvs.get_i32(a, data.decode()))

    def _nvs_set_i32(self, a: int, b: int, data: bytes) -> Reply:
        self.nvs.set_i32(a, data.decode(), b)
        return 0, b""

    def _nvs_get_blob(self, a: int, b: int, data: bytes) -> Reply:
        value = self.nvs.get_blob(a, data.decode())
        if len(value) > b:
            raise EspError(INVALID_LENGTH)
        return 0, value

    def _nvs_set_blob(self, a: int, b: int, data: bytes) -> Reply:
        self.nvs.set_blob(a, data[:b].decode(), data[b:])
        return 0, b""

    def _nvs_erase(self, a: int, b: int, data: bytes) -> Reply:
        self.nvs.erase(a, data.decode())
        return 0, b""

    # ---- RTC, chip and pins

    def _rtc_get(self, a: int, b: int, data: bytes) -> Reply:
        return self.clock.now_us + self.clock.rtc_offset_us, b""

    def _rtc_set(self, a: int, b: int, data: bytes) -> Reply:
        self.clock.set_rtc(a)
        return 0, b""

    def _rtc_memory(self, a: int, b: int, data: bytes) -> Reply:
        return 0, self.rtc_memory

    def _rtc_memory_set(self, a: int, b: int, data: bytes) -> Reply:
        self.rtc_memory = data
        return 0, b""

    def _register(self, a: int, b: int, data: bytes) -> Reply:
        """The word at address `a`: the eFuses with the chip's revision, 0 elsewhere."""
        return registers(self.chip, self.revision).get(a, 0), b""

    def _unique_id(self, a: int, b: int, data: bytes) -> Reply:
        return 0, self.unique_id

    def _random(self, a: int, b: int, data: bytes) -> Reply:
        return 0, self.random.randbytes(a)

    def _pin(self, a: int, b: int, data: bytes) -> Reply:
        if b >= 0:
            self.pins[a] = b
        return self.pins.get(a, 1), b""

    # ---- network

    def _socket(self, a: int, b: int, data: bytes) -> Reply:
        return self.network.socket(a), b""

    def _connect(self, a: int, b: int, data: bytes) -> Reply:
        return self.network.connect(a, data.decode(), b), b""

    def _send(self, a: int, b: int, data: bytes) -> Reply:
        return self.network.send(a, data), b""

    def _recv(self, a: int, b: int, data: bytes) -> Reply:
        return self.network.recv(a, b, data == b"\n")

    def _sendto(self, a: int, b: int, data: bytes) -> Reply:
        n = data[0]
        return self.network.sendto(a, data[1 : 1 + n].decode(), b, data[1 + n :]), b""

    def _recvfrom(self, a: int, b: int, data: bytes) -> Reply:
        return self.network.recvfrom(a, b)

    def _close(self, a: int, b: int, data: bytes) -> Reply:
        self.memory.release(a)
        return self.network.close(a), b""

    def _resolve(self, a: int, b: int, data: bytes) -> Reply:
        return self.network.resolve(data.decode())

    def _wifi(self, a: int, b: int, data: bytes) -> Reply:
        """The driver's answer; for "WLAN", the bytes of memory that it allocated."""
        asked = json.loads(data)
        try:
            answer = self.network.station.call(*asked)
            if asked[0] == "WLAN":
                answer = 0 if "wifi" in self.memory.allocations else WIFI_BYTES
                if not self.memory.allocate("wifi", WIFI_BYTES):
                    raise RuntimeError("Wifi Unknown Error 0x0101")
            return 0, json.dumps(answer).encode()
        except (OSError, RuntimeError, MemoryError) as e:
            return -1, json.dumps([type(e).__name__, *e.args]).encode()

    # ---- memory

    def _tls(self, a: int, b: int, data: bytes) -> Reply:
        sock = self.network.socks.get(a)
        return self.memory.allocate_tls(a, getattr(sock and sock.peer, "chain", SMALL_CHAIN)), b""

    def _gc(self, a: int, b: int, data: bytes) -> Reply:
        return self.memory.resize_gc_heap(a), b""

    def _idf(self, a: int, b: int, data: bytes) -> Reply:
        return 0, json.dumps(self.memory.heap_info()).encode()

    def _thread(self, a: int, b: int, data: bytes) -> Reply:
        """Thread `a` starts with a stack of `b` bytes; `b` -1: it has ended."""
        who = "thread %d" % a
        if b < 0:
            self.memory.release(who)
            return 0, b""
        return 0 if self.memory.allocate_thread(who, b) else -1, b""

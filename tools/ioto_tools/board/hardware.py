"""The board's hardware except the CPU: serves the bus while one program runs, until a reset, a power cut or a limit.

A session ends with an exception of this module; board.py decides what happens next.
"""

import hashlib
import json
import random
import select
import struct

from ..image.layout import DATA, NVS
from . import bus
from .efuses import registers
from .memory import IDF_BYTES, SMALL_CHAIN, WIFI_BYTES, Memory
from .nvs import Nvs
from .partitions import EspError, Panic, Partitions
from .serial import INTERRUPT

PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5
_BREAK_REAL_S = 0.2  # a CPU that makes no request for this long is interrupted by a signal
_HANG_REAL_S = 20  # a CPU that makes no request for this long hangs
_FOREVER = float("inf")


class Reset(Exception):
    """The CPU restarts: with the bootloader (`cause` HARD, WDT, DEEPSLEEP) or without it (SOFT)."""

    def __init__(self, cause, why) -> None:
        super().__init__(why)
        self.cause = cause


class Ended(Exception):
    """The run is over: `time`, `idle` (no event is pending), `hung`, `stopped`, `exit`."""


class Hardware:
    def __init__(
        self, flash, rows, clock, air, seed: int = 0, chip: int = 0, idf_bytes=IDF_BYTES, revision: int = 0
    ) -> None:
        self.flash, self.rows, self.clock, self.air = flash, rows, clock, air
        self.chip, self.revision, self.idf_bytes = chip, revision, idf_bytes
        self.random = random.Random(seed)
        self.unique_id = hashlib.sha256(b"board %d" % seed).digest()[:6]
        self.rtc_memory, self.pins = b"", {}
        self.until_us = _FOREVER
        self.serial = None  # serial.Serial, if the board has one
        self.raw_mode = False  # of the prompt, kept across soft resets
        self._interrupt = False  # Ctrl-C was typed, but the CPU is not notified yet

    def power_on(self) -> None:
        """Power on: RTC time and RTC memory are lost."""
        self.rtc_memory = b""
        self.clock.power_cut()

    def begin(self, running, cause) -> None:
        """Prepare for a program that starts from partition `running`."""
        self.cause, self.released = cause, False
        self.interruptible = True  # Ctrl-C interrupts, instead of being an ordinary character
        if cause != SOFT:  # the watchdog keeps running over a soft reset
            self.raw_mode = False
            self.watchdog_ms = self.fed_us = None
        self.partitions = Partitions(self.flash, self.rows, running, self.chip, self.revision, alive=self._alive)
        store = next((p for p in self.rows if p.type == DATA and p.subtype == NVS), None)
        self.nvs = Nvs(self.flash, store) if store else None
        self.memory = Memory(self.idf_bytes)
        self.air.power_on(self.clock)
        self.ops = {bus.OPS[name]: getattr(self, "_" + name) for name in bus.OPS}

    # ---- serving

    def serve(self, connection, console, interrupt):
        """Answer the CPU until the session ends; `console(bytes)` gets the program's output (connection[1]).

        `interrupt()` interrupts a program that computes without making requests.
        """
        link, out = connection
        while True:
            lines = [link, out] + self._serial_lines()
            ready, _, _ = select.select(lines, [], [], self._patience_s())
            if self.serial in ready:
                self._listen()
                continue
            if self._interrupt and self.released and not ready:
                self._interrupt = False
                interrupt()
                continue
            if ready:
                data = out.read()  # first, since output precedes the request even if select() missed it
                if data:
                    console(data)
                elif link not in ready:
                    raise Ended("exit")
            if link in ready:
                try:
                    self._one(link, interrupt)
                except (bus.Gone, ConnectionResetError):
                    raise Ended("exit")
            elif not ready:
                if self.watchdog_ms:
                    self.clock.advance(max(0, self._bite_us() - self.clock.now_us))
                    raise Reset(WDT, "watchdog: the program hangs")
                raise Ended("hung")

    def _patience_s(self):
        """How long the CPU may compute without a request; in real time not longer than until the watchdog bites."""
        if self._interrupt and self.released:
            return _BREAK_REAL_S
        if self.clock.real and self.watchdog_ms:
            return min(_HANG_REAL_S, max(0, self._bite_us() - self.clock.now_us) / 1e6)
        return _HANG_REAL_S

    def _one(self, link, interrupt):
        op, a, b, used_us, n = bus.REQUEST.unpack(bus.receive(link, bus.REQUEST.size))
        data = bus.receive(link, n) if n else b""
        if op == bus.AGAIN:  # Ctrl-C arrived in a section that must not be interrupted
            self._interrupt = not self.released
            return self._interrupt or interrupt()
        if not self.clock.real:
            self.clock.advance(used_us)
        self._alive()
        if op not in self.ops:
            raise Reset(HARD, "panic: the program asks for operation %d, which there is not" % op)
        try:
            status, reply = self.ops[op](a, b, data)
        except EspError as e:
            status, reply = e.code, b""
        except Panic as e:
            raise Reset(HARD, "panic: %s" % e)
        self._alive()
        n = len(reply) | (bus.INTERRUPT if self._interrupt else 0)
        self._interrupt = False
        link.sendall(bus.REPLY.pack(status, self.clock.ticks_us, n) + reply)

    def _serial_lines(self):
        return [self.serial] if self.serial and self.serial.plugged else []

    def _listen(self, at_prompt: bool = False) -> None:
        """Read the typed input; Ctrl-C interrupts a program, but is an ordinary character at the prompt."""
        if self.serial.receive() and self.interruptible and not at_prompt:
            self.serial.interrupted()
            self._interrupt = True

    def _bite_us(self):
        return self.fed_us + self.watchdog_ms * 1000 if self.watchdog_ms else _FOREVER

    def _alive(self):
        now = self.clock.now_us
        if now >= self._bite_us():
            raise Reset(WDT, "watchdog: not fed for %d ms" % self.watchdog_ms)
        if now >= self.until_us:
            raise Ended("time")

    def wait(self, us, ready=lambda: False):
        """Wait for `us`, or less on a network event or Ctrl-C; the watchdog and the end of the run may come first."""
        end = self.clock.now_us + us
        first = True
        while True:
            self._alive()
            now = self.clock.now_us
            if now >= end or (not first and ready()) or self._interrupt:
                return
            first = False
            event = self.air.next_us()
            step = min(end, event, self._bite_us(), self.until_us)
            if step == _FOREVER and not self.clock.real:
                raise Ended("idle")
            if self.clock.real:
                if self.air.wait_real(max(0.0, min(step - now, 200000) / 1e6), self._serial_lines()):
                    self._listen()
                if ready():
                    return
            else:
                self.clock.advance(max(1, int(step - now) + (step != int(step))))
            if event <= self.clock.now_us or self.clock.real and ready():
                return

    # ---- operations: (a, b, data) -> (status, data)

    def _nop(self, a, b, data):
        """`a` 1: from now on the program can be interrupted from outside; 2: no longer."""
        if a:
            self.released = a == 1
        return 0, b""

    def _read(self, a, b, data):
        return 0, self.partitions.read(self.rows[a], b, struct.unpack("<I", data)[0])

    def _write(self, a, b, data):
        self.partitions.write(self.rows[a], b, data)
        return 0, b""

    def _erase(self, a, b, data):
        self.partitions.erase(self.rows[a], b, struct.unpack("<I", data)[0])
        return 0, b""

    def _set_boot(self, a, b, data):
        self.partitions.set_boot(self.rows[a])
        return 0, b""

    def _mark_valid(self, a, b, data):
        self.partitions.mark_valid()
        return 0, b""

    def _boot(self, a, b, data):
        return self.rows.index(self.partitions.running if a else self.partitions.boot()), b""

    def _next_update(self, a, b, data):
        return self.rows.index(self.partitions.next_update(self.rows[a])), b""

    def _partitions(self, a, b, data):
        return 0, json.dumps([[p.type, p.subtype, p.address, p.size, p.label] for p in self.rows]).encode()

    def _nvs_open(self, a, b, data):
        return self.nvs.open(data.decode()), b""

    def _nvs_get_i32(self, a, b, data):
        return 0, struct.pack("<i", self.nvs.get_i32(a, data.decode()))

    def _nvs_set_i32(self, a, b, data):
        self.nvs.set_i32(a, data.decode(), b)
        return 0, b""

    def _nvs_get_blob(self, a, b, data):
        value = self.nvs.get_blob(a, data.decode())
        if len(value) > b:
            raise EspError(-4364)
        return 0, value

    def _nvs_set_blob(self, a, b, data):
        self.nvs.set_blob(a, data[:b].decode(), data[b:])
        return 0, b""

    def _nvs_erase(self, a, b, data):
        self.nvs.erase(a, data.decode())
        return 0, b""

    def _flash_read(self, a, b, data):
        if b:
            return self.flash.size, b""
        return 0, self.flash.read(a, struct.unpack("<I", data)[0])

    def _reset(self, a, b, data):
        raise Reset(HARD, "machine.reset()")

    def _soft_reset(self, a, b, data):
        raise Reset(SOFT, "soft reset")

    def _deepsleep(self, a, b, data):
        self.clock.advance(a * 1000)
        raise Reset(DEEPSLEEP, "deep sleep of %d ms" % a)

    def _watchdog(self, a, b, data):
        if a:
            self.watchdog_ms = a
        self.fed_us = self.clock.now_us
        return 0, b""

    def _rtc_get(self, a, b, data):
        return self.clock.now_us + self.clock.rtc_offset_us, b""

    def _rtc_set(self, a, b, data):
        self.clock.set_rtc(a)
        return 0, b""

    def _rtc_memory(self, a, b, data):
        return 0, self.rtc_memory

    def _rtc_memory_set(self, a, b, data):
        self.rtc_memory = data
        return 0, b""

    def _register(self, a, b, data):
        """The word at address `a`: the eFuses with the chip's revision, 0 elsewhere."""
        return registers(self.chip, self.revision).get(a, 0), b""

    def _reset_cause(self, a, b, data):
        return self.cause, b""

    def _unique_id(self, a, b, data):
        return 0, self.unique_id

    def _random(self, a, b, data):
        return 0, self.random.randbytes(a)

    def _idle(self, a, b, data):
        """Wait for `a` microseconds; forever if 0 or less."""
        while a <= 0:
            self.wait(_FOREVER)
        self.wait(a)
        return 0, b""

    def _console_read(self, a, b, data):
        """The typed input, at least 1 byte; the next program can be interrupted again."""
        self.interruptible = True
        if self._interrupt:  # too late for the program, so it is a character
            self._interrupt = False
            self.serial.typed = INTERRUPT + self.serial.typed
        while not self.serial.typed:
            if not self.serial.plugged:
                self.wait(_FOREVER)
            self._alive()
            self.serial.flush()
            if select.select(self._serial_lines(), [], [], 0.2)[0]:
                self._listen(at_prompt=True)
        typed, self.serial.typed = self.serial.typed, b""
        return 0, typed

    def _console_mode(self, a, b, data):
        """1 raw mode, 0 friendly mode, -1 without a serial port; `a` >= 0 sets the mode."""
        if not self.serial:
            return -1, b""
        if a >= 0:
            self.raw_mode = a == 1
        return int(self.raw_mode), b""

    def _interrupt_char(self, a, b, data):
        """`a` is the code of Ctrl-C, or -1 to make Ctrl-C an ordinary character."""
        self.interruptible = a >= 0
        return 0, b""

    def _pin(self, a, b, data):
        if b >= 0:
            self.pins[a] = b
        return self.pins.get(a, 1), b""

    def _time(self, a, b, data):
        return 0, b""

    def _sleep(self, a, b, data):
        end = self.clock.now_us + a
        while self.clock.now_us < end and not self._interrupt:
            self.wait(end - self.clock.now_us)
        return 0, b""

    def _socket(self, a, b, data):
        return self.air.socket(a), b""

    def _connect(self, a, b, data):
        return self.air.connect(a, data.decode(), b), b""

    def _send(self, a, b, data):
        return self.air.send(a, data), b""

    def _recv(self, a, b, data):
        return self.air.recv(a, b, data == b"\n")

    def _sendto(self, a, b, data):
        n = data[0]
        return self.air.sendto(a, data[1 : 1 + n].decode(), b, data[1 + n :]), b""

    def _recvfrom(self, a, b, data):
        return self.air.recvfrom(a, b)

    def _close(self, a, b, data):
        self.memory.give(a)
        return self.air.close(a), b""

    def _poll(self, a, b, data):
        if b:
            return self.air.flags(b - 1, data[0]), b""
        self.wait(_FOREVER if a < 0 else a)
        return 0, b""

    def _resolve(self, a, b, data):
        return self.air.resolve(data.decode())

    def _wifi(self, a, b, data):
        """The driver's answer; for "WLAN", the bytes of memory that it allocated."""
        asked = json.loads(data)
        try:
            answer = self.air.station.call(*asked)
            if asked[0] == "WLAN":
                answer = 0 if "wifi" in self.memory.taken else WIFI_BYTES
                if not self.memory.take("wifi", WIFI_BYTES):
                    raise RuntimeError("Wifi Unknown Error 0x0101")
            return 0, json.dumps(answer).encode()
        except (OSError, RuntimeError, MemoryError) as e:
            return -1, json.dumps([type(e).__name__, *e.args]).encode()

    def _tls(self, a, b, data):
        sock = self.air.socks.get(a)
        return self.memory.connect(a, getattr(sock and sock.peer, "chain", SMALL_CHAIN)), b""

    def _gc(self, a, b, data):
        return self.memory.fit(a), b""

    def _idf(self, a, b, data):
        return 0, json.dumps(self.memory.info()).encode()

    def _thread(self, a, b, data):
        """Thread `a` starts with a stack of `b` bytes; `b` -1: it has ended."""
        who = "thread %d" % a
        if b < 0:
            self.memory.give(who)
            return 0, b""
        return 0 if self.memory.thread(who, b) else -1, b""

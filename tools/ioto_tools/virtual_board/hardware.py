"""The board's hardware except the CPU: serves the bus while one program runs, until a reset or a limit.

A session ends with one of the exceptions defined here; board.py decides what happens next.
"""

import select
import socket
from collections.abc import Callable
from typing import IO, Any, NoReturn

from ..image.layout import Partition
from . import bus
from .partitions import EspError, Panic
from .peripherals import Peripherals, Reply
from .serial import INTERRUPT, Serial

PWRON, HARD, WDT, DEEPSLEEP, SOFT = 1, 2, 3, 4, 5
_BREAK_REAL_S = 0.2  # a CPU that makes no request for this long is interrupted by a signal
_HANG_REAL_S = 20  # a CPU that makes no request for this long is considered hung
_FOREVER = float("inf")


class Reset(Exception):
    """The CPU restarts: with the bootloader (`cause` HARD, WDT, DEEPSLEEP) or without it (SOFT)."""

    def __init__(self, cause: int, why: str) -> None:
        super().__init__(why)
        self.cause = cause


class Ended(Exception):
    """The run is over: `time`, `idle` (no event is pending), `hung`, `stopped`, `exit`, `dead` (see board.Run)."""


class Hardware(Peripherals):
    until_us: float = _FOREVER
    serial: Serial | None = None  # if the board has a serial port
    raw_mode = False  # of the prompt, kept across soft resets
    watchdog_ms = 0  # 0 without a watchdog
    fed_us = 0
    _interrupt = False  # Ctrl-C was typed, but the CPU has not been notified yet

    def begin(self, running: Partition, cause: int) -> None:
        """Prepare for a program that starts from partition `running`."""
        self.cause = cause
        self.breakable = False  # the program can be interrupted while it computes
        self.interruptible = True  # Ctrl-C interrupts, instead of being an ordinary character
        if cause != SOFT:  # the watchdog keeps running over a soft reset
            self.raw_mode = False
            self.watchdog_ms = self.fed_us = 0
        self.prepare(running, self._check_limits)
        self.ops: dict[int, Callable[[int, int, bytes], Reply]] = {
            number: getattr(self, "_" + name) for name, number in bus.OPS.items()
        }

    # ---- serving

    def serve(
        self,
        connection: tuple[socket.socket, IO[bytes]],
        console: Callable[[bytes], None],
        interrupt: Callable[[], None],
    ) -> NoReturn:
        """Answer the CPU until the session ends; `console(bytes)` gets the program's output, read from connection[1].

        `interrupt()` interrupts a program that computes without making requests.
        """
        link, out = connection
        while True:
            lines: list[Any] = [link, out, *self._serial_lines()]
            ready, _, _ = select.select(lines, [], [], self._silence_limit_s())
            if self.serial in ready:
                self._read_serial()
                continue
            if self._interrupt and self.breakable and not ready:
                self._interrupt = False
                interrupt()
                continue
            if ready:
                data = out.read()  # read before the request: the output precedes it, even if select() missed it
                if data:
                    console(data)
                elif link not in ready:
                    raise Ended("exit")
            if link in ready:
                try:
                    self._answer(link, interrupt)
                except (bus.Gone, ConnectionResetError):
                    raise Ended("exit")
            elif not ready:
                if self.watchdog_ms:
                    self.clock.advance(max(0, self._watchdog_us() - self.clock.now_us))
                    raise Reset(WDT, "watchdog: the program hangs")
                raise Ended("hung")

    def _silence_limit_s(self) -> float:
        """How long the CPU may compute without a request; in real time at most until the watchdog expires."""
        if self._interrupt and self.breakable:
            return _BREAK_REAL_S
        if self.clock.real and self.watchdog_ms:
            return min(_HANG_REAL_S, max(0, self._watchdog_us() - self.clock.now_us) / 1e6)
        return _HANG_REAL_S

    def _answer(self, link: socket.socket, interrupt: Callable[[], None]) -> None:
        """Receive one request and send its reply."""
        op, a, b, used_us, n = bus.REQUEST.unpack(bus.receive(link, bus.REQUEST.size))
        data = bus.receive(link, n) if n else b""
        if op == bus.AGAIN:  # Ctrl-C arrived in a section that must not be interrupted
            self._interrupt = not self.breakable
            if self.breakable:
                interrupt()
            return
        if not self.clock.real:
            self.clock.advance(used_us)
        self._check_limits()
        if op not in self.ops:
            raise Reset(HARD, "panic: unknown operation %d" % op)
        try:
            status, reply = self.ops[op](a, b, data)
        except EspError as e:
            status, reply = e.code, b""
        except Panic as e:
            raise Reset(HARD, "panic: %s" % e)
        self._check_limits()
        n = len(reply) | (bus.INTERRUPT if self._interrupt else 0)
        self._interrupt = False
        link.sendall(bus.REPLY.pack(status, self.clock.ticks_us, n) + reply)

    def _serial_lines(self) -> list[Serial]:
        return [self.serial] if self.serial and self.serial.is_plugged else []

    def _read_serial(self, at_prompt: bool = False) -> None:
        """Read the typed input; Ctrl-C interrupts a program, but is an ordinary character at the prompt."""
        assert self.serial
        if self.serial.receive() and self.interruptible and not at_prompt:
            self.serial.discard_interrupted_input()
            self._interrupt = True

    def _watchdog_us(self) -> float:
        """When the watchdog expires."""
        return self.fed_us + self.watchdog_ms * 1000 if self.watchdog_ms else _FOREVER

    def _check_limits(self) -> None:
        """Raise if the watchdog has expired, or if the run has lasted long enough."""
        now = self.clock.now_us
        if now >= self._watchdog_us():
            raise Reset(WDT, "watchdog: not fed for %d ms" % self.watchdog_ms)
        if now >= self.until_us:
            raise Ended("time")

    def wait(self, us: float) -> None:
        """Wait for `us`, at most until a network event or Ctrl-C; raises if the watchdog expires or the run ends."""
        end = self.clock.now_us + us
        while True:
            self._check_limits()
            now = self.clock.now_us
            if now >= end or self._interrupt:
                return
            event = self.network.next_us()
            step = min(end, event, self._watchdog_us(), self.until_us)
            if step == _FOREVER and not self.clock.real:
                raise Ended("idle")
            if self.clock.real:
                if self.network.wait_real(max(0.0, min(step - now, 200000) / 1e6), self._serial_lines()):
                    self._read_serial()
            else:
                self.clock.advance(max(1, int(step - now) + (step != int(step))))
            if event <= self.clock.now_us:
                return

    # ---- operations that wait

    def _idle(self, a: int, b: int, data: bytes) -> Reply:
        """Wait for `a` microseconds; forever if 0 or less."""
        while a <= 0:
            self.wait(_FOREVER)
        self.wait(a)
        return 0, b""

    def _sleep(self, a: int, b: int, data: bytes) -> Reply:
        end = self.clock.now_us + a
        while self.clock.now_us < end and not self._interrupt:
            self.wait(end - self.clock.now_us)
        return 0, b""

    def _poll(self, a: int, b: int, data: bytes) -> Reply:
        """The flags of socket `b` - 1; `b` 0: wait for an event, at most `a` microseconds, forever if negative."""
        if b:
            return self.network.flags(b - 1, data[0]), b""
        self.wait(_FOREVER if a < 0 else a)
        return 0, b""

    # ---- resets and the watchdog

    def _reset(self, a: int, b: int, data: bytes) -> NoReturn:
        raise Reset(HARD, "machine.reset()")

    def _soft_reset(self, a: int, b: int, data: bytes) -> NoReturn:
        raise Reset(SOFT, "soft reset")

    def _deepsleep(self, a: int, b: int, data: bytes) -> NoReturn:
        self.clock.advance(a * 1000)
        raise Reset(DEEPSLEEP, "deep sleep of %d ms" % a)

    def _reset_cause(self, a: int, b: int, data: bytes) -> Reply:
        return self.cause, b""

    def _watchdog(self, a: int, b: int, data: bytes) -> Reply:
        if a:
            self.watchdog_ms = a
        self.fed_us = self.clock.now_us
        return 0, b""

    # ---- the prompt and Ctrl-C

    def _nop(self, a: int, b: int, data: bytes) -> Reply:
        """`a` 1: from now on the program can be interrupted from outside; 2: no longer."""
        if a:
            self.breakable = a == 1
        return 0, b""

    def _console_read(self, a: int, b: int, data: bytes) -> Reply:
        """The typed input, at least 1 byte; the next program can be interrupted again."""
        serial = self.serial
        assert serial
        self.interruptible = True
        if self._interrupt:  # too late to interrupt the program: Ctrl-C becomes an ordinary character
            self._interrupt = False
            serial.typed = INTERRUPT + serial.typed
        while not serial.typed:
            if not serial.is_plugged:
                self.wait(_FOREVER)
            self._check_limits()
            serial.flush()
            if select.select(self._serial_lines(), [], [], 0.2)[0]:
                self._read_serial(at_prompt=True)
        typed, serial.typed = serial.typed, b""
        return 0, typed

    def _console_mode(self, a: int, b: int, data: bytes) -> Reply:
        """1 raw mode, 0 friendly mode, -1 without a serial port; `a` >= 0 sets the mode."""
        if not self.serial:
            return -1, b""
        if a >= 0:
            self.raw_mode = a == 1
        return int(self.raw_mode), b""

    def _interrupt_char(self, a: int, b: int, data: bytes) -> Reply:
        """`a` is the code of Ctrl-C, or -1 to make Ctrl-C an ordinary character."""
        self.interruptible = a >= 0
        return 0, b""

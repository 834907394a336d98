"""The hardware, which only this module and otadata.py touch: slots, boot choice, clock, reset, watchdog.

Sources: MicroPython ports/esp32/esp32_partition.c, ESP-IDF v5.5 esp_ota_ops.c and bootloader_common_loader.c.
"""

import struct
import time
from os import urandom

import machine
from esp32 import NVS, Partition

from .errors import UpdateError

_EPOCH_2000_S = 946684800  # the ESP32 port counts from 2000-01-01
_CLOCK_SET_S = 1704067200  # 2024-01-01: before it the clock was never set (it starts at 2000)


class Slot:
    """A flash slot of blocks of 4096 bytes."""

    def __init__(self, partition):
        self.partition = partition
        _, _, _, self.size, self.label, _ = partition.info()
        self.write = partition.writeblocks
        self.read = partition.readblocks

    def erase(self, n):
        self.partition.ioctl(6, n)


class Board:
    raw = False  # slots take ESP images only

    def __init__(self):
        self._here = Partition(Partition.RUNNING)
        self.running = self._here.info()[4]
        head = bytearray(208)
        self._here.readblocks(0, head, 0)
        self.chip = head[12] | head[13] << 8
        self.build = head[176:208].hex()  # as image.build_id() says, which no start needs
        self._revision = -1
        self._epoch_s = _EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0
        cause = machine.reset_cause()
        self.cold = cause == machine.PWRON_RESET
        self.woke = cause == machine.DEEPSLEEP_RESET
        self.nvs = NVS("ioto")  # what a new file system must not forget
        self.reset = machine.reset
        # The running image is good. It acts on the record that boots next: the caller has seen boot() == running.
        self.confirm = Partition.mark_app_valid_cancel_rollback

    def revision(self):
        """Of the chip, major * 100 + minor; None where it can't be read. Read once."""
        if self._revision == -1:
            from .revision import read

            self._revision = read(self.chip, machine.mem32)
        return self._revision

    def boot(self):
        """Label of the slot that boots next; the running one where the layout has no choice."""
        try:
            return Partition(Partition.BOOT).info()[4]
        except OSError:
            return self.running

    def slot(self):
        """The inactive Slot; UpdateError no_slots."""
        try:
            other = Slot(self._here.get_next_update())
            if other.label != self.running and Partition.find(Partition.TYPE_DATA, 0):
                return other
        except OSError:
            pass
        raise UpdateError("no_slots", "two ota partitions and otadata are needed")

    def state(self):
        """State of the active otadata record: new, pending, valid, undefined (nothing rolls back); None without one."""
        from .otadata import state

        return state()

    def is_aborted(self):
        """Has the bootloader gone back since stay()?"""
        from .otadata import is_aborted

        return is_aborted()

    def stay(self):
        """Before a slot becomes startable: the running one boots next. OSError if it can't be chosen."""
        from .otadata import stay

        stay(self)

    def install(self, slot, staged):
        """Swap: the slot boots next. Then reset. OSError if its image does not verify."""
        slot.partition.set_boot()
        self.reset()

    def alone(self, soft):
        """Reset into a boot without the application, see boot.py; a `soft` reset does not end a trial."""
        self.nvs.set_i32("alone", 1)
        (machine.soft_reset if soft else self.reset)()

    def go_back(self):
        """Where the bootloader does not roll back: choose the other slot ourselves. OSError if it can't be started."""
        self._here.get_next_update().set_boot()

    def settled(self):
        """This start went well: boot.py counts again from 0."""
        try:
            if self.nvs.get_i32("resets"):
                self.nvs.set_i32("resets", 0)
                self.nvs.commit()
        except OSError:  # never counted
            pass

    def floor(self):
        """The highest version ever confirmed, "" if none was: in the NVS, which a new file system does not touch."""
        try:
            return self.kept("floor").decode()
        except ValueError:
            return ""

    def raise_floor(self, version):
        self.keep("floor", version.encode())

    def kept(self, key):
        """What keep() has kept, b"" if nothing: in the NVS, where it costs a few ms and hardly ever an erase."""
        raw = bytearray(256)
        try:
            return raw[: self.nvs.get_blob(key, raw)]
        except OSError:
            return b""

    def keep(self, key, raw):
        self.nvs.set_blob(key, raw)
        self.nvs.commit()

    def watchdog(self, timeout_ms):
        """Arm, or give another time to, the watchdog; it can't be taken off again and outlives a soft reset."""
        self.feed = machine.WDT(timeout=timeout_ms).feed

    def time_s(self):
        """Unix seconds, or None while the clock was never set."""
        now = time.time() + self._epoch_s
        return now if now >= _CLOCK_SET_S else None

    def set_time(self, unix_s):
        y, mo, d, h, mi, s, wd, _ = time.gmtime(unix_s - self._epoch_s)[:8]
        machine.RTC().datetime((y, mo, d, wd, h, mi, s, 0))

    def spread_ms(self, most_ms):
        """Between half of `most_ms` and all of it, at random."""
        return most_ms // 2 + struct.unpack("<H", urandom(2))[0] * most_ms // 131072

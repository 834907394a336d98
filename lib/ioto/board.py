"""The board's hardware: slots, boot partition, clock, reset, watchdog. Only this module and otadata.py access it.

Sources: MicroPython ports/esp32/esp32_partition.c, ESP-IDF v5.5 esp_ota_ops.c and bootloader_common_loader.c.
"""

import struct
import time
from os import urandom

import machine
from esp32 import NVS, Partition

from .errors import UpdateError

_EPOCH_2000_S = 946684800  # the ESP32 port counts from 2000-01-01
_CLOCK_SET_S = 1704067200  # 2024-01-01: an earlier time means that the clock was never set (it starts at 2000)


class Slot:
    """A flash slot in blocks of 4096 bytes."""

    def __init__(self, partition):
        self.partition = partition
        _, _, _, self.size, self.label, _ = partition.info()
        self.write = partition.writeblocks
        self.read = partition.readblocks

    def erase(self, n):
        self.partition.ioctl(6, n)


class Board:
    raw = False  # slots accept only ESP images

    def __init__(self):
        self.here = Partition(Partition.RUNNING)  # also the base of a delta
        self.running = self.here.info()[4]
        head = bytearray(208)
        self.here.readblocks(0, head, 0)
        self.chip = head[12] | head[13] << 8
        self.build = head[176:208].hex()  # as image.build_id(), without importing image.py at each start
        self._revision = -1
        self._epoch_s = _EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0
        cause = machine.reset_cause()
        self.cold = cause == machine.PWRON_RESET
        self.woke = cause == machine.DEEPSLEEP_RESET
        self.nvs = NVS("ioto")  # for data that must survive a new file system
        self.reset = machine.reset
        # Confirms the running image. It acts on the otadata record of the slot that boots next, so the caller first
        # checks that boot() == running.
        self.confirm = Partition.mark_app_valid_cancel_rollback

    def revision(self):
        """The chip revision, major * 100 + minor; None if it can't be read. Read only once."""
        if self._revision == -1:
            from .revision import read

            self._revision = read(self.chip, machine.mem32)
        return self._revision

    def boot(self):
        """Label of the slot that boots next; the running one if the partition table has no OTA slots."""
        try:
            return Partition(Partition.BOOT).info()[4]
        except OSError:
            return self.running

    def slot(self):
        """The inactive Slot; UpdateError no_slots if there is none, or no otadata."""
        try:
            other = Slot(self.here.get_next_update())
            if other.label != self.running and Partition.find(Partition.TYPE_DATA, 0):
                return other
        except OSError:
            pass
        raise UpdateError("no_slots", "two ota partitions and otadata are needed")

    def state(self):
        """State of the active otadata record: new, pending, valid, undefined (no rollback); None without a record."""
        from .otadata import state

        return state()

    def is_aborted(self):
        """Has the bootloader rolled back since stay()?"""
        from .otadata import is_aborted

        return is_aborted()

    def stay(self):
        """Select the running slot to boot next, before the other slot becomes bootable; OSError if impossible."""
        from .otadata import stay

        stay(self)

    def install(self, slot, staged):
        """Swap: select the slot to boot next, then reset. OSError if its image does not verify."""
        slot.partition.set_boot()
        self.reset()

    def go_back(self):
        """For bootloaders that do not roll back: select the other slot to boot next. OSError if it can't be started."""
        self.here.get_next_update().set_boot()

    def settled(self):
        """Mark this start as good: boot.py counts from 0 again."""
        try:
            if self.nvs.get_i32("resets"):
                self.nvs.set_i32("resets", 0)
                self.nvs.commit()
        except OSError:  # never counted
            pass

    def floor(self):
        """The highest version ever confirmed, "" if none. Stored in the NVS, which survives a new file system."""
        try:
            return self.kept("floor").decode()
        except ValueError:
            return ""

    def raise_floor(self, version):
        self.keep("floor", version.encode())

    def kept(self, key):
        """The bytes stored by keep(), b"" if none.

        They are in the NVS, where a write takes a few ms and rarely needs an erase.
        """
        raw = bytearray(256)
        try:
            return raw[: self.nvs.get_blob(key, raw)]
        except OSError:
            return b""

    def keep(self, key, raw):
        self.nvs.set_blob(key, raw)
        self.nvs.commit()

    def watchdog(self, timeout_ms):
        """Start the watchdog or change its timeout. It can't be stopped, and it keeps running after a soft reset."""
        self.feed = machine.WDT(timeout=timeout_ms).feed

    def time_s(self):
        """Unix seconds, or None if the clock was never set."""
        now = time.time() + self._epoch_s
        return now if now >= _CLOCK_SET_S else None

    def set_time(self, unix_s):
        y, mo, d, h, mi, s, wd, _ = time.gmtime(unix_s - self._epoch_s)[:8]
        machine.RTC().datetime((y, mo, d, wd, h, mi, s, 0))

    def spread_ms(self, most_ms):
        """A random time between half of `most_ms` and `most_ms`."""
        return most_ms // 2 + struct.unpack("<H", urandom(2))[0] * most_ms // 131072

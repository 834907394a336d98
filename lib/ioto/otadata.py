"""Read and change the bootloader's otadata records.

Sources: ESP-IDF v5.5 esp_ota_ops.c and bootloader_common_loader.c.
"""

import struct
from binascii import crc32

import machine
from esp32 import Partition

_STATES = ("new", "pending", "valid")  # 3 is invalid, 4 aborted


def _records():
    """[(sequence number, state, is the CRC correct, partition, block)] of otadata."""
    found = []
    for p in Partition.find(Partition.TYPE_DATA, 0):
        for n in (0, 1):
            record = bytearray(32)
            p.readblocks(n, record, 0)
            seq, state, crc = struct.unpack("<I20xII", record)
            # The CRC (the ROM's crc32_le) covers only the sequence number.
            found.append((seq, state, crc == crc32(record[:4], 0xFFFFFFFF), p, n))
    return found


def state():
    """See Board.state()."""
    best = (0, None)
    for seq, state, is_whole, _, _ in _records():
        # If the sequence numbers are equal, the record in sector 0 is active.
        if seq != 0xFFFFFFFF and state not in (3, 4) and is_whole and seq > best[0]:
            best = (seq, _STATES[state] if state < 3 else "undefined")
    return best[1]


def is_aborted():
    """See Board.is_aborted()."""
    return any(record[1] == 4 for record in _records())


def stay(board):
    """See Board.stay().

    Normally the running slot already boots next, but not if the bootloader has fallen back. Then the other slot's
    record is active and VALID: the new image would start without being selected and without a trial, and set_boot()
    would not change that. The aborted records of earlier trials are erased: they would look like a rollback of the next
    trial.
    """
    if board.boot() != board.running:
        Partition(Partition.RUNNING).set_boot()
        board.confirm()
    for _, state, _, p, n in _records():
        if state == 4:
            p.ioctl(6, n)


def at_prompt():
    """For a user at the prompt: the watchdog can't be stopped, so its timeout is set to a day."""
    machine.WDT(timeout=86400000)

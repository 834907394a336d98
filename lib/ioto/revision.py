"""Read the chip revision, major * 100 + minor, from the eFuses with `machine.mem32`.

MicroPython has no function for it. Sources: ESP-IDF v5.5 components/hal/*/efuse_hal.c and
soc/*/register/soc/efuse_reg.h. Loaded once at each start.
"""

import struct

# A row for each chip: chip id, address of the block, then (word, shift, bits) for the two parts of the minor number,
# lower part first, and for the two parts of the major number. A bytes object, because a table of tuples would take 2
# KB.
TABLE = (
    b"\x00\x00\xa0\xf5\x3f\x05\x18\x02\x00\x00\x00\x03\x0f\x01\x05\x14\x01"  # ESP32: BLOCK0
    b"\x02\x44\xa0\x41\x3f\x04\x04\x03\x03\x14\x01\x03\x12\x02\x00\x00\x00"  # S2: from here on BLOCK1
    b"\x05\x44\x88\x00\x60\x03\x12\x03\x05\x17\x01\x05\x18\x02\x00\x00\x00"  # C3
    b"\x09\x44\x70\x00\x60\x03\x12\x03\x05\x17\x01\x05\x18\x02\x00\x00\x00"  # S3
    b"\x0c\x40\x88\x00\x60\x01\x10\x04\x00\x00\x00\x01\x14\x02\x00\x00\x00"  # C2: BLOCK2
    b"\x0d\x44\x08\x0b\x60\x03\x12\x04\x00\x00\x00\x03\x16\x02\x00\x00\x00"  # C6
    b"\x10\x44\x08\x0b\x60\x03\x12\x03\x00\x00\x00\x03\x15\x02\x00\x00\x00"  # H2
    b"\x12\x44\xd0\x12\x50\x02\x00\x04\x00\x00\x00\x02\x04\x02\x02\x17\x01"  # P4
    b"\x17\x44\x48\x0b\x60\x02\x00\x04\x00\x00\x00\x02\x04\x02\x00\x00\x00"  # C5
)
ROW = 17
SYSCON_DATE = 0x3FF6607C  # of the ESP32: bit 31 is set for revision 3


def read(chip, memory):
    """Return the revision; None if TABLE does not have the chip. `memory` is machine.mem32."""
    for row in range(0, len(TABLE), ROW):
        if TABLE[row] == chip:
            address = struct.unpack_from("<I", TABLE, row + 1)[0]

            def number(parts):
                found = at = 0
                for i in range(0, len(parts), 3):
                    found |= (memory[address + 4 * parts[i]] >> parts[i + 1] & (1 << parts[i + 2]) - 1) << at
                    at += parts[i + 2]
                return found

            minor = number(TABLE[row + 5 : row + 11])
            major = number(TABLE[row + 11 : row + ROW])
            if chip == 0 and major:  # one more bit is set for each of the revisions 1, 2 and 3
                major = {1: 1, 3: 2 + (memory[SYSCON_DATE] >> 31 & 1)}.get(major, 0)
            elif chip == 9 and not minor & 7 and number(b"\x0a\x00\x02") == 1 == number(b"\x03\x18\x03"):
                return 0  # the first ESP32-S3 has other data in place of the major number
            return major * 100 + minor
    return None

"""Check of esp32.Partition as the agent uses it (esp32_partition.c); writes only to the inactive slot."""

from esp32 import Partition

from . import agent, expect, inactive, raises

_INVALID_SIZE, _VALIDATE_FAILED = -260, -5379


def slot(given):
    part = inactive()
    kind, _, _, size, label, encrypted = part.info()
    expect("info() of the slot", (kind, size % 4096, encrypted), (Partition.TYPE_APP, 0, False))
    expect("ioctl(4), ioctl(5)", (part.ioctl(4, 0), part.ioctl(5, 0)), (size // 4096, 4096))
    buf = bytearray(4096)
    part.ioctl(6, 0)
    part.readblocks(0, buf)
    expect("bytes other than 0xff after an erase", 4096 - buf.count(b"\xff"), 0)
    part.writeblocks(0, b"\xf0" * 5, 1001)
    part.writeblocks(0, b"\x3c", 1003)  # without an erase, bits are only cleared
    part.readblocks(0, buf)
    expect("bytes written twice", bytes(buf[999:1008]), b"\xff\xff\xf0\xf0\x30\xf0\xf0\xff\xff")
    part.writeblocks(0, b"\x55" * 4096)  # this form erases first
    part.readblocks(0, buf)
    expect("bytes of a whole block", buf.count(b"\x55"), 4096)
    piece = bytearray(3)
    part.readblocks(0, piece, 4093)
    expect("bytes read at an offset", bytes(piece), b"\x55" * 3)
    raises("a block that is too short", _INVALID_SIZE, part.writeblocks, 0, b"\0" * 100)
    raises("a block after the end", _INVALID_SIZE, part.readblocks, size // 4096, buf)
    raises("an unknown label", 2, Partition, "no such label")
    part.ioctl(6, 0)
    boots = Partition(Partition.BOOT).info()[4]
    raises("set_boot() of a slot without a valid image", _VALIDATE_FAILED, part.set_boot)
    expect("the boot partition after it", Partition(Partition.BOOT).info()[4], boots)
    board = agent("board", "Board")()
    if board.state() == "valid" and board.boot() == board.running:
        board.confirm()  # a second time is not an error, and writes nothing
        expect("state after confirming twice", board.state(), "valid")
    return {"slot": label, "slot_bytes": size}


STEPS = ((slot, None),)

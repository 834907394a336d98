"""Check of NVS: values persist across a reset, and missing keys raise the right error."""

from esp32 import NVS

from . import RESET, expect, raises

_NOT_FOUND, _INVALID_LENGTH = -4354, -4364
_BLOB = bytes(range(200))


def write(given):
    nvs = NVS("suite")
    nvs.set_i32("number", -7)
    nvs.set_i32("number", -2147483647)  # one less overflows on a 32-bit port
    nvs.set_blob("blob", _BLOB)
    nvs.commit()
    raises("a missing key", _NOT_FOUND, nvs.get_i32, "nothing")
    raises("a buffer that is too short", _INVALID_LENGTH, nvs.get_blob, "blob", bytearray(10))


def read(given):
    nvs = NVS("suite")
    buf = bytearray(250)
    expect("the number after a reset", nvs.get_i32("number"), -2147483647)
    expect("the blob after a reset", bytes(buf[: nvs.get_blob("blob", buf)]), _BLOB)
    for key in ("number", "blob"):
        nvs.erase_key(key)
        raises("an erased key", _NOT_FOUND, nvs.get_i32, key)
    nvs.commit()


STEPS = ((write, RESET), (read, None))

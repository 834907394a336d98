"""The protocol between the CPU and the hardware: a header and data in each direction over a socket pair.

Request: op, two integers, microseconds of CPU time since the last request, length of the data ("<HqqqI"). Reply:
status, time in microseconds, length ("<qqI"); the highest bit of the length is set if Ctrl-C was typed at the serial
port. AGAIN has no reply. A negative status is an error; the shims on the CPU's side raise the port's exception for it.
shims/_bus.py has the same two formats and the same numbers.
"""

import socket
import struct

REQUEST = struct.Struct("<HqqqI")
REPLY = struct.Struct("<qqI")
INTERRUPT = 1 << 31

# name -> number; shims/_bus.py repeats the numbers that it uses
OPS = {
    "nop": 0, "read": 1, "write": 2, "erase": 3, "set_boot": 4, "mark_valid": 5, "boot": 6, "next_update": 7,
    "partitions": 8, "nvs_open": 9, "nvs_get_i32": 10, "nvs_set_i32": 11, "nvs_get_blob": 12, "nvs_set_blob": 13,
    "nvs_erase": 14, "flash_read": 15, "reset": 16, "soft_reset": 17, "deepsleep": 18, "watchdog": 19,
    "rtc_get": 20, "rtc_set": 21, "rtc_memory": 22, "rtc_memory_set": 23, "reset_cause": 24, "unique_id": 25,
    "random": 26, "idle": 27, "pin": 28, "console_read": 29, "console_mode": 30, "interrupt_char": 31, "sleep": 33,
    "gc": 34, "idf": 35, "thread": 36, "register": 37, "socket": 64, "connect": 65, "send": 66, "recv": 67,
    "sendto": 68, "recvfrom": 69, "close": 70, "poll": 71, "resolve": 72, "wifi": 73, "tls": 74,
}  # fmt: skip
AGAIN = 38  # interrupt the program again: the only request without a reply


class Gone(Exception):
    """The CPU process exited by itself."""


def receive(connection: socket.socket, n: int) -> bytes:
    """Exactly `n` bytes; Gone if the connection ends before."""
    raw = b""
    while len(raw) < n:
        part = connection.recv(n - len(raw))
        if not part:
            raise Gone
        raw += part
    return raw

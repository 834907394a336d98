"""The board's serial port: a pseudo terminal that mpremote, Thonny or `ioto deploy` opens like a real port."""

import fcntl
import os
import termios
import tty

INTERRUPT = b"\x03"
_MOST_UNREAD = 65536  # beyond this, the oldest output is lost, as on a serial line without a reader


class Serial:
    """`path` is the device that the client opens. No method blocks."""

    def __init__(self) -> None:
        # The slave stays open, or the line would end when a client closes it.
        self._master, self._slave = os.openpty()
        self.is_plugged = True
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.typed = b""  # received, but not yet read by the program
        self._unread = b""
        self._last = 0

    def fileno(self) -> int:
        return self._master

    def receive(self) -> bool:
        """Read the received bytes into `typed`; True if they contain an interrupt (see discard_interrupted_input())."""
        fcntl.ioctl(self._slave, termios.TIOCNXCL)  # otherwise the next client is refused, since our end stays open
        try:
            data = os.read(self._master, 4096)
        except OSError:  # also if it would block
            return False
        self.typed += data
        return INTERRUPT in data

    def discard_interrupted_input(self) -> None:
        """Discard the input up to the last interrupt."""
        self.typed = self.typed.rpartition(INTERRUPT)[2]

    def send(self, raw: bytes) -> None:
        """Send output of the program; a single line feed becomes CR LF, as in MicroPython's console."""
        cooked = bytearray()
        for byte in raw:
            if byte == 10 and self._last != 13:
                cooked.append(13)
            cooked.append(byte)
            self._last = byte
        self._unread = (self._unread + bytes(cooked))[-_MOST_UNREAD:]
        self.flush()

    def flush(self) -> None:
        """Send as much of the output as the client reads."""
        while self._unread and self.is_plugged:
            try:
                n = os.write(self._master, self._unread)
            except OSError:  # also if it would block
                return
            self._unread = self._unread[n:]

    def unplug(self) -> None:
        """Unplug the cable: a client that has the port open gets an error."""
        if self.is_plugged:
            os.close(self._master)
            os.close(self._slave)
            self.is_plugged = False

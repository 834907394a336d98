"""The board's serial port: a pseudo terminal, whose other end mpremote, Thonny or `ioto deploy` opens like a cable's."""

import fcntl
import os
import termios
import tty

INTERRUPT = b"\x03"
_MOST_UNREAD = 65536  # then the oldest is lost, as on a wire nobody listens to


class Serial:
    """`path` is what a program opens. Bytes, without blocking, each way."""

    def __init__(self):
        self._master, self._slave = os.openpty()  # the far end stays open, or a client that leaves would end the line
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.typed = b""  # received, and not read by the program yet
        self._unread = b""
        self._last = b""

    def fileno(self):
        return self._master

    @property
    def plugged(self):
        return self._master is not None

    def receive(self):
        """Take what has arrived into `typed`; True if an interrupt is in it, which ends what was typed before."""
        fcntl.ioctl(self._slave, termios.TIOCNXCL)  # or the next client is refused, since our end stays open
        try:
            data = os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return False
        self.typed += data
        return INTERRUPT in data

    def interrupted(self):
        """Forget what was typed up to the last interrupt."""
        self.typed = self.typed.rpartition(INTERRUPT)[2]

    def send(self, raw):
        """What the program prints; a line feed alone becomes CR LF, as in MicroPython's console."""
        cooked = bytearray()
        for byte in raw:
            if byte == 10 and self._last != 13:
                cooked.append(13)
            cooked.append(byte)
            self._last = byte
        self._unread = (self._unread + bytes(cooked))[-_MOST_UNREAD:]
        self.flush()

    def flush(self):
        while self._unread and self.plugged:
            try:
                n = os.write(self._master, self._unread)
            except (BlockingIOError, OSError):
                return
            self._unread = self._unread[n:]

    def unplug(self):
        """Pull the cable: whoever has the port open gets an error."""
        if self.plugged:
            os.close(self._master)
            os.close(self._slave)
            self._master = None

"""The CPU: MicroPython's unix port as a child process of the hardware, killed like a chip that loses its power."""

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path

SHIMS = Path(__file__).parent / "shims"
_PR_SET_PDEATHSIG = 1  # sys/prctl.h
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it


class Cpu:
    """One program run. `link` is the bus, `out` what it prints (non-blocking); both are to be watched by the hardware.

    The child is forked from this process, with the interpreter's extension module already loaded: a start takes
    a millisecond where the command would take thirty.
    """

    def __init__(self, flash, simulated, fault, heap_bytes, frozen=""):
        import micropython_run

        self.link, theirs = socket.socketpair()
        read, write = os.pipe()
        argv = [
            "micropython", "-X", "heapsize=%d" % heap_bytes, str(SHIMS / "_start.py"),
            str(theirs.fileno()), "simulated" if simulated else "real", fault, str(flash.resolve()), str(frozen),
        ]  # fmt: skip
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _child(micropython_run.run_main, argv, theirs, write)
        theirs.close()
        os.close(write)
        os.set_blocking(read, False)
        self.out = open(read, "rb", buffering=0)

    def interrupt(self):
        """Ctrl-C to a program that computes: KeyboardInterrupt in it."""
        os.kill(self.pid, signal.SIGINT)

    def kill(self):
        """The power is gone: nothing more is done. Returns the last of what was printed."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        last = self.out.read() or b""
        self.link.close()
        self.out.close()
        return last


def _child(run, argv, link, out):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.closerange(3, link.fileno())  # nothing else of the host's is the board's: no socket, no serial port
    os.closerange(link.fileno() + 1, 65536)
    os.set_inheritable(link.fileno(), True)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # it dies with its hardware
    if _prctl:  # even if it computes, and asks for nothing
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the hardware's business
    status = 1
    try:
        status = run(argv)
    finally:
        os._exit(status or 0)

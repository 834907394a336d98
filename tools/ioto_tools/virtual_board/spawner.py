"""The process that starts a board's CPUs by fork(), so that they inherit almost nothing from this machine.

A fork starts within a millisecond; the command `micropython` takes thirty. A fork of the process that runs the board
would have a copy of its memory, including passwords and keys; so the CPUs are forks of this process, which has an empty
environment.

Runs as a separate program: python spawner.py FD, with requests and answers as lines of JSON over the socket FD.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1  # sys/prctl.h
BREAK = signal.SIGUSR1  # raises KeyboardInterrupt in the program, between two bytecode instructions
_FIRST = 3  # first descriptor of a CPU: the link, the flash, the frozen modules; then the shims
# The shims are read through open descriptors, since a CPU can't open files. Each module is read once.
_START = """
import sys, vfs
class Shims:
    files = vfs.VfsPosix()
    names = %r
    def mount(self, readonly, mkfs):
        pass
    def umount(self):
        pass
    def stat(self, path):
        if path[1:] not in self.names:
            raise OSError(2)
        return (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    def open(self, path, mode):
        return self.files.open(self.names[path[1:]], mode)
vfs.mount(Shims(), "/.shims")
sys.path[:] = ["/.shims", ".frozen"]
sys.argv[:] = %r
import _start
"""


def serve(line: socket.socket) -> None:
    """Answer requests until the other end closes.

    {"start": {...}} with two descriptors forks a CPU, {"end": pid} waits for its exit.
    """
    import micropython_run  # type: ignore[import-not-found]  # a C extension
    import sandbox  # type: ignore[import-not-found]  # beside this program

    here = os.getpid()
    shims = sorted((Path(__file__).parent / "shims").glob("*.py"))
    while True:
        raw, files, _, _ = socket.recv_fds(line, 65536, 2)
        while raw and not raw.endswith(b"\n"):
            raw += line.recv(65536)
        if not raw:
            os._exit(0)  # its forks are killed with it
        asked = json.loads(raw)
        pid = asked.get("end") or os.fork()
        if not pid:
            _become_cpu(micropython_run, sandbox, here, asked["start"], files, shims)
        if "end" in asked:
            os.waitpid(pid, 0)
        for fd in files:
            os.close(fd)
        line.sendall(b"%d\n" % pid)


def _become_cpu(
    micropython_run: Any, sandbox: Any, parent: int, start: dict[str, Any], files: list[int], shims: list[Path]
) -> NoReturn:
    """Become the CPU in this fork; never returns."""
    status = 1
    try:
        link, out = files
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        found = [link, *(os.open(path or os.devnull, os.O_RDONLY) for path in (start["flash"], start["frozen"]))]
        found += [os.open(path, os.O_RDONLY) for path in shims]
        for n, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in found]):
            os.dup2(fd, _FIRST + n)
        os.closerange(_FIRST + len(found), 65536)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the CPU ends if it writes after the hardware has exited
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the hardware handles Ctrl-C
        # MicroPython's own SIGINT handler aborts the C code that is running; this one behaves as on the chip.
        ctypes.CDLL(None).signal(
            BREAK, ctypes.cast(ctypes.CDLL(micropython_run.__file__).mp_sched_keyboard_interrupt, ctypes.c_void_p)
        )
        if sys.platform == "linux":  # kills the CPU with its parent, even if it makes no requests
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        names = {path.name: _FIRST + 3 + n for n, path in enumerate(shims)}
        words = [
            "board",
            "3",
            start["time"],
            start["fault"],
            "4",
            "5" if start["frozen"] else "",
            str(start["chip_bytes"]),
        ]
        argv = ["micropython", "-X", "heapsize=%d" % start["heap_bytes"], "-c", _START % (names, words)]
        if sandbox.available():
            sandbox.restrict_process()
        status = micropython_run.run_main(argv)
    finally:
        os._exit(status or 0)


if __name__ == "__main__":
    sys.path[1:] = json.loads(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))

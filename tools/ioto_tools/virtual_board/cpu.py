"""The CPU: MicroPython's unix port in a separate process. Killing that process simulates a loss of power."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .spawner import BREAK


class _Spawner:
    """Client of the spawner process (spawner.py); one for each process that runs boards."""

    _process: subprocess.Popen[bytes]
    _line: socket.socket

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_by: int | None = None  # PID that started the spawner; a forked process starts its own

    def _ensure_started(self) -> None:
        if self._started_by == os.getpid() and self._process.poll() is None:
            return
        self._line, theirs = socket.socketpair()
        program = Path(__file__).parent / "spawner.py"
        words = [sys.executable, "-E", "-s", "-S", str(program), str(theirs.fileno()), json.dumps(sys.path)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env={}, start_new_session=True
        )
        theirs.close()
        self._started_by = os.getpid()

    def request(self, asked: dict[str, Any], files: Sequence[int] = ()) -> int:
        with self._lock:
            self._ensure_started()
            socket.send_fds(self._line, [json.dumps(asked).encode() + b"\n"], files)
            answer = b""
            while not answer.endswith(b"\n"):
                piece = self._line.recv(64)
                if not piece:
                    raise OSError("the process that starts the board's programs (spawner.py) has exited")
                answer += piece
            return int(answer)


_spawner = _Spawner()


class Cpu:
    """One run of a program. `link` is the bus, `out` the program's output (non-blocking); select() on both."""

    def __init__(
        self, flash: Path, simulated: bool, fault: str, heap_bytes: int, chip_bytes: int, frozen: str | Path = ""
    ) -> None:
        self.link, theirs = socket.socketpair()
        read, write = os.pipe()
        os.set_blocking(read, False)
        self.out = open(read, "rb", buffering=0)
        start = {
            "flash": str(flash.resolve()),
            "frozen": str(frozen),
            "time": "simulated" if simulated else "real",
            "fault": fault,
            "heap_bytes": heap_bytes,
            "chip_bytes": chip_bytes,
        }
        try:
            self.pid = _spawner.request({"start": start}, [theirs.fileno(), write])
        finally:
            theirs.close()
            os.close(write)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in a program that is computing (Ctrl-C)."""
        os.kill(self.pid, BREAK)

    def kill(self) -> bytes:
        """Kill the process at once, as a loss of power would. Returns the rest of its output."""
        os.kill(self.pid, signal.SIGKILL)
        _spawner.request({"end": self.pid})
        last = self.out.read() or b""
        self.link.close()
        self.out.close()
        return last

"""Run the commands `ioto` and `mpremote` as a user types them."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent
LIMIT_S = 30


def command(*words, limit_s=LIMIT_S):
    return subprocess.run([str(BIN / words[0]), *map(str, words[1:])], capture_output=True, text=True, timeout=limit_s)


@contextmanager
def running(*words):
    """Run a program that prints the path of a serial port in its first line; yields the path."""
    board = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    try:
        yield board.stdout.readline().split()[-1]
    finally:
        board.kill()
        board.communicate()


def board(flash):
    """`ioto board run --serial`, as a user starts it."""
    return running(BIN / "ioto", "board", "run", flash, "--serial")

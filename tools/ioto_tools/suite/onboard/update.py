"""Check of a complete update into the other slot and back.

A trial without confirmation is rolled back; the second attempt is confirmed. The second image is the running image with
another version string. At the end the first slot runs its own image again.
"""

from esp32 import Partition

from . import RESET, Watch, agent, expect, inactive
from .device import made, offer, until
from .source import Image


def _board():
    return agent("board", "Board")()


def _stands(running, state):
    board = _board()
    expect(
        "running slot, next slot to boot, state in otadata",
        (board.running, board.boot(), board.state()),
        (running, running, state),
    )


def _apply(device, attempt):
    """Stage and swap. The host resets the board, to reach the prompt before the application starts."""
    device.board.reset = lambda: None
    staged = until(device, "device:update")
    expect("attempt", staged.attempt, attempt)
    staged.apply()


def stage(given):
    other = inactive().info()[4]
    board = _board()
    _stands(board.running, "valid")
    watch = Watch()
    image = Image(Partition(Partition.RUNNING), "suite")
    found = {
        "home": board.running,
        "other": other,
        "offer": offer(image),
        "image_bytes": image.size,
        "image_hash_ms": watch.ms(),
    }
    watch = Watch()
    _apply(made(found["offer"], image), 1)
    found["staged_and_swapped_ms"] = watch.ms()
    return found


def not_confirmed(given):
    _stands(given["other"], "pending")


def rolled_back(given):
    _stands(given["home"], "valid")
    _apply(made(given["offer"]), 2)


def confirmed(given):
    _stands(given["other"], "pending")
    device = made(given["offer"])
    watch = Watch()
    until(device, "device:confirmed")
    found = {"confirm_ms": watch.ms()}
    _stands(given["other"], "valid")
    _board().go_back()
    return found


def home(given):
    _stands(given["home"], "pending")
    _board().confirm()
    _stands(given["home"], "valid")


STEPS = ((stage, RESET), (not_confirmed, RESET), (rolled_back, RESET), (confirmed, RESET), (home, RESET))

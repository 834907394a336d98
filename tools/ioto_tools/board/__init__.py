"""The virtual board: the hardware is this process, the CPU is MicroPython's unix port as a child of it."""

from .board import Board, Cut, Run

__all__ = ["Board", "Cut", "Run"]

"""A virtual board: this process is the hardware; its CPU is MicroPython's unix port in a child process."""

from .board import Board, Cut, Run

__all__ = ["Board", "Cut", "Run"]

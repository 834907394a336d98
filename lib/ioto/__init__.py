"""Over-the-air updates for MicroPython boards."""

from .watch import rSignal, rSignalSync, rWatch, rWatchOff

__version__ = "0.1.0"
__all__ = ("rSignal", "rSignalSync", "rWatch", "rWatchOff")

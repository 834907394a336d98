"""Over-the-air updates for MicroPython boards."""

__version__ = "0.1.0"

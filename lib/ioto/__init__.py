"""Over-the-air updates for MicroPython boards."""

from .archive import mounted
from .watch import rSignal, rSignalSync, rWatch, rWatchOff

__version__ = "0.1.0"
BUILT = 1767225600  # Unix seconds, not after __version__ was: no clock that is right says less
__all__ = ("rSignal", "rSignalSync", "rWatch", "rWatchOff")
__path__ = mounted(__path__, __file__)

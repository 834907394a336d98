"""Over-the-air updates for MicroPython boards."""

from .archive import mounted
from .watch import rSignal, rSignalSync, rWatch, rWatchOff

__version__ = "0.1.0"
BUILT = 1767225600  # Unix seconds, not later than the release of __version__: a correct clock never shows less
__all__ = ("rSignal", "rSignalSync", "rWatch", "rWatchOff")
__path__ = mounted(__path__, __file__)

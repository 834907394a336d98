"""The module in C, as on the chip.

The port's own is in Python, which leaves 14 KB of garbage for a certificate.
"""

from ubinascii import *

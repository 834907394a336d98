"""What is in C, as on the chip; the port puts one in Python in front of it, which leaves 14 KB of garbage for a
certificate.
"""

from ubinascii import *

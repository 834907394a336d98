"""Verify signatures on the unix port; argument: LIB; input: lines of key, digest and signature in hex.

Prints True or False for each line.
"""

import sys

sys.path.insert(0, sys.argv[1])
from ioto import pss

for line in sys.stdin:
    key, digest, signature = [bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2)) for text in line.split()]
    for good in pss.verify(pss.public_key(key), digest, signature):
        pass
    print(good)

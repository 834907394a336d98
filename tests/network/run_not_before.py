"""Print notBefore of certificates, on the unix port: run_not_before.py LIB.

Reads DER certificates in hex, one a line, from standard input.
"""

import sys

sys.path.insert(0, sys.argv[1])
from ioto.clock import begins

for line in sys.stdin:
    line = line.strip()
    print(begins(bytes(int(line[i : i + 2], 16) for i in range(0, len(line), 2))))

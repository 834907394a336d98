"""Under the unix port: beginnings.py LIB, DER certificates in hex on standard input, one a line. Prints notBefore of
each.
"""

import sys

sys.path.insert(0, sys.argv[1])
from ioto.clock import begins

for line in sys.stdin:
    line = line.strip()
    print(begins(bytes(int(line[i : i + 2], 16) for i in range(0, len(line), 2))))

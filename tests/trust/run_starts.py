"""Start the agent with each ioto.json, one a line on standard input, on the unix port; arguments: LIB FOLDER.

Prints `starts` and the log messages, or why the agent does not start.
"""

import sys

sys.path.insert(0, sys.argv[1])
from ioto import start

folder = sys.argv[2]
for line in sys.stdin:
    with open(folder + "ioto.json", "w") as f:
        f.write(line)
    said = []
    try:
        start.agent(folder, lambda level, message: said.append(message))
        print("starts", said)
    except ValueError as e:
        print(str(e).replace(folder, ""))

"""A Linux gateway: the agent runs on MicroPython's unix port, an update is an archive, and scripts/update installs it.

micropython main.py    under a supervisor that starts it again when it ends
"""

import sys

sys.path.insert(0, "lib")

from ioto import rWatch
from ioto.start import agent, run


async def main():
    await agent(listener=lambda level, message: print(level, message)).run()


rWatch("device:update", lambda data, staged: staged.apply())
rWatch("device:update:failed", lambda data, why: print("not updated:", why))
rWatch("device:confirmed", lambda data, version: print("confirmed", version))
run(main())

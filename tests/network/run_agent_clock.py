"""Run an agent that sets this process's clock, with libfaketime: run_agent_clock.py LIB FOLDER ROUNDS LAST.

After each round, prints the time, whether it is known, the reason for the last failure, and the last known time.
"""

import asyncio
import json
import os
import sys
import time

sys.path.insert(0, sys.argv[1])
from ioto import linux, start

folder, rounds, last = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


class Board(linux.Board):
    """A host whose clock the agent can set, as on an ESP32."""

    def set_time(self, unix_s):
        y, mo, d, h, mi, s = time.gmtime(int(unix_s))[:6]
        with open(folder + "clock.new", "w") as f:
            f.write("%04d-%02d-%02d %02d:%02d:%02d\n" % (y, mo, d, h, mi, s))
        os.rename(folder + "clock.new", folder + "clock")


async def main():
    linux.Board = Board
    made = start.agent(folder, print if "-v" in sys.argv else None)
    await made.begin()
    made.record["time"] = last
    for _ in range(rounds):
        made.record["failures"] = 0
        made._tried_s = None
        made.record["tried"] = None
        await made.turn()
        print(json.dumps([time.time(), made.board.time_s() is not None, made.error, made.record["time"]]))


asyncio.run(main())

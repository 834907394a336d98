"""The agent loads and releases its parts at each check-in; after a thousand check-ins, the heap in use is the same."""

import re

import pytest
from rig import MAIN, Rig

MEASURING = (
    MAIN.replace(
        "asyncio.run(agent(",
        """
import gc, micropython

async def look():
    while True:
        await asyncio.sleep(3600)  # a check-in
        gc.collect()
        print("LIVE", gc.mem_alloc())
        micropython.mem_info()

async def main(made):
    asyncio.create_task(look())
    await made.run()

asyncio.run(main(agent(""",
    )
    .replace(".run())", "))")
    .replace("staged.apply()", "staged.defer(3600)")
)


def check_ins(folder, n, updates):
    """[(live bytes of the program, largest free block)] after each of `n` check-ins.

    `updates` of the check-ins stage an update.
    """
    rig = Rig(folder, main=MEASURING)
    found = []

    def seen(line):
        if line.startswith("LIVE"):
            found.append([int(line.split()[1])])
            if len(found) * updates // n > (len(found) - 1) * updates // n:
                version = "1.0.%d" % (len(found) + 1)
                rig.publish(rig.image(len(found)), version)
        elif free := re.search("max free sz: ([0-9]+)", line):
            found[-1].append(int(free[1]))
        return len(found) == n and len(found[-1]) == 2

    run = rig.run(until_s=3600 * (n + 2), stop=seen)
    assert len(found) == n, run.console[-2000:]
    return found


@pytest.mark.parametrize("n, updates", [(40, 4), pytest.param(1000, 10, marks=pytest.mark.sweep)])
def test_live_heap_does_not_grow(tmp_path, n, updates):
    """From the second quarter on, each part has been loaded once: MicroPython keeps the names of all modules."""
    found = check_ins(tmp_path, n, updates)
    early, late = found[n // 4 : n // 2], found[-n // 4 :]
    least = [min(live for live, _ in each) for each in (early, late)]
    assert least[1] < least[0] + 400, (least, found)  # the last connections may leave this much on the heap
    largest = [max(free for _, free in each) for each in (early, late)]
    assert largest[1] > 0.9 * largest[0], (largest, found)

"""The longest pauses of another task during an update, in simulated time: a main.py that prints them."""

import re

from rig import MAIN

# Pauses are counted without the time of imports, which is counted as a stage of its own.
TICKER = """
import asyncio, builtins, time
stage = "start"
longest = {}
imported_ms = depth = 0
original = builtins.__import__

def counted(*arguments):
    global imported_ms, depth
    depth += 1
    began = time.ticks_ms()
    try:
        return original(*arguments)
    finally:
        depth -= 1
        if not depth:
            imported_ms += time.ticks_diff(time.ticks_ms(), began)

builtins.__import__ = counted

async def ticker():
    global imported_ms
    imported_ms = 0  # before there was a loop
    last = time.ticks_ms()
    while True:
        await asyncio.sleep_ms(1)
        now = time.ticks_ms()
        gap = time.ticks_diff(now, last) - 1
        for what, ms in ((stage, gap - imported_ms), ("import", imported_ms)):
            if ms > longest.get(what, (0, 0))[0]:
                longest[what] = (ms, now)
        imported_ms = 0
        last = now

def tell(*words):
    print("GAPS", longest)

"""
PAUSES = TICKER + MAIN.replace("    staged.apply()", "    tell()\n    staged.apply()").replace(
    "asyncio.run(agent(",
    """
def at(name):
    def proc(data, arg):
        global stage
        stage = name
    return proc

for event, name in (("device:update:available", "download"), ("device:update", "apply"), ("device:confirmed", "after")):
    rWatch(event, at(name))
rWatch("device:confirmed", tell)

async def main(made):
    asyncio.create_task(ticker())
    await made.run()

asyncio.run(main(agent(""",
).replace(".run())", "))")


def gaps(run):
    """{stage: longest pause in ms} in the console output of TICKER."""
    found = {}
    for line in re.findall(r"^GAPS (.+)$", run.console, re.M):
        for stage, (gap, _) in eval(line).items():
            found[stage] = max(gap, found.get(stage, 0))
    return found

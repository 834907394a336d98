"""Check of the record: after a reset while it is written, the newest complete copy is loaded."""

import asyncio

from . import RESET, agent, expect

_PATH = "/suite/record"
_KEPT = (1, 1, 2)  # `n` after a reset that follows opening, writing, or closing the file


def begin(given):
    agent("record", "Pair")(_PATH).save_now({"n": 1})


def cut(after):
    def step(given):
        pair = agent("record", "Pair")(_PATH)
        expect("the record", pair.load(), {"n": 1})
        asyncio.run(_begun(pair, after))

    return step


async def _begun(pair, steps):
    global unfinished
    unfinished = asyncio.create_task(pair.save({"n": 2}))  # if it were collected, its file would be closed
    for _ in range(steps):
        await asyncio.sleep_ms(0)


def look(given):
    pair = agent("record", "Pair")(_PATH)
    expect("the record after the resets", pair.load(), {"n": _KEPT[-1]})
    expect("whether the record is damaged", pair.damaged, False)
    return {"resets": len(_KEPT)}


STEPS = ((begin, None), (cut(1), RESET), (cut(2), RESET), (cut(3), RESET), (look, None))

"""The agent's record over resets in the middle of its writing: the newer whole one counts."""

import asyncio

from . import RESET, agent, expect

_PATH = "/suite/record"
_KEPT = (1, 1, 2)  # after a reset behind: the file's opening, its writing, its closing


def begin(given):
    agent("record", "Pair")(_PATH).save_now({"n": 1})


def cut(after):
    def step(given):
        pair = agent("record", "Pair")(_PATH)
        expect("what the record holds", pair.load(), {"n": 1})
        asyncio.run(_begun(pair, after))

    return step


async def _begun(pair, steps):
    global unfinished
    unfinished = asyncio.create_task(pair.save({"n": 2}))  # collected, it would close its file
    for _ in range(steps):
        await asyncio.sleep_ms(0)


def look(given):
    pair = agent("record", "Pair")(_PATH)
    expect("what the record holds in the end", pair.load(), {"n": _KEPT[-1]})
    expect("is it damaged?", pair.damaged, False)
    return {"resets": len(_KEPT)}


STEPS = ((begin, None), (cut(1), RESET), (cut(2), RESET), (cut(3), RESET), (look, None))

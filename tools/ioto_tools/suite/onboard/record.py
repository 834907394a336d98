"""The agent's record over resets in the middle of its writing: the newer whole one counts."""

from . import RESET, agent, expect

_PATH = "/suite/record"
_KEPT = (1, 1, 2)  # after a reset behind: the file's opening, its writing, its closing


def begin(given):
    agent("record", "Pair")(_PATH).save_now({"n": 1})


def cut(after):
    def step(given):
        pair = agent("record", "Pair")(_PATH)
        expect("what the record holds", pair.load(), {"n": 1})
        going = pair._steps({"n": 2})
        for _ in range(after):
            next(going)
        global unfinished
        unfinished = going  # collected, it would close its file

    return step


def look(given):
    pair = agent("record", "Pair")(_PATH)
    expect("what the record holds in the end", pair.load(), {"n": _KEPT[-1]})
    expect("is it damaged?", pair.damaged, False)
    return {"resets": len(_KEPT)}


STEPS = ((begin, None), (cut(1), RESET), (cut(2), RESET), (cut(3), RESET), (look, None))

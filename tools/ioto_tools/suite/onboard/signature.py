"""Check of the signature verification: how long it takes, and that the signature of another text is rejected."""

from hashlib import sha256

from . import Watch, agent, expect


def _raw(name):
    with open("/suite/" + name, "rb") as f:
        return f.read()


def _verify(key, signed, signature):
    """(whether it is valid, total ms, longest step in ms, number of steps)"""
    times = []
    going = agent("pss", "verify")(key, sha256(signed).digest(), signature)
    while True:
        watch = Watch()
        try:
            good = next(going)
        except StopIteration:
            return good, round(sum(times), 1), max(times), len(times)
        times.append(watch.ms())


def check(given):
    key = agent("pss", "public_key")(_raw("key.der"))
    good, found, longest, steps = _verify(key, b"suite", _raw("signature"))
    expect("whether the signature is valid", good, True)
    expect("whether the signature of another text is valid", _verify(key, b"suitf", _raw("signature"))[0], False)
    return {"bits": 3072, "steps": steps, "verify_ms": found, "worst_step_ms": longest}


STEPS = ((check, None),)

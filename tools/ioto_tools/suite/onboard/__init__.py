"""On the board: one module a check, run at the prompt by `ioto board test`.

A check is a tuple STEPS of (function, restart). `function(given)` returns what it found as a dict; `given` is what the host
knows, with what the steps before have found. `restart` is None, or source that resets the board. Skip says why a step can't
run here; whatever else is raised says what is not as it should be.
"""

import gc
import json
import sys
import time

_JOINED = (".agent", ".connect", ".certs", ".clock", ".fetch")  # see ioto_tools/deploy/compiled.py
RESET = "import machine\nmachine.reset()"


class Skip(Exception):
    """The board, or what the host was told, does not allow this check; the text says why."""


class Wrong(Exception):
    """The board is not as it should be; the text says in what."""


def run(check, n, text):
    """Run step `n` of `check` with the JSON `text` as `given`; prints one line of JSON."""
    try:
        steps = __import__("onboard." + check, None, None, ("STEPS",)).STEPS
        step, restart = steps[n]
        told = {"result": "passed", "found": step(json.loads(text)) or {}, "restart": restart, "more": n + 1 < len(steps)}
    except Skip as e:
        told = {"result": "not run", "why": str(e)}
    except Exception as e:
        told = {"result": "failed", "why": str(e) if isinstance(e, Wrong) else repr(e)}
        sys.print_exception(e)
    print(json.dumps(told))


def agent(module, name):
    """`name` of the agent's `module`; a joined agent has it in one of its files, perhaps as name_module.

    A file that does not have it is released: all of them do not fit a board's heap beside a check.
    """
    for file in (".%s" % module, "") + _JOINED:
        known = [each for each in sys.modules]
        try:
            inside = __import__("ioto" + file, None, None, (name,))
        except ImportError:
            continue
        for each in ("%s_%s" % (name, module), name):
            if hasattr(inside, each):
                return getattr(inside, each)
        for each in [each for each in sys.modules if each[:5] == "ioto." and each not in known]:
            del sys.modules[each]
        gc.collect()
    raise Wrong("the agent has no %s in %s" % (name, module))


def expect(what, found, wanted):
    if found != wanted:
        raise Wrong("%s: %r, wanted %r" % (what, found, wanted))


def raises(what, number, call, *args):
    """`call(*args)` has to raise OSError(number)."""
    try:
        call(*args)
    except OSError as e:
        return expect(what, e.errno, number)
    raise Wrong("%s: no OSError %d" % (what, number))


def inactive():
    """Partition of the slot that does not run; Skip where there is none, or where it is all there is to go back to."""
    from esp32 import Partition

    here = Partition(Partition.RUNNING)
    try:
        other = here.get_next_update()
    except OSError:
        raise Skip("no update slots: `ioto flash` lays them out")
    if other.info()[4] == here.info()[4] or not Partition.find(Partition.TYPE_DATA, 0):
        raise Skip("no second update slot, or no otadata: `ioto flash` lays them out")
    if agent("board", "Board")().state() == "pending":
        raise Skip("the running image is on trial: let it be confirmed first")
    return other


class Watch:
    """Milliseconds since it was made."""

    def __init__(self):
        self.began = time.ticks_us()

    def ms(self):
        return round(time.ticks_diff(time.ticks_us(), self.began) / 1000, 1)

"""The part of the suite on the board: one module per check, run at the prompt by `ioto board test`.

A check is a tuple STEPS of (function, restart). `function(given)` returns its measurements as a dict; `given` is the
data from the host plus the measurements of the previous steps. `restart` is None, or source that resets the board. A
step raises Skip with the reason if it can't run on this board; any other exception is a failure.
"""

import gc
import json
import sys
import time

_JOINED = (".agent", ".connect", ".certs", ".clock", ".fetch")  # see ioto_tools/deploy/agent_build.py
RESET = "import machine\nmachine.reset()"


class Skip(Exception):
    """The board or the options of the host do not allow this check; the text gives the reason."""


class Wrong(Exception):
    """The board does not behave as expected; the text describes the difference."""


def run(check, n, text):
    """Run step `n` of `check` with the JSON `text` as `given`; prints one line of JSON."""
    try:
        steps = __import__("onboard." + check, None, None, ("STEPS",)).STEPS
        step, restart = steps[n]
        told = {
            "result": "passed",
            "found": step(json.loads(text)) or {},
            "restart": restart,
            "more": n + 1 < len(steps),
        }
    except Skip as e:
        told = {"result": "not run", "why": str(e)}
    except Exception as e:
        told = {"result": "failed", "why": str(e) if isinstance(e, Wrong) else repr(e)}
        sys.print_exception(e)
    print(json.dumps(told))


def agent(module, name):
    """Import `name` from the agent's `module`; in a joined agent it is in one of the files, possibly as name_module.

    Files without it are unloaded: together they do not fit into a board's heap beside a check.
    """
    for file in (".%s" % module, "") + _JOINED:
        known = list(sys.modules)
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
    raise Wrong("the agent has no %s.%s" % (module, name))


def expect(what, found, wanted):
    if found != wanted:
        raise Wrong("%s: %r instead of %r" % (what, found, wanted))


def raises(what, number, call, *args):
    """Check that `call(*args)` raises OSError(number)."""
    try:
        call(*args)
    except OSError as e:
        return expect(what, e.errno, number)
    raise Wrong("%s: no OSError %d" % (what, number))


def inactive():
    """The partition of the inactive slot; Skip if there is none, or if it is needed for a rollback."""
    from esp32 import Partition

    here = Partition(Partition.RUNNING)
    try:
        other = here.get_next_update()
    except OSError:
        raise Skip("no update slots: create them with `ioto flash`")
    if other.info()[4] == here.info()[4] or not Partition.find(Partition.TYPE_DATA, 0):
        raise Skip("no second update slot, or no otadata: create them with `ioto flash`")
    if agent("board", "Board")().state() == "pending":
        raise Skip("the running image is on trial: repeat the check when it is confirmed")
    return other


class Watch:
    """A stopwatch: milliseconds since its creation."""

    def __init__(self):
        self.began = time.ticks_us()

    def ms(self):
        return round(time.ticks_diff(time.ticks_us(), self.began) / 1000, 1)

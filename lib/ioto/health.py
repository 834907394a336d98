"""The health of the board, which the agent sends in each check-in. Loaded only for this."""

import gc
import os

from .log import log
from .watch import rSignalSync

_NUMBERS_MOST = 8
_NAME_LENGTH = 16
_MOST = 1e15


def of(agent):
    """The object `health` of a check-in; what is unknown is left out."""
    gc.collect()
    free = gc.mem_free()
    found = {"free": free, "least": min(free, agent.least)}
    if not agent.board.raw:
        from .starts import read

        resets = read()
        if resets is not None:
            found["resets"] = resets
    link = agent.link
    if link and link.connected():
        try:
            found["rssi"] = link.wlan.status("rssi")
        except Exception:  # the driver raises several types; the link may be lost now
            pass
    try:
        fs = os.statvfs(agent.config["state"])
        found["fs"] = fs[1] * fs[4]
    except OSError:
        pass
    app = _of_application()
    if app:
        found["app"] = app
    return found


def _of_application():
    """The numbers that the watchers of `device:health` have put into the dict they get."""
    given, found = {}, {}
    rSignalSync("device:health", given)
    for name, value in given.items():
        if (
            isinstance(name, str)
            and 0 < len(name) <= _NAME_LENGTH
            and type(value) in (int, float)
            and -_MOST < value < _MOST
            and len(found) < _NUMBERS_MOST
        ):
            found[name] = value
        else:
            log("warn", "device:health: %r is not sent: at most 8 numbers, names of 1 to 16 characters" % name)
    return found

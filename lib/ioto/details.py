"""Details of a failure for the cloud: cause of the reset, traceback, log lines. Loaded only after a failure.

Nothing depends on it: whatever is missing, damaged or too long is left out.
"""

import json

from .recall import decode

_MOST_BYTES = 2048  # of its JSON
_TRACE_BYTES = 1200  # of that of the traceback
_MORE_BYTES = 11  # a character beyond ASCII may take 12 bytes in JSON instead of 1


def keep(agent):
    """Store the details of the trial that has just failed, for its reports."""
    from . import diary
    from .record import encode
    from .space import put
    from .starts import done

    record = agent.record
    about = [record["update"]["update"], record["attempt"]]
    try:
        put(_path(agent), encode(record["attempt"], {"of": about, "details": _collect(agent, diary.read())}))
    finally:  # what could not be stored must not be taken for a failure of the old image
        diary.stop()
        done()


def load(agent, entry):
    """The stored details if they are about the same attempt as a report's entry, else None."""
    try:
        with open(_path(agent), "rb") as f:
            _, kept = decode(f.read(2 * _MOST_BYTES)) or (0, {})
    except OSError:
        return None
    found = kept.get("details")
    return found if kept.get("of") == [entry["update"], entry["attempt"]] and isinstance(found, dict) else None


def of(agent):
    """The details of a start that an exception or safe mode ended, until answered(); else None."""
    from .starts import ended

    return _collect(agent, b"") if ended() else None


def _collect(agent, lines):
    from .failure import shortened
    from .redact import hide, secrets
    from .starts import cause, ended

    reset, has_trace = ended() or (cause(), False)
    found, hidden = {"reset": reset}, secrets(agent)
    if has_trace:
        try:
            with open(agent.config["state"] + "/traceback", "rb") as f:
                found["trace"] = _text(shortened(hide(f.read(_MOST_BYTES), hidden)))
        except OSError:
            pass
    if lines:
        found["log"] = _text(hide(lines, hidden)).strip()
    return _fit(found)


def _path(agent):
    return agent.config["state"] + "/details"


def _text(raw):
    try:
        return raw.decode()
    except UnicodeError:  # damaged, or cut in the middle of a character
        return "".join([chr(b) if 31 < b < 127 or b == 10 else "?" for b in raw])


def _fit(found):
    """Drop the middle of the traceback, then the oldest lines of the log, until the JSON is short enough."""
    from .failure import shortened

    while _size(found.get("trace", "")) > _TRACE_BYTES:
        trace = found["trace"].encode()
        found["trace"] = _text(shortened(trace, len(trace) * 3 // 4))
    while _size(found) > _MOST_BYTES:
        found["log"] = found["log"].partition("\n")[2]
    if not found.get("log"):
        found.pop("log", None)
    return found


def _size(found):
    """The length of `found` as JSON, also where that is written in ASCII."""
    text = json.dumps(found)
    return len(text) + sum([_MORE_BYTES for c in text if c > "~"])

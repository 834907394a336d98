"""Reads and bounds what a device sends about a failure: reset cause, traceback and last log lines. Pure.

Nothing here is an error: invalid parts are empty, longer texts are shortened, control characters are replaced.
"""

import re
from dataclasses import dataclass

BYTES = 2048  # of the traceback and the log together
LOG_BYTES = 512  # of them for the log, however long the traceback is
RESETS = ("power", "hard", "wdt", "deepsleep", "soft", "brownout", "other")
HIDDEN = "[hidden]"
_CUT = "..."
_SECRET = re.compile(r"""(?i)(bearer\s+|token["']?\s*[:=]\s*["']?)[^\s"',}]{16,}""")


@dataclass(frozen=True)
class FailureDetails:
    reset: str = ""  # one of RESETS; "" if it is unknown
    trace: str = ""  # the traceback; its end if it is too long
    log: str = ""  # the last log lines; the end if they are too long


NONE = FailureDetails()


def is_failure(value: object) -> bool:
    """Is `value`, the field `failure` of a check-in, the description of a failure? Else it is a device's property."""
    return isinstance(value, dict) and not {"reset", "trace", "log"}.isdisjoint(value)


def read(value: object, token: str) -> FailureDetails:
    """The FailureDetails in `value`, any JSON value. The device's `token` is hidden, and what looks like a token."""
    if not isinstance(value, dict):
        return NONE
    reset = value.get("reset")
    trace, log = (_clean(value.get(name), token) for name in ("trace", "log"))
    log = _shorten(log, max(LOG_BYTES, BYTES - len(trace.encode())))
    trace = _shorten(trace, BYTES - len(log.encode()))
    return FailureDetails(_reset_cause(reset), trace, log)


def _reset_cause(value: object) -> str:
    if not isinstance(value, str) or not value:
        return ""
    return value if value in RESETS else "other"


def _clean(value: object, token: str) -> str:
    if not isinstance(value, str):
        return ""
    text = _SECRET.sub(r"\1" + HIDDEN, value.replace(token, HIDDEN)).replace("\r\n", "\n").replace("\r", "\n")
    # isprintable() excludes control characters, characters that reorder a line, and lone surrogates.
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text).strip("\n")


def _shorten(text: str, most: int) -> str:
    """The end of `text`, which has at most `most` bytes of UTF-8."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    return _CUT + raw[len(raw) - most + len(_CUT) :].decode(errors="ignore")

"""Determines the cause of a failure, by which failures are grouped. Pure.

The cause is the exception and the innermost frame of the traceback. Numbers, addresses and ids that may differ between
boards are replaced by `#`; line numbers are kept, because they are the same on all boards with a release.
"""

import re

from .failure_details import FailureDetails

LENGTH = 200
_LINE = 400  # characters of a line that are examined
_FRAME = re.compile(r'\s*File "([^"]*)", line (\d+)(?:, in (.*))?')
# The number of an OSError is kept: OSError: 28, OSError: [Errno 5] EIO, OSError: (-30592, 'MBEDTLS_...').
_KEPT = re.compile(r"OSError: (?:\[Errno |\()?-?\d{1,6}")
_DIFFERS = re.compile(
    r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"  # a MAC address
    r"|\b(?=[A-Za-z_]*\d)\w{6,}"  # an address, an id
    r"|\d+(?:\.\d+)*"
)


def of(details: FailureDetails, note: str = "") -> str:
    """The cause, at most LENGTH characters. `note`: the text after the reason of a report.

    Without a traceback, it is the note, else the reset cause; "" if none of them is known.
    """
    if details.trace:
        return _of_trace(details.trace)[:LENGTH]
    if note:
        return _without_differences(note)[:LENGTH]
    return "reset: " + details.reset if details.reset else ""


def _of_trace(trace: str) -> str:
    lines = [line[:_LINE] for line in trace.split("\n") if line.strip()]
    frames = [(number, found) for number, line in enumerate(lines) if (found := _FRAME.match(line))]
    if not frames:
        return _without_differences(lines[-1].strip()) if lines else ""
    last, frame = frames[-1]
    # A traceback of CPython also contains source lines, which are indented; a message may have several lines.
    after = [line for line in lines[last + 1 :] if not line[0].isspace()]
    file, line_number, function = frame.groups()
    where = "%s:%s" % (file.rpartition("/")[2], line_number)
    if function and not function.startswith("<"):
        where += " in " + function.strip()
    return "%s, %s" % (_without_differences(after[0].strip()), where) if after else where


def _without_differences(line: str) -> str:
    kept = found[0] if (found := _KEPT.match(line)) else ""
    return kept + _DIFFERS.sub("#", line[len(kept) :])

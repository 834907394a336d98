"""Parse the Date and Retry-After headers (RFC 9110, 5.6.7 and 10.2.3). Pure."""

from .calendar import days
from .http_parse import number


def http_date(text):
    """Return the Unix seconds of an IMF-fixdate (`Sun, 06 Nov 1994 08:49:37 GMT`), else None."""
    parts = text.replace(":", " ").split()
    if len(parts) == 8 and parts[7] == "GMT" and len(parts[2]) == 3:
        month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(parts[2])
        numbers = [number(part, 4) for part in parts[3:7] + parts[1:2]]
        if month % 3 == 0 and None not in numbers:
            year, h, m, s, day = numbers
            if 0 < day < 32 and year > 1969 and h < 24 and m < 60 and s < 61:
                return ((days(year, month // 3 + 1, day) * 24 + h) * 60 + m) * 60 + s
    return None


def retry_after(text, now_s):
    """Return the seconds to wait; None if `text` is neither a number nor a date.

    A date is relative to `now_s` (None: no clock).
    """
    found = number(text)
    if found is None and now_s is not None:
        found = http_date(text)
        if found is not None:
            found = max(0, found - now_s)
    return found

"""Parse time zones: fixed offsets and POSIX TZ rules (posix_tz.py). Pure.

The two forms have opposite signs. `+01:00` (ISO 8601) is the offset ahead of UTC, so east is plus. `CET-1`
(POSIX.1-2017 chapter 8.3) is the offset to add to local time to get UTC, so east is minus. `UTC+1` is ambiguous and
refused.
"""

from .ascii import number


def parse(text):
    """Return the zone for `text`; ValueError with the rest of the text from the first error on."""
    if not isinstance(text, str):
        raise ValueError("")
    if text in ("UTC", "GMT", "Z"):
        return (0,)
    if text[:1] in ("+", "-"):
        size = len(text)
        if size not in (3, 5, 6) or (":" in text) != (size == 6):
            raise ValueError(text)
        seconds = number(text[1:3], 0, 15) * 3600 + (number(text[-2:], 0, 59) * 60 if size > 3 else 0)
        return (-seconds if text[0] == "-" else seconds,)
    from .posix_tz import parse as posix

    return posix(text)

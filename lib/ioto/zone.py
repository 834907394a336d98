"""The zones that a text names: fixed offsets, and POSIX TZ rules (posix_tz.py). Pure.

Two conventions for the sign, as the two forms have always had them: `+01:00` (ISO 8601) is how far the place is ahead
of UTC, east is plus; `CET-1` (POSIX.1-2017 chapter 8.3) is what must be added to local time to get UTC, east is minus.
`UTC+1` would be read either way, so it is refused.
"""

from .ascii import number


def parse(text):
    """The zone that `text` names. ValueError of what is left of it from where on it is none."""
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

"""Durations as Ioto writes them: seconds, or a number and a unit, `24 hrs` or `24hrs`. Pure."""

from .ascii import DIGITS

FOREVER = 0x10000000000  # seconds; `never` and `forever`

_UNITS = {
    "sec": 1, "second": 1, "min": 60, "minute": 60, "hr": 3600, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000,
}  # fmt: skip
_BLANK = " \t"  # strip() of CPython knows more blanks than MicroPython's


def parse(value):
    """Whole seconds from 0 to FOREVER. ValueError says what is allowed."""
    if type(value) is int and value >= 0:
        return min(value, FOREVER)
    if isinstance(value, str):
        text = value.strip(_BLANK).lower()
        if text in ("never", "forever"):
            return FOREVER
        unit = text.lstrip(DIGITS)
        digits = text[: len(text) - len(unit)]
        unit = unit.strip(_BLANK) or "sec"
        if unit[-1] == "s":
            unit = unit[:-1]
        if 0 < len(digits) < 13 and unit in _UNITS:
            return min(int(digits) * _UNITS[unit], FOREVER)
    raise ValueError("no duration: use seconds, 'NN secs|mins|hrs|days|weeks|months|years' or 'never'")

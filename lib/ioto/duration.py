"""Parse durations in Ioto's format: a number, optionally with a unit, such as `24 hrs` or `24hrs`. Pure."""

from .ascii import DIGITS

FOREVER = 0x10000000000  # seconds; `never`, `forever`, `unlimited`, `infinite`

_UNITS = {
    "sec": 1, "second": 1, "min": 60, "minute": 60, "hr": 3600, "hour": 3600, "day": 86400, "week": 604800,
    "month": 2592000, "year": 31536000,
}  # fmt: skip
_BLANK = " \t"  # CPython's strip() removes more white space characters than MicroPython's


def parse(value, is_ms=False):
    """Return whole seconds from 0 to FOREVER; with `is_ms`, whole milliseconds, also in the form `20 ms`.

    ValueError says what is allowed.
    """
    if type(value) is int and value >= 0:
        return min(value, FOREVER)
    if isinstance(value, str):
        text = value.strip(_BLANK).lower()
        if text in ("never", "forever", "unlimited", "infinite"):
            return FOREVER
        unit = text.lstrip(DIGITS)
        digits = text[: len(text) - len(unit)]
        unit = unit.strip(_BLANK)
        scale = (
            1
            if not unit or is_ms and unit == "ms"
            else _UNITS.get(unit[:-1] if unit[-1] == "s" else unit, 0) * (1000 if is_ms else 1)
        )
        if 0 < len(digits) < 13 and scale:
            return min(int(digits) * scale, FOREVER)
    raise ValueError(
        "ms" if is_ms else "not a duration: use seconds, 'NN secs|mins|hrs|days|weeks|months|years' or 'never'"
    )

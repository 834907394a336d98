"""Durations as Ioto writes them: seconds, or a number and a unit, `24 hrs` or `24hrs`. Pure."""

FOREVER = 1 << 40  # seconds; `never` and `forever`

_UNITS = (
    ("sec,secs,second,seconds", 1),
    ("min,mins,minute,minutes", 60),
    ("hr,hrs,hour,hours", 3600),
    ("day,days", 86400),
    ("week,weeks", 604800),
    ("month,months", 2592000),
    ("year,years", 31536000),
)


_BLANK = " \t"  # strip() of CPython knows more blanks than MicroPython's


def parse(value):
    """Whole seconds from 0 to FOREVER. ValueError says what is allowed."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return min(value, FOREVER)
    if isinstance(value, str):
        text = value.strip(_BLANK).lower()
        if text in ("never", "forever"):
            return FOREVER
        digits = 0
        while digits < len(text) and "0" <= text[digits] <= "9":
            digits += 1
        unit = text[digits:].strip(_BLANK) or "sec"
        if 0 < digits < 13:
            for names, seconds in _UNITS:
                if unit in names.split(","):
                    return min(int(text[:digits]) * seconds, FOREVER)
    raise ValueError("no duration: use seconds, 'NN secs|mins|hrs|days|weeks|months|years' or 'never'")

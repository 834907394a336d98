"""The bit masks of a window (cron.parse) in which every value is set. Pure."""

MINUTES = 0xFFFFFFFFFFFFFFF
HOURS = 0xFFFFFF
DAYS = 0xFFFFFFFE
MONTHS = 0x1FFE
WEEKDAYS = 127


def is_always(window):
    """True for a window that never closes, which needs no clock."""
    return window[1:6] == (MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS)

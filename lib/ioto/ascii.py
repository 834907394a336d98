"""ASCII digits and letters. CPython's isdigit() also accepts digits of other scripts, MicroPython's does not."""

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def number(text, low, high):
    """Return the int of one to four digits; ValueError(text) if `text` is not a number from `low` to `high`."""
    if 0 < len(text) < 5 and not text.strip(DIGITS) and low <= int(text) <= high:
        return int(text)
    raise ValueError(text)

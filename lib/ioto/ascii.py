"""What is a digit and what a letter: ASCII only. CPython's isdigit() knows those of other scripts, MicroPython's does not."""

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def number(text, low, high):
    """The int that up to four digits name. ValueError(text) if it is none or not from `low` to `high`."""
    if 0 < len(text) < 5 and not text.strip(DIGITS) and low <= int(text) <= high:
        return int(text)
    raise ValueError(text)

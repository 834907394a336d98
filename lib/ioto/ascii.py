"""What is a digit and what a letter: ASCII only. CPython's isdigit() knows those of other scripts, MicroPython's does not."""

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
LETTERS = LOWER + LOWER.upper()

"""Convert dates of the Gregorian calendar to days since 1970 and back. Pure."""

EVER = 0x4000000000000  # Unix seconds, later than any time that is used


def days(y, m, d):
    """Days since 1970-01-01 of a Gregorian date. January and February are counted as the end of the preceding year."""
    if m < 3:
        y -= 1
        m += 12
    return y * 365 + y // 4 - y // 100 + y // 400 + (153 * m - 457) // 5 + d - 719469


def date(day):
    """(year, month, day of month) of a day number as returned by days() (after Peter Baum's Date Algorithms)."""
    day += 719469
    hundredths = 100 * day - 25
    a = hundredths // 3652425
    a -= a // 4
    y = (100 * a + hundredths) // 36525
    d = a + day - 365 * y - y // 4
    m = (5 * d + 456) // 153
    d -= (153 * m - 457) // 5
    return (y + 1, m - 12, d) if m > 12 else (y, m, d)

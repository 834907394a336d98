"""Time zones: every change of every zone of the IANA database, as in zoneinfo; random rules, as in the calendar."""

import gc

from ioto.ascii import number
from ioto.calendar import date, days
from ioto.timezone import local, offset_s, stretch
from ioto.zone import parse

if hasattr(gc, "threshold"):
    gc.threshold(1 << 21)  # on MicroPython, reused memory is faster than new memory

ZONES = (  # name in the IANA database, its POSIX rule
    ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/St_Johns", "NST3:30NDT,M3.2.0,M11.1.0"),
    ("Australia/Lord_Howe", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
    ("Australia/Sydney", "AEST-10AEDT,M10.1.0,M4.1.0/3"),
    ("America/Santiago", "<-04>4<-03>,M9.1.6/24,M4.1.6/24"),
    ("Asia/Jerusalem", "IST-2IDT,M3.4.4/26,M10.5.0"),
    ("America/Nuuk", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0"),
    ("Europe/Dublin", "IST-1GMT0,M10.5.0,M3.5.0/1"),
    ("Asia/Kolkata", "IST-5:30"),
    ("Pacific/Chatham", "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45"),
    ("Pacific/Kiritimati", "<+14>-14"),
    ("Etc/UTC", "UTC0"),
)
BEGIN, END = 1735689600, 1956528000  # 2025 to 2032
BAD = {  # text: the part that the error names
    "": "", "C": "C", "CE": "CE", "CET": "CET", "CET-": "CET-", "CET 1": "CET 1", " UTC": " UTC",
    "CET-1CEST": "CET-1CEST",
    "CET-1CEST,M3.5.0": "CET-1CEST,M3.5.0", "CET-1CEST,M3.5.0,": "", "CET-1CEST,,M3.5.0": "",
    "CET-1,M3.5.0,M10.5.0": "",
    "CET-1CEST,M3.5.0,M10.5.0,M1.1.1": "CET-1CEST,M3.5.0,M10.5.0,M1.1.1", "CET-1CEST-2x,M3.5.0,M10.5.0": "x",
    "CET-25": "25", "CET-1:60": "60", "CET-1:00:60": "60", "CET-1:": "", "CET-1:0:0:0": "-1:0:0:0", "CET--1": "-1",
    "CET-1CEST,M13.5.0,M10.5.0": "13", "CET-1CEST,M0.5.0,M10.5.0": "0", "CET-1CEST,M3.6.0,M10.5.0": "6",
    "CET-1CEST,M3.0.0,M10.5.0": "0",
    "CET-1CEST,M3.5.7,M10.5.0": "7", "CET-1CEST,M3.5,M10.5.0": "M3.5", "CET-1CEST,M3.5.0.0,M10.5.0": "M3.5.0.0",
    "CET-1CEST,J0,J10": "0",
    "CET-1CEST,J366,J1": "366", "CET-1CEST,366,1": "366", "CET-1CEST,-1,1": "-1", "CET-1CEST,M3.5.0/168,M10.5.0": "168",
    "CET-1CEST,M3.5.0/-168,M10.5.0": "168", "CET-1CEST,M3.5.0/2:60,M10.5.0": "60", "CET-1CEST,M3.5.0/,M10.5.0": "",
    "CET-1CEST,M3.5.0/2h,M10.5.0": "M3.5.0/2h", "<+1>-1": "<+1>-1", "<CET-1": "<CET-1", "<CET?-1": "<CET?-1",
    "<CET": "<CET", "<C T>-1": "<C T>-1", "CE1-1": "CE1-1",
    "+": "+", "+1": "+1", "+1:0": "+1:0", "+01:0": "+01:0", "+01:60": "60", "+16:00": "16", "+001:00": "+001:00",
    "+01:00:00": "+01:00:00",
    "+010": "+010", "+01000": "+01000", "+0a:00": "0a", "+01:": "+01:", "01:00": "01:00", "+-1:00": "-1",
    "UTC+1": "UTC+1", "GMT-2": "GMT-2", "UTC1": "UTC1", "utc": "utc", "Europe/Berlin": "Europe/Berlin", "CET\u0663": "",
    "+\u0660\u0661": "",
    "\u00c9\u00c9\u00c9-1": "", "CET-\u00b2": "",
}  # fmt: skip


def dice(seed):
    """Random integers, the same on every interpreter: dice(seed)(n) returns one in [0, n)."""
    state = [seed]

    def roll(n):
        state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
        return (state[0] >> 8) % n

    return roll


def moments(zone, begin=BEGIN, end=END):
    """Seconds around every change, and one in each week."""
    at = begin
    while True:
        at = stretch(zone, at)[2]
        if at > end:
            break
        for delta in (-86400, -7200, -3601, -3600, -1, 0, 1, 3599, 3600, 7200, 86400):
            yield at + delta
    for at in range(begin, end, 7 * 86400 - 3607):
        yield at


def test_against_zoneinfo():
    from datetime import datetime
    from zoneinfo import ZoneInfo

    seen = 0
    for name, text in ZONES:
        zone, reference = parse(text), ZoneInfo(name)
        for at in moments(zone):
            t = datetime.fromtimestamp(at, reference)
            assert local(zone, at) == (t.year, t.month, t.day, t.hour, t.minute, t.second, (t.weekday() + 1) % 7), (
                name,
                at,
            )
            seen += 1
        for hour in range(BEGIN, END, 6 * 3600):  # there are no other changes
            assert offset_s(zone, hour) == datetime.fromtimestamp(hour, reference).utcoffset().total_seconds(), (
                name,
                hour,
            )
    assert seen > 6000


def database():
    """(name, ZoneInfo, POSIX string) of every zone whose TZif file has a POSIX string: its last line (RFC 9636)."""
    import importlib.resources
    from zoneinfo import ZoneInfo, available_timezones

    for name in sorted(available_timezones()):
        file = importlib.resources.files("tzdata.zoneinfo").joinpath(name)
        if file.is_file():
            with file.open("rb") as f:
                yield name, ZoneInfo.from_file(f), file.read_bytes().split(b"\n")[-2].decode()


def test_against_every_zone_and_every_change_of_the_database():
    """Compares all changes from 2093 to 2104, when only the POSIX string applies.

    One of the years is divisible by four, but is not a leap year.
    """
    from datetime import datetime

    zones = changes = 0
    begin, end = days(2093, 1, 1) * 86400, days(2105, 1, 1) * 86400
    for name, reference, text in database():
        zone = parse(text)
        at = begin
        while at < end:
            offset, since, until = stretch(zone, at)
            assert since <= at < until and stretch(zone, until - 1) == (offset, since, until), (name, text, at)
            for t in (since, at, min(until, end) - 1):
                if begin <= t:
                    assert offset == datetime.fromtimestamp(t, reference).utcoffset().total_seconds(), (name, text, t)
            at = until
            changes += 1
        zones += 1
    assert zones > 500 and changes > 3000, (zones, changes)


def test_against_zones_written_by_us():
    named = {name: text for name, _, text in database()}
    for name, text in ZONES:
        assert named[name] == text, name


def random_zone(roll, extreme):
    """A POSIX string and its parts: (standard, daylight, begin, end), each rule (kind, numbers, seconds)."""

    def offset(most):
        s = roll(2 * most + 1) - most
        s = s if roll(4) == 0 else s // 900 * 900
        sign = "-" if s < 0 else "+" if roll(2) else ""
        h, m, sec = abs(s) // 3600, abs(s) // 60 % 60, abs(s) % 60
        return s, sign + (
            "%d" % h if not (m or sec) else "%02d:%02d" % (h, m) if not sec else "%d:%02d:%02d" % (h, m, sec)
        )

    def rule(near):
        kind = roll(3)
        s, at = offset(167 * 3600 if extreme else 24 * 3600)
        if kind == 0:
            n = (1 + (near + roll(4)) % 12, 1 + roll(5), roll(7))
            return ("M", n, s), "M%d.%d.%d/%s" % (n + (at,))
        n = (near * 30 + roll(100)) % 365 + (kind == 1)
        return ("J" if kind == 1 else "", (n,), s), "%s%d/%s" % ("J" if kind == 1 else "", n, at)

    most = 24 * 3600 if extreme else 14 * 3600
    (standard, a), (daylight, b) = offset(most), offset(most)
    near = roll(12)
    (begin, c), (end, d) = rule(near), rule((near + 6) % 12)
    name = ("AAA", "<+ab1>", "<-0330>", "Abcd")[roll(4)]
    return "%s%sBBB%s,%s,%s" % (name, a, b, c, d), (-standard, -daylight, begin, end)


def takes_effect(rule, year, day_of):
    """The local time in seconds at which a rule takes effect; day_of(year, month, day) returns the number of a day."""
    kind, n, seconds = rule
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if kind == "M":
        found = [d for d in range(1, lengths[n[0] - 1] + 1) if (day_of(year, n[0], d) + 4) % 7 == n[2]]
        day = day_of(year, n[0], found[min(n[1], len(found)) - 1])
    else:
        day = day_of(year, 1, 1) + n[0] - (kind == "J")
        if kind == "J" and leap and n[0] >= 60:
            day += 1
    return day * 86400 + seconds


def test_random_rules():
    """The last change before a time applies, even if a rule's hours move it into another year."""
    roll = dice(20)
    zones = [random_zone(roll, i % 2) for i in range(300)]
    for text in (
        "AAA24BBB-24,365/167:59:59,364/160",
        "AAA-24BBB24,0/-167:59:59,1/-160",
        "AAA24BBB-24,J1/-167,J365/167",
        "AAA-24BBB24,365/167,0/-167",
    ):
        zones.append((text, parse(text)))
    for text, (standard, daylight, begin, end) in zones:
        zone = parse(text)
        assert zone[:2] == (standard, daylight), text
        changes = []
        for year in range(2025, 2034):
            changes.append((takes_effect(end, year, days) - daylight, 0, standard))
            changes.append((takes_effect(begin, year, days) - standard, 1, daylight))
        changes.sort()
        for n in range(5, len(changes) - 5):
            at, _, offset = changes[n]
            until = changes[n + 1][0]
            if at == until:
                continue
            for t in (at, (at + until) // 2, until - 1):
                assert stretch(zone, t) == (offset, at, until), (text, t)


def test_against_the_c_library_over_random_rules():
    """The rules stay in their year and do not overlap. zoneinfo is not used: it applies `n` and J59 a day early."""
    import os
    import time

    roll, seen, kept = dice(21), 0, os.environ.get("TZ")
    try:
        for _ in range(900):
            text, (standard, daylight, begin, end) = random_zone(roll, False)
            apart = [
                abs(takes_effect(begin, y, days) - takes_effect(end, z, days))
                for y in (2027, 2028)
                for z in (2027, 2028)
            ]
            edges = [takes_effect(r, y, days) - days(y, 1, 1) * 86400 for r in (begin, end) for y in (2027, 2028)]
            if min(apart) < 5 * 86400 or min(edges) < 4 * 86400 or max(edges) > 361 * 86400:
                continue
            zone = parse(text)
            os.environ["TZ"] = text
            time.tzset()
            for t in moments(zone, days(2027, 1, 1) * 86400, days(2029, 1, 1) * 86400):
                there = time.localtime(t)
                assert offset_s(zone, t) == there.tm_gmtoff, (text, t)
                assert local(zone, t) == there[:6] + ((there.tm_wday + 1) % 7,), (text, t)
            seen += 1
    finally:
        os.environ.pop("TZ") if kept is None else os.environ.update(TZ=kept)
        time.tzset()
    assert seen > 400, seen


def digest_of_local_times():
    import hashlib

    sha = hashlib.sha256()
    roll = dice(22)
    for text in [text for _, text in ZONES] + [random_zone(roll, i % 2)[0] for i in range(12)]:
        zone = parse(text)
        for at in moments(zone):
            sha.update(str((local(zone, at), stretch(zone, at))).encode())
    return "".join("%02x" % b for b in sha.digest())


def test_against_datetime_every_day_of_four_centuries():
    from datetime import date as civil

    first = civil(1970, 1, 1).toordinal()
    for day in range(-70 * 366, 430 * 366):
        d = civil.fromordinal(first + day)
        assert date(day) == (d.year, d.month, d.day) and days(d.year, d.month, d.day) == day, day


def digest_of_dates():
    import hashlib

    sha = hashlib.sha256()
    for day in range(-25567, 80000, 7):
        assert days(*date(day)) == day, day
        sha.update(b"%d-%d-%d" % date(day))
    return "".join("%02x" % b for b in sha.digest())


def test_fixed_offsets_ahead_of_utc():
    for text, want in (("UTC", 0), ("GMT", 0), ("Z", 0), ("UTC0", 0), ("GMT+00:00", 0), ("+14", 50400), ("-00:00", 0)):
        assert parse(text) == (want,), text
        assert stretch(parse(text), BEGIN)[1] < 0 and stretch(parse(text), BEGIN)[2] > 1 << 40
    for hours in range(16):
        for minutes in range(60):
            s = hours * 3600 + minutes * 60
            for text in ("%02d:%02d" % (hours, minutes), "%02d%02d" % (hours, minutes)):
                assert parse("+" + text) == (s,) and parse("-" + text) == (-s,), text
    assert parse("CET-1") == parse("<+01>-1") == parse("+01:00") == (3600,)  # POSIX offsets have the opposite sign
    assert parse("EST5") == parse("EST+5") == parse("-05:00") and parse("<+0330>-3:30") == parse("+0330")


def test_rules_have_defaults():
    assert parse("CET-1CEST,M3.5.0,M10.5.0/3") == parse("CET-1CEST-2,M3.5.0/2,M10.5.0/03:00:00")
    # daylight time all year, as RFC 9636 writes it: both changes are at the same time
    always = parse("XXX3EDT4,0/0,J365/23")
    for at in moments(always):
        assert offset_s(always, at) == -4 * 3600, at


def test_julian_days():
    leap, plain = days(2028, 1, 1) * 86400, days(2027, 1, 1) * 86400
    for rule, want_leap, want_plain in (
        ("J60", 60, 59),
        ("59", 59, 59),
        ("J59", 58, 58),
        ("J1", 0, 0),
        ("0", 0, 0),
        ("J365", 365, 364),
        ("365", 365, 365),
    ):
        zone = parse("AAA0BBB,%s/0,180/0" % rule)
        for begin, want in ((leap, want_leap), (plain, want_plain)):
            at = begin + want * 86400
            assert offset_s(zone, at - 1) == 0 and offset_s(zone, at) == 3600, rule


def test_errors_begin_at_the_first_invalid_character():
    for text in list(BAD) + [None, 3, [], {}, b"UTC", True]:
        try:
            parse(text)
        except ValueError as e:
            if isinstance(text, str) and BAD[text]:
                assert (e.args[0] or text) == BAD[text], (text, e)
        else:
            raise AssertionError("accepted %r" % (text,))


def test_numbers_are_ascii_digits_within_limits():
    assert [number(t, 0, 9999) for t in ("0", "7", "007", "9999")] == [0, 7, 7, 9999]
    for text in ("", "00000", "-1", "+1", "1 ", " 1", "1_0", "0x1", "\u0663", "\u00b2", "1.", "9"):
        try:
            number(text, 0, 8)
        except ValueError as e:
            assert e.args == (text,)
        else:
            raise AssertionError("accepted %r" % text)

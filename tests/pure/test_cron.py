"""Windows compared with brute force, every minute around each clock change, and with cronsim and zoneinfo."""

import gc

from ioto import window as evaluated
from ioto.calendar import days
from ioto.config_errors import say
from ioto.cron import ALIASES, parse
from ioto.masks import is_always
from ioto.timezone import local
from ioto.window import closes_s, is_open, next_open, opened_s
from ioto.zone import parse as zone_of

if hasattr(gc, "threshold"):
    gc.threshold(1 << 21)  # on MicroPython, reused memory is faster than new memory

BERLIN = zone_of("CET-1CEST,M3.5.0,M10.5.0/3")
LORD_HOWE = zone_of("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")
UTC = zone_of("UTC")
DAY = 86400
WINDOWS = (
    "* * * * *", "0 2 * * *", "30 2 * * *", "*/15 1-3 * * *", "0-29 2 * * 0", "* 0-5,18-23 * * *", "59 23 31 12 *",
    "0 0 29 2 *", "* 6-17 * * *", "* * * * 1-5", "0 0 1 * 1", "5-10/5 */6 1,15 2-11/3 6", "* 2 * 3,10 *", "0 0 31 * *",
    "* * 13 * 5", "7 7 * * 7", "* 18-5 * * *", "50-9 * * * 5-1", "0-58 * * * *", "* * 2-31 * 0-5", "5/10 1 * * *",
    "0 12 */2 * 1", "* 1-2 27-4 * *", "45 1,2,3 * * 6-7",
)  # fmt: skip
STEP = "day of month '31' does not exist in month '2'"
BAD = {
    "": "not a window", "* * * *": "not a window", "* * * * * *": "not a window", "nightly": "not a window",
    "Anytime": "not a window",
    "60 * * * *": "minute '60'", "* 24 * * *": "hour '24'", "* * 0 * *": "day of month '0'",
    "* * 32 * *": "day of month '32'",
    "* * * 13 *": "month '13'", "* * * 0 *": "month '0'", "* * * * 8": "day of week '8'",
    "0 0 0 0 0": "day of month '0'",
    "*/0 * * * *": "minute '*/0'", "*/61 * * * *": "minute '*/61'", "* */25 * * *": "hour '*/25'",
    "* * * * */8": "day of week '*/8'",
    "a * * * *": "minute 'a'", "1- * * * *": "minute '1-'", "-1 * * * *": "minute '-1'", "1,,2 * * * *": "minute ''",
    ", * * * *": "minute ''",
    "*/ * * * *": "minute '*/'", "** * * * *": "minute '**'", "*-5 * * * *": "minute '*-5'",
    "1-2-3 * * * *": "minute '1-2-3'",
    "1/2/3 * * * *": "minute '1/2/3'", "+1 * * * *": "minute '+1'", "1.0 * * * *": "minute '1.0'",
    "00001 * * * *": "minute '00001'",
    "* * * * mon": "day of week 'mon'", "* * * jan *": "month 'jan'", "\u0663 * * * *": "minute '",
    "\u00b2 * * * *": "minute '",
    "0 0 31 2 *": STEP, "0 0 30-31 2 *": "day of month '30-31'", "0 0 31 2,4,6,9,11 *": "day of month '31'",
}  # fmt: skip


def dice(seed):
    """Random integers, the same on every interpreter: dice(seed)(n) returns one in [0, n)."""
    state = [seed]

    def roll(n):
        state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
        return (state[0] >> 8) % n

    return roll


def random_window(roll, wide=3):
    """A random window of five fields; one in `wide` minutes and hours is `*`."""

    def field(low, high, star):
        if roll(star[1]) < star[0]:
            return "*" if roll(4) else "*/%d" % (1 + roll(min(31, high - low)))
        parts = []
        for _ in range(1 + roll(3)):
            a, b = low + roll(high - low + 1), low + roll(high - low + 1)
            parts.append(
                "%d" % a
                if roll(2) or a == b
                else "%d-%d" % (min(a, b), max(a, b)) + ("/%d" % (1 + roll(9)) if not roll(3) and high > 9 else "")
            )
        return ",".join(parts)

    return " ".join((
        field(0, 59, (1, wide)), field(0, 23, (1, wide)), field(1, 28, (1, 2)), field(1, 12, (2, 3)), field(0, 7, (1,
        2)),
    ))  # fmt: skip


def values(text, low, high):
    """The set of values that one field describes, read literally."""
    found = set()
    for piece in text.split(","):
        span, _, step = piece.partition("/")
        first, last = low, high
        if "-" in span:
            first, last = (int(n) for n in span.split("-"))
        elif span != "*":
            first = int(span)
            last = high if step else first
        around = (
            list(range(first, last + 1)) if first <= last else list(range(first, high + 1)) + list(range(low, last + 1))
        )
        found.update(around[:: int(step or 1)])
    return found


def oracle(text):
    """A function that returns whether the window is open at (month, day, hour, minute, weekday)."""
    f = text.split()
    minutes, hours, mdays, months = values(f[0], 0, 59), values(f[1], 0, 23), values(f[2], 1, 31), values(f[3], 1, 12)
    wdays = {d % 7 for d in values(f[4], 0, 7 if "7" in f[4] else 6)}
    both = f[2] == "*" or f[4] == "*"

    def matches(fields):
        month, day, hour, minute, weekday = fields
        if minute not in minutes or hour not in hours or month not in months:
            return False
        return day in mdays and weekday in wdays if both else day in mdays or weekday in wdays

    return matches


def stretches():
    """(zone, first minute) of two days around each clock change, the end of February and the end of the year."""
    for year in (2027, 2028):
        for zone, dates in ((BERLIN, ((3, 27), (10, 30))), (LORD_HOWE, ((4, 3), (10, 2))), (UTC, ((2, 28), (12, 31)))):
            for month, day in dates:
                yield zone, days(year, month, day) * DAY


def check_next(window, zone, begin, want, i):
    """Check next_open, closes_s and opened_s at minute `i` of the brute-force list `want`, which begins at `begin`."""
    at, end = begin + 60 * i, begin + 60 * len(want)
    replay = (window[0], zone, at)
    opens = next((j for j in range(i, len(want)) if want[j]), None)
    closes = next((j for j in range(i, len(want)) if not want[j]), None)
    opened = next((j + 1 for j in range(i, -1, -1) if not want[j]), None)
    found, left = next_open(window, at, zone), closes_s(window, at, zone)
    assert found == begin + 60 * opens if opens is not None else found is None or found >= end, replay
    assert left == 60 * (closes - i) if closes is not None else left is None or at + left >= end, replay
    if want[i] and opened is not None:
        assert opened_s(window, at, zone, 40 * DAY) == begin + 60 * opened, replay
        for most in (0, 59, 60, 3600):
            assert opened_s(window, at, zone, most) == max(at - most, begin + 60 * opened), (replay, most)


def test_every_minute_around_clock_changes():
    seen = 0
    for zone, begin in stretches():
        fields = []
        for i in range(2 * 1440):
            _, month, day, hour, minute, _, weekday = local(zone, begin + 60 * i)
            fields.append((month, day, hour, minute, weekday))
        for text in WINDOWS:
            window, matches = parse(text), oracle(text)
            want = [matches(f) for f in fields]
            for i in range(0, len(want)):
                edge = i and want[i] != want[i - 1]
                if edge or i % 7 == 0:
                    assert is_open(window, begin + 60 * i, zone) == want[i], (text, zone, begin + 60 * i)
                if edge and i % 5 < 2 or i % 397 == 0:
                    check_next(window, zone, begin, want, i)
                    check_next(window, zone, begin, want, max(0, i - 1))
                seen += 1
    assert seen == 12 * 2880 * len(WINDOWS)


def test_seconds_within_a_minute():
    window = parse("30 2 * * *")
    at = days(2027, 6, 1) * DAY + 2 * 3600 + 30 * 60
    for second in range(60):
        assert is_open(window, at + second, UTC)
        assert closes_s(window, at + second, UTC) == 60 - second
        assert next_open(window, at + second, UTC) == at + second
        assert opened_s(window, at + second, UTC, 99) == at
    assert not is_open(window, at - 1, UTC) and next_open(window, at - 1, UTC) == at
    assert not is_open(window, at + 60, UTC) and next_open(window, at + 60, UTC) == at + DAY


def openings(window, zone, begin, end):
    """[(first second, second after the last)] of the openings between two times, by next_open and closes_s alone."""
    found = []
    at = next_open(window, begin, zone)
    while at is not None and at < end:
        left = closes_s(window, at, zone)
        closes = end if left is None else min(end, at + left)
        found.append((at, closes))
        at = next_open(window, closes, zone) if closes < end else None
    return found


def test_skipped_and_repeated_minutes():
    skip, repeat = days(2027, 3, 28) * DAY, days(2027, 10, 31) * DAY
    half = parse("30 2 * * *")
    assert openings(half, BERLIN, skip - 3600, skip + DAY - 7200) == []
    assert openings(half, BERLIN, repeat - 7200, repeat + DAY - 3600) == [
        (repeat + 1800, repeat + 1860),
        (repeat + 5400, repeat + 5460),
    ]
    hour = parse("* 2 * * *")  # the repeated hour is one opening of two hours
    assert openings(hour, BERLIN, repeat - 7200, repeat + DAY - 3600) == [(repeat, repeat + 7200)]
    night = parse("* 1-3 * * *")
    assert openings(night, BERLIN, skip - 3600, skip + DAY - 7200) == [(skip, skip + 7200)]


def test_against_zoneinfo_every_minute_of_a_year():
    from datetime import datetime
    from zoneinfo import ZoneInfo

    roll = dice(3)
    half = len(WINDOWS) // 2
    for name, zone, year, chosen in (
        ("Europe/Berlin", BERLIN, 2027, WINDOWS[:half] + tuple(random_window(roll) for _ in range(5))),
        ("Australia/Lord_Howe", LORD_HOWE, 2028, WINDOWS[half:] + tuple(random_window(roll) for _ in range(5))),
    ):
        place = ZoneInfo(name)
        begin, end = days(year, 1, 1) * DAY - 43200, days(year + 1, 1, 1) * DAY - 43200
        fields = []
        for at in range(begin, end, 60):
            t = datetime.fromtimestamp(at, place)
            fields.append((t.month, t.day, t.hour, t.minute, (t.weekday() + 1) % 7))
        for text in chosen:
            want = list(map(oracle(text), fields))
            ours = bytearray(len(want))
            for a, b in openings(parse(text), zone, begin, end):
                ours[(a - begin) // 60 : (b - begin) // 60] = b"\1" * ((b - a) // 60)
            wrong = [i for i in range(len(want)) if want[i] != ours[i]]
            assert not wrong, (text, name, begin + 60 * wrong[0])


def cronsim_agrees(text):
    """Do Ioto and cronsim read this window in the same way?

    cronsim does not accept 22-5, and treats */2 in a day field as unrestricted.
    """
    mday, wday = text.split()[2], text.split()[4]
    spans = [part.split("/")[0].split("-") for part in text.replace(" ", ",").split(",")]
    around = any(len(s) == 2 and int(s[0]) > int(s[1]) for s in spans)
    return not around and (mday == "*" or wday == "*" or "*" not in mday + wday)


def test_against_cronsim_every_minute_of_two_years():
    import datetime

    from cronsim import CronSim

    roll = dice(11)
    begin, end = days(2027, 1, 1) * DAY, days(2029, 1, 1) * DAY
    start = datetime.datetime.fromtimestamp(begin - 60, datetime.UTC)
    windows = minutes = 0
    for text in WINDOWS + tuple(random_window(roll, 9) for _ in range(40)):
        if not cronsim_agrees(text):
            continue
        ours = openings(parse(text), UTC, begin, end)
        if sum(b - a for a, b in ours) > 60 * 20000:  # cronsim counts single minutes, which takes long if many are open
            continue
        theirs = []
        for t in CronSim(text, start):
            if t.timestamp() >= end:
                break
            theirs.append(int(t.timestamp()))
        assert [m for a, b in ours for m in range(a, b, 60)] == theirs, text
        windows += 1
        minutes += len(theirs)
    assert windows > 30 and minutes > 100000, (windows, minutes)


def digest_of_a_year_of_openings():
    import hashlib

    sha = hashlib.sha256()
    roll = dice(7)
    for text in WINDOWS[1:] + tuple(random_window(roll) for _ in range(6)):
        for zone in (BERLIN, LORD_HOWE):
            for at, end in openings(parse(text), zone, days(2028, 1, 1) * DAY, days(2028, 12, 31) * DAY)[:150]:
                sha.update(b"%d %d " % (at, end))
    return "".join("%02x" % b for b in sha.digest())


def test_aliases():
    assert sorted(ALIASES) == sorted(
        ("anytime", "never", "unscheduled", "day", "weekdays", "workhours", "midnight", "night")
    )
    for name, text in ALIASES.items():
        if text:
            assert parse(name)[1:] == parse(text)[1:] and parse(name)[0] == name, name
    at = days(2027, 6, 1) * DAY
    for name in ("never", "unscheduled"):
        window = parse(name)
        assert (
            next_open(window, at, BERLIN) is None
            and not is_open(window, at, BERLIN)
            and closes_s(window, at, BERLIN) == 0
        )
    always = parse("anytime")
    assert closes_s(always, at, BERLIN) is None and next_open(always, at, BERLIN) == at


def test_windows_that_never_close_are_recognised():
    always = (
        "* * * * *",
        "0-59 0-23 1-31 1-12 0-6",
        "*/1 * * * *",
        "* * 1-31 * 1",
        "* * 13 * 0-7",
        "30-29 * * * *",
        "* * * * 1-7",
        "* 5-4 * * *",
    )
    for text in always + WINDOWS[1:]:
        assert is_always(parse(text)) == (text in always), text


def test_rare_windows():
    at = days(2096, 3, 1) * DAY
    assert next_open(parse("0 0 29 2 *"), at, UTC) == days(2104, 2, 29) * DAY
    # 2096-02-29 is a Wednesday. If daylight time begins on the last Wednesday of February, 2:30 is skipped on that day,
    # and the next opening is eight years later.
    zone = zone_of("AAA0BBB,M2.5.3,M10.5.0")
    assert next_open(parse("30 2 29 2 *"), days(2092, 3, 1) * DAY, zone) == days(2104, 2, 29) * DAY + 5400
    # if it begins on each February 29, there is no opening
    assert next_open(parse("30 2 29 2 *"), at, zone_of("AAA0BBB,59,300")) is None


def test_search_is_bounded():
    steps = [0]
    span = evaluated._span

    def counted(window, minute):
        steps[0] += 1
        return span(window, minute)

    roll = dice(5)
    at = days(2096, 3, 1) * DAY
    chosen = [
        parse(t)
        for t in WINDOWS
        + ("30 2 29 2 *", "* * 1-30 * 0-5", "* * * 2-12 *")
        + tuple(random_window(roll) for _ in range(60))
    ]
    most = 0
    evaluated._span = counted
    try:
        for zone in (UTC, BERLIN, zone_of("AAA0BBB,59,300")):
            for window in chosen:
                for ask in (next_open, closes_s, lambda w, t, z: opened_s(w, t, z, 1 << 40)):
                    steps[0] = 0
                    ask(window, at, zone)
                    most = max(most, steps[0])
    finally:
        evaluated._span = span
    assert most <= 13 * 400, most


def test_windows_on_impossible_days_are_refused():
    lengths = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    for months in range(1, 1 << 12):
        if months & months - 1 and months % 37:
            continue
        chosen = [m for m in range(1, 13) if months >> m - 1 & 1]
        text = ",".join("%d" % m for m in chosen)
        for day in (28, 29, 30, 31):
            try:
                parse("0 0 %d %s *" % (day, text))
                parsed = True
            except ValueError:
                parsed = False
            assert parsed == any(day <= lengths[m - 1] for m in chosen), (day, text)
            parse("0 0 %d %s 1" % (day, text))  # valid, because Mondays match too


def test_invalid_windows_name_the_field():
    for text in list(BAD) + [None, 3, ["*"] * 5, b"* * * * *", True]:
        try:
            parse(text)
        except ValueError as e:
            says = BAD[text] if isinstance(text, str) else "not a window"
            assert says in say(*e.args) and "use " in say(*e.args), (text, e)
        else:
            raise AssertionError("accepted %r" % (text,))

"""Windows against brute force: every minute, over every change of the clock, and the field's own library."""

from ioto.cron import ALIASES, closes_s, is_always, is_open, next_open, parse
from ioto.timezone import days, local
from ioto.timezone import parse as zone_of

BERLIN = zone_of("CET-1CEST,M3.5.0,M10.5.0/3")
LORD_HOWE = zone_of("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")
UTC = zone_of("UTC")
WINDOWS = (
    "* * * * *", "0 2 * * *", "30 2 * * *", "*/15 1-3 * * *", "0-29 2 * * 0", "* 0-5,18-23 * * *", "59 23 31 12 *", "0 0 29 2 *",
    "* 6-17 * * *", "* * * * 1-5", "0 0 1 * 1", "5-10/5 */6 1,15 2-11/3 6", "* 2 * 3,10 *", "0 0 31 * *", "* * 13 * 5", "7 7 * * 7",
)  # fmt: skip
BAD = {
    "": "0 cron fields", "* * * *": "4 cron fields", "* * * * * *": "6 cron fields", "60 * * * *": "minute '60'", "* 24 * * *": "hour '24'",
    "* * 0 * *": "day of month '0'", "* * 32 * *": "day of month '32'", "* * * 13 *": "month '13'", "* * * 0 *": "month '0'",
    "* * * * 8": "day of week '8'", "5-1 * * * *": "minute '5-1'", "*/0 * * * *": "minute '*/0'", "a * * * *": "minute 'a'",
    "1- * * * *": "minute '1-'", "-1 * * * *": "minute '-1'", "1,,2 * * * *": "minute ''", "*/ * * * *": "minute '*/'", "** * * * *": "minute '**'",
    "* * * * mon": "day of week 'mon'", "1-2-3 * * * *": "minute '1-2-3'", "1/2/3 * * * *": "minute '1/2/3'", "nightly": "1 cron fields",
}  # fmt: skip


def field(part, low, high):
    """The values that one field names, read literally."""
    values = set()
    for piece in part.split(","):
        span, _, step = piece.partition("/")
        first, last = low, high
        if "-" in span:
            first, last = (int(n) for n in span.split("-"))
        elif span != "*":
            first = int(span)
            last = high if step else first
        values.update(range(first, last + 1, int(step or 1)))
    return values


def oracle(text):
    """A function from local fields to whether they are inside."""
    f = text.split()
    minutes, hours, mdays, months = field(f[0], 0, 59), field(f[1], 0, 23), field(f[2], 1, 31), field(f[3], 1, 12)
    wdays = {d % 7 for d in field(f[4], 0, 7 if f[4] != "*" else 6)}
    both = f[2] == "*" or f[4] == "*"

    def matches(fields):
        _, month, day, hour, minute, _, weekday = fields
        if minute not in minutes or hour not in hours or month not in months:
            return False
        return day in mdays and weekday in wdays if both else day in mdays or weekday in wdays

    return matches


def brute(text, zone, begin, minutes):
    """For each minute from `begin`: is it open; by the oracle, one evaluation a minute."""
    matches = oracle(text)
    return [matches(local(zone, begin + 60 * i)) for i in range(minutes)]


def stretches():
    """Four days around each change of the clock and the end of February, in a leap year and another."""
    for year in (2027, 2028):
        for zone, dates in ((BERLIN, ((3, 26), (10, 29), (2, 27))), (LORD_HOWE, ((4, 2), (10, 1))), (UTC, ((12, 30),))):
            for month, day in dates:
                yield zone, days(year, month, day) * 86400 - 43200


def test_against_every_minute_around_every_change():
    for text in WINDOWS:
        window = parse(text)
        for zone, begin in stretches():
            want = brute(text, zone, begin, 3 * 1440)
            opens = None
            for i in range(len(want) - 1, -1, -1):
                at = begin + 60 * i
                if want[i]:
                    opens = at
                if i % 67 == 0 or want[i] != want[i - 1]:
                    assert is_open(window, at, zone) == want[i], (text, zone, at)
                    found = next_open(window, at, zone)
                    assert found == opens or (opens is None and (found is None or found >= begin + 60 * len(want))), (text, zone, at)
                    if want[i]:
                        left = want[i:].index(False) * 60 if False in want[i:] else None
                        closes = closes_s(window, at, zone)
                        assert closes == left or (left is None and (closes is None or closes >= 60 * (len(want) - i))), (text, zone, at)
                    else:
                        assert closes_s(window, at, zone) == 0, (text, zone, at)


def test_seconds_within_a_minute():
    window = parse("30 2 * * *")
    at = days(2027, 6, 1) * 86400 + 2 * 3600 + 30 * 60
    for second in range(60):
        assert is_open(window, at + second, UTC)
        assert closes_s(window, at + second, UTC) == 60 - second
        assert next_open(window, at + second, UTC) == at + second
    assert not is_open(window, at - 1, UTC) and next_open(window, at - 1, UTC) == at
    assert not is_open(window, at + 60, UTC) and next_open(window, at + 60, UTC) == at + 86400


def every_opening(window, zone, begin, end):
    """All the first minutes of openings between two times."""
    at = next_open(window, begin, zone)
    while at is not None and at < end:
        yield at
        closes = closes_s(window, at, zone)
        at = next_open(window, at + closes, zone) if closes else None


def test_against_cronsim_every_minute_of_two_years():
    from datetime import datetime, timezone

    from cronsim import CronSim

    begin, end = days(2027, 1, 1) * 86400, days(2029, 1, 1) * 86400
    for text in WINDOWS[1:]:
        if text.startswith("* ") and "2" not in text:  # a library that counts single minutes takes long over open days
            continue
        window = parse(text)
        # each minute inside, not only each opening
        ours = [m for at in every_opening(window, UTC, begin, end) for m in range(at, min(end, at + closes_s(window, at, UTC)), 60)]
        theirs = []
        for each in CronSim(text, datetime.fromtimestamp(begin - 60, timezone.utc)):
            stamp = int(each.timestamp())
            if stamp >= end:
                break
            theirs.append(stamp)
            if len(theirs) > len(ours):
                break
        assert ours == theirs, text


def test_against_zoneinfo_every_minute_of_a_year():
    from datetime import datetime
    from zoneinfo import ZoneInfo

    berlin = ZoneInfo("Europe/Berlin")
    begin = days(2027, 1, 1) * 86400 - 3600
    for text in ("30 2 * * *", "*/15 1-3 * * *", "* 2 * 3,10 *"):
        window = parse(text)
        inside, matches = set(), oracle(text)
        for at in range(begin, begin + 365 * 86400, 60):
            there = datetime.fromtimestamp(at, berlin)
            fields = (there.year, there.month, there.day, there.hour, there.minute, 0, (there.weekday() + 1) % 7)
            if matches(fields):
                inside.add(at)
        ours = {a for o in every_opening(window, BERLIN, begin, begin + 365 * 86400) for a in range(o, o + closes_s(window, o, BERLIN), 60)}
        assert ours == inside, text


def digest_of_a_year_of_openings():
    import hashlib

    sha = hashlib.sha256()
    for text in WINDOWS[1:]:
        for zone in (BERLIN, LORD_HOWE):
            for at in every_opening(parse(text), zone, days(2027, 1, 1) * 86400, days(2027, 12, 31) * 86400):
                sha.update(b"%d" % at)
    return "".join("%02x" % b for b in sha.digest())


def test_aliases_mean_what_the_protocol_says():
    assert sorted(ALIASES) == sorted(("anytime", "never", "unscheduled", "day", "weekdays", "workhours", "midnight", "night"))
    for name, text in ALIASES.items():
        if text:
            assert parse(name)[1:] == parse(text)[1:], name
    at = days(2027, 6, 1) * 86400
    for name in ("never", "unscheduled"):
        window = parse(name)
        assert next_open(window, at, BERLIN) is None and not is_open(window, at, BERLIN) and closes_s(window, at, BERLIN) == 0
    assert is_always(parse("anytime")) and closes_s(parse("anytime"), at, BERLIN) is None
    assert [t for t in WINDOWS if is_always(parse(t))] == ["* * * * *"]


def test_windows_that_never_come_are_known_to():
    at = days(2027, 6, 1) * 86400
    assert next_open(parse("0 0 30 2 *"), at, UTC) is None
    assert next_open(parse("0 0 29 2 *"), days(2096, 3, 1) * 86400, UTC) == days(2104, 2, 29) * 86400


def test_bad_windows_name_the_field():
    for text, says in BAD.items():
        try:
            parse(text)
        except ValueError as e:
            assert says in str(e), (text, str(e))
        else:
            raise AssertionError("accepted %r" % text)

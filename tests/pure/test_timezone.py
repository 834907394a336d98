"""Time zones: every change of many zones against zoneinfo, bad texts refused, the same on both interpreters."""

from ioto.timezone import changes, date, days, local, offset_s, parse

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
BAD = (
    "C", "CE", "CET", "CET-", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M3.5.0,", "CET-1CEST,M13.5.0,M10.5.0", "CET-25",
    "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.0.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J10", "CET-1CEST,J366,J1",
    "CET-1CEST,366,1", "CET-1CEST,M3.5.0/168,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0,M1.1.1", "+", "+1", "+1:0", "+01:0", "+01:60",
    "+16:00", "01:00", "<+1>-1", "<CET-1", "Europe/Berlin", "CET-1:60", "+0a:00", "CET 1", " UTC", "CET-1CEST,M3.5,M10.5.0",
)  # fmt: skip


def moments(zone):
    """Seconds around every change, and one in each week."""
    at = BEGIN
    while True:
        at = changes(zone, at)
        if at is None or at > END:
            break
        for delta in (-86400, -7200, -3601, -3600, -1, 0, 1, 3599, 3600, 7200, 86400):
            yield at + delta
    for at in range(BEGIN, END, 7 * 86400 - 3607):
        yield at


def test_against_zoneinfo():
    from datetime import datetime, timezone
    from zoneinfo import ZoneInfo

    seen = 0
    for name, text in ZONES:
        zone, reference = parse(text), ZoneInfo(name)
        for at in moments(zone):
            there = datetime.fromtimestamp(at, timezone.utc).astimezone(reference)
            want = (there.year, there.month, there.day, there.hour, there.minute, there.second, (there.weekday() + 1) % 7)
            assert local(zone, at) == want, (name, at)
            seen += 1
        for hour in range(BEGIN, END, 3600):  # and no change that we do not know of
            if hour % (86400 * 3) == 0:
                there = datetime.fromtimestamp(hour, timezone.utc).astimezone(reference)
                assert offset_s(zone, hour) == int(there.utcoffset().total_seconds()), (name, hour)
    assert seen > 6000


def test_against_posix_strings_of_the_database():
    import importlib.resources
    from datetime import datetime, timezone
    from zoneinfo import ZoneInfo, available_timezones

    seen = 0
    for name in sorted(available_timezones()):
        data = importlib.resources.files("tzdata.zoneinfo").joinpath(name)
        if not data.is_file():
            continue
        text = data.read_bytes().split(b"\n")[-2].decode()
        if not text:
            continue
        with data.open("rb") as f:
            zone, reference = parse(text), ZoneInfo.from_file(f)
        at = 4102444800 - 86400 * 366  # 2099: only the rule holds there
        for _ in range(4):
            change = changes(zone, at)
            for t in (at, change and change - 1, change):
                if t:
                    want = datetime.fromtimestamp(t, timezone.utc).astimezone(reference).utcoffset().total_seconds()
                    assert offset_s(zone, t) == want, (name, text, t)
            at = change or at + 86400 * 90
        seen += 1
    assert seen > 300


def digest_of_local_times():
    import hashlib

    sha = hashlib.sha256()
    for _, text in ZONES:
        zone = parse(text)
        for at in moments(zone):
            sha.update(str(local(zone, at)).encode())
    return "".join("%02x" % b for b in sha.digest())


def test_dates_over_centuries():
    for day in range(-25567, 80000, 7):
        assert days(*date(day)) == day, day
    assert date(0) == (1970, 1, 1) and date(11016) == (2000, 2, 29)


def test_fixed_offsets():
    for text, want in (("UTC", 0), ("", 0), ("+01:00", 3600), ("-0530", -19800), ("+14", 50400), ("-00:00", 0), ("CET-1", 3600)):
        assert parse(text) == (want,), text
        assert changes(parse(text), BEGIN) is None


def test_julian_days():
    leap, plain = days(2028, 1, 1) * 86400, days(2027, 1, 1) * 86400
    for rule, want_leap, want_plain in (("J60", 60, 59), ("59", 59, 59), ("J59", 58, 58), ("0", 0, 0)):
        zone = parse("AAA0BBB,%s/0,364/0" % rule)
        assert changes(zone, leap - 2) == leap + want_leap * 86400, rule
        if rule != "0":
            assert changes(zone, plain + 1) == plain + want_plain * 86400, rule


def test_bad_zones_are_refused_with_what_is_allowed():
    for text in BAD + (None, 3, [], {}):
        try:
            parse(text)
        except ValueError as e:
            assert "POSIX TZ" in str(e), text
        else:
            raise AssertionError("accepted %r" % (text,))

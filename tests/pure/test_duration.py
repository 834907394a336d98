"""Durations: every unit of the protocol in every form, and similar texts, which are refused."""

from ioto.duration import FOREVER, parse

UNITS = {
    "sec": 1, "secs": 1, "second": 1, "seconds": 1, "min": 60, "mins": 60, "minute": 60, "minutes": 60, "hr": 3600,
    "hrs": 3600,
    "hour": 3600, "hours": 3600, "day": 86400, "days": 86400, "week": 604800, "weeks": 604800, "month": 2592000,
    "months": 2592000,
    "year": 31536000, "years": 31536000,
}  # fmt: skip


def test_every_unit_in_every_form():
    for unit, seconds in UNITS.items():
        for n in (0, 1, 2, 24, 90, 1000):
            for text in ("%d %s", "%d%s", " %d  %s ", "%d\t%s"):
                assert parse(text % (n, unit)) == n * seconds, text % (n, unit)
                assert parse((text % (n, unit)).upper()) == n * seconds
    for n in (0, 1, 86400, "0", "17", " 17 "):
        assert parse(n) == int(n)
    for word in ("never", "forever", "Never", "unlimited", "Infinite"):
        assert parse(word) == FOREVER > 100 * UNITS["year"]


def test_milliseconds():
    for value in (20, "20", " 20 ", "20 ms", "20ms", "20\tMS"):
        assert parse(value, True) == 20, value
    for unit, seconds in UNITS.items():
        assert parse("3 " + unit, True) == 3000 * seconds, unit
    for value in ("ms", "1 m", "1 mss", "1.5 ms", "-1", "1 msec x", None, True, -1):
        try:
            found = parse(value, True)
        except ValueError as e:
            assert str(e) == "ms", value
        else:
            raise AssertionError("%r gives %r" % (value, found))
    try:
        parse("20 ms")
    except ValueError:
        return
    raise AssertionError("a duration in whole seconds has no milliseconds")


def test_similar_texts_are_refused():
    near = [u[:-1] for u in UNITS] + [u + "x" for u in UNITS] + ["m", "s", "h", "d", "w", "mo", "y", "fortnight", "µs"]
    bad = (
        ["1 " + u for u in near if u not in UNITS]
        + list(UNITS)
        + ["", " ", "-1", "-1 day", "1.5 days", "1 day 2", "1e3", "never 1", "0x10", "1 2", "20 ms", "1" * 20, "nan"]
    )
    for value in bad + [-1, 1.5, None, True, [], {}, b"1"]:
        try:
            found = parse(value)
        except ValueError as e:
            assert "never" in str(e), value
        else:
            raise AssertionError("%r gives %r" % (value, found))


def test_forever_is_the_longest():
    for value in (FOREVER, FOREVER + 1, 1 << 200, "999999999999 years"):
        assert parse(value) == FOREVER, value


def digest_of_all_near_texts():
    """Both interpreters accept and refuse the same combinations of numbers, blanks and units."""
    import hashlib

    sha = hashlib.sha256()
    parts = (
        ("", "0", "7", "007", "12345678901", "1.5", "-1", "\u0663", "\u00b2"),
        ("", " ", "\t", "\u00a0", "\n", "."),
        sorted(UNITS) + ["", "never", "m", "SECS", "Hr", "\u0131"],
    )
    seen = 0
    for number in parts[0]:
        for blank in parts[1]:
            for unit in parts[2]:
                for text in (number + blank + unit, blank + number + unit, number + unit + blank):
                    try:
                        found = parse(text)
                    except ValueError:
                        found = "refused"
                    sha.update(b"%d" % found if isinstance(found, int) else b"-")
                    seen += 1
    assert seen > 3000
    return "".join("%02x" % b for b in sha.digest())

"""Whole fleets: how jitter spreads them over a window, over more than a period, and after a power failure."""

from fleets import DAY, HOUR, IDS, MINUTE, NOON, UTC, due, even
from ioto.calendar import days
from ioto.cron import parse
from ioto.schedule import rest_s


def test_devices_are_spread_over_the_whole_jitter():
    """Without a window: after a check-in and after power-on, even if the jitter is longer than the period."""
    anytime = parse("anytime")
    for period, jitter in ((HOUR, HOUR), (DAY, HOUR), (10 * MINUTE, HOUR), (HOUR, MINUTE), (MINUTE, DAY)):
        bins = min(20, jitter)
        even([rest_s(period, jitter, 0, 0, id) - period for id in IDS[:2000]], 0, jitter, bins)
        even(
            [
                due(anytime, UTC, NOON, id, NOON, tried_up=DAY, period=period, jitter=jitter) - period
                for id in IDS[:1000]
            ],
            0,
            jitter,
            bins,
        )
        tried = NOON - period - 5 * HOUR  # the power was off for five hours
        if jitter <= 5 * HOUR:
            even(
                [due(anytime, UTC, NOON, id, tried, up=0, period=period, jitter=jitter) for id in IDS[:2000]],
                0,
                jitter,
                bins,
            )
    assert {rest_s(HOUR, 0, 0, 0, id) for id in IDS[:99]} == {HOUR}


def test_fleet_is_spread_over_its_window():
    opens = days(2027, 6, 2) * DAY + 2 * HOUR
    for text, jitter, length in (
        ("0 2 * * *", HOUR, MINUTE),
        ("* 2-9 * * *", HOUR, HOUR),
        ("0-29 2 * * *", DAY, 30 * MINUTE),
    ):
        window = parse(text)
        even([NOON + due(window, UTC, NOON, id, jitter=jitter) for id in IDS], opens, length, 60)
    window = parse("0 2 * * *")
    assert {due(window, UTC, NOON, id, jitter=0) for id in IDS[:99]} == {opens - NOON}
    # In another window, the devices have other times, so no device is always the last.
    places = [[due(parse(t), UTC, NOON, id) for id in IDS[:500]] for t in ("0 2 * * *", "0 3 * * *")]
    assert sum(a + HOUR == b for a, b in zip(*places)) < 25


def test_fleet_is_spread_after_a_power_failure():
    """Devices are spread over the jitter after the start, or over the rest of the window if that is shorter."""
    tried = NOON - DAY - HOUR
    even([due(parse("anytime"), UTC, NOON, id, tried - HOUR, up=0) for id in IDS[:4000]], 0, HOUR, 60)
    even([due(parse("anytime"), UTC, None, id, tried, up=0) for id in IDS[:4000]], 0, HOUR, 60)
    for window, now, jitter, length in (
        ("day", NOON, HOUR, HOUR),
        ("day", NOON, 4 * MINUTE, 4 * MINUTE),
        ("day", NOON + 6 * HOUR - 40, HOUR, 40),
        ("day", NOON + 5 * HOUR, 3 * HOUR, HOUR),
        ("0-10 12 * * *", NOON + 5 * MINUTE, 4 * MINUTE, 4 * MINUTE),
        ("0-10 12 * * *", NOON + 5 * MINUTE, 5 * MINUTE, 5 * MINUTE),
    ):
        some = [id for id in IDS[:1200] if due(parse(window), UTC, now, id, tried, up=DAY, jitter=jitter) == 0]
        assert len(some) == 1200  # each of these devices' own time in the window has passed
        even([due(parse(window), UTC, now, id, tried, up=0, jitter=jitter) for id in some], 0, length, 20)


def test_overdue_devices_wait_less_after_a_power_failure():
    for window in (parse("anytime"), parse("day")):
        for id in IDS[:200]:
            assert due(window, UTC, NOON, id, None, up=0) == 0, "never checked in"
            assert due(window, UTC, NOON, id, NOON - 2 * DAY, up=0, cold=False) == 0, "not a power failure"
            assert due(window, UTC, NOON, id, NOON - 2 * DAY, up=0, jitter=0) == 0, "no jitter wanted"
            assert due(window, UTC, NOON, id, NOON - 40 * DAY, up=0) == 0, "long overdue"
            assert due(window, UTC, NOON, id, NOON - DAY - DAY * 4, up=0, period=MINUTE) < HOUR >> 4, "days overdue"
            waits = [due(window, UTC, NOON, id, NOON - DAY * (1 + n), up=0) for n in range(10)]
            assert waits == sorted(waits, reverse=True), (id, waits)


def test_device_that_boots_before_its_time_keeps_it():
    window = parse("0 2 * * *")
    opens = days(2027, 6, 2) * DAY + 2 * HOUR
    for id in IDS[:50]:
        place = NOON + due(window, UTC, NOON, id, NOON - 2 * DAY)
        for now in (opens, place - 1, place):
            if opens <= now <= place:
                assert due(window, UTC, now, id, NOON - 2 * DAY, up=0) == place - now
        assert due(window, UTC, place + 1, id, NOON - 2 * DAY, up=0, cold=False) == (
            0 if place + 1 < opens + MINUTE else DAY - 1
        )

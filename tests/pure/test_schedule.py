"""The schedule over years of resets, power cuts, clock jumps and failing servers."""

import gc

from fleets import DAY, HOUR, IDS, MINUTE, NOON, UTC, due, even
from ioto import window as windows
from ioto.calendar import days
from ioto.cron import parse
from ioto.masks import is_always
from ioto.schedule import backoff_s, due_s, rest_s
from ioto.spread import spread
from ioto.window import closes_s, is_open, next_open
from ioto.zone import parse as zone_of

if hasattr(gc, "threshold"):
    gc.threshold(1 << 21)  # on MicroPython, reused memory is faster than new memory

BERLIN = zone_of("CET-1CEST,M3.5.0,M10.5.0/3")
LORD_HOWE = zone_of("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")
POWER_S, SLACK_S, HOLD_MOST_S = 300, 60, 7 * DAY
LIVES = (  # window, zone, period, jitter
    ("anytime", UTC, DAY, HOUR), ("anytime", UTC, 10 * MINUTE, HOUR), ("anytime", UTC, 5, 0), ("0 2 * * *", BERLIN, DAY,
        HOUR),
    ("night", BERLIN, DAY, HOUR), ("*/15 1-3 * * *", LORD_HOWE, HOUR, HOUR), ("weekdays", UTC, 6 * HOUR, DAY),
        ("30 2 * * 0", BERLIN, DAY, 0),
    ("0-9 * * * *", UTC, 20 * MINUTE, 5 * MINUTE), ("* 2 * 3,10 0", BERLIN, HOUR, HOUR), ("0 0 1 * *", LORD_HOWE,
        30 * DAY, 1 << 40),
)  # fmt: skip


def dice(seed):
    """Random integers, the same on every interpreter: dice(seed)(n) returns one in [0, n)."""
    state = [seed]

    def roll(n):
        state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
        return (state[0] >> 8) % n

    return roll


class Device:
    """A device: its RAM, its record, and the true time, which it does not know."""

    def __init__(self, id, window, zone, period_s, jitter_s, t):
        self.id, self.window, self.zone, self.period_s, self.jitter_s = id, parse(window), zone, period_s, jitter_s
        self.tried_s, self.failures, self.hold_s = None, 0, 0  # the record
        self.t = t  # true Unix time
        self.error = 0  # error of its clock; None if the clock was never set
        self.last = None  # last check-in, by the true time: (when it counts from, error of the clock, how long to rest)
        self.boot(True)

    def boot(self, cold):
        self.cold, self.boot_t, self.tried_up_s = cold, self.t, None
        if cold:
            self.error = None  # without power, the clock loses its time

    def clock(self, after=0):
        return None if self.error is None else self.t + after + self.error

    def due_s(self, after=0):
        return due_s(
            self.clock(after), self.t + after - self.boot_t, self.tried_up_s, self.window, self.zone, self.period_s,
            self.jitter_s, self.tried_s, self.failures, self.hold_s, self.id, self.cold,
        )  # fmt: skip

    def rest_s(self):
        return rest_s(
            self.period_s, self.jitter_s if is_always(self.window) else 0, self.failures, self.hold_s, self.id
        )

    def check(self, took_s, ok, hold_s=0):
        """Do a check-in that begins now, and update the record as the agent does."""
        counts = self.t if ok else self.t + took_s
        self.failures = 0 if ok else self.failures + 1
        self.hold_s = hold_s
        self.t += took_s
        self.tried_up_s = counts - self.boot_t
        self.tried_s = 0 if self.error is None else counts + self.error
        self.last = (counts, self.error, self.rest_s())

    def replay(self):
        names = (
            "t",
            "error",
            "boot_t",
            "cold",
            "tried_up_s",
            "tried_s",
            "failures",
            "hold_s",
            "period_s",
            "jitter_s",
            "id",
            "last",
        )
        return self.window[0], self.zone, [(name, getattr(self, name)) for name in names]


# ---- invariants


def never_outside_the_window(device):
    """A check-in begins inside the window."""
    assert is_always(device.window) or is_open(device.window, device.clock(), device.zone), device.replay()


def never_too_soon(device):
    """No check-in begins before the period, back-off or hold has passed, as far as uptime or clock can tell."""
    if device.last is None:
        return
    counts, error, rest = device.last
    slack = 0 if device.failures or device.hold_s or is_always(device.window) else min(SLACK_S, device.period_s >> 8)
    if device.tried_up_s is not None or (error is not None and error == device.error):
        assert device.t - counts >= rest - slack, device.replay()


def bounded_wait(device, due):
    """Whatever the clock does, the wait is at most rest_s(), POWER_S or the jitter, whichever is longest.

    With a window, the device then waits for its own time in the next opening.
    """
    window, zone = device.window, device.zone
    rest = max(device.rest_s(), POWER_S, device.jitter_s)
    if is_always(window):
        assert due is not None and due <= rest, (due, device.replay())
    elif device.clock() is None:
        assert due is None, (due, device.replay())
    else:
        latest = device.clock() + rest
        begin = next_open(window, latest + closes_s(window, latest, zone), zone)
        assert due is not None and device.clock() + due <= begin + min(
            device.jitter_s, closes_s(window, begin, zone)
        ), (due, device.replay())


def answers_consistently(device, due, roll):
    """If asked again before the check-in is due, the schedule returns the same time.

    After that time, the check-in stays due while the window is open.
    """
    if due is None:
        return
    for after in (0, 1, due // 2, due - 1, roll(due + 1)):
        if 0 <= after <= due:
            assert device.due_s(after) == due - after, (due, after, device.replay())
    for late in (1, 7):
        if is_always(device.window) or is_open(device.window, device.clock(due + late), device.zone):
            assert device.due_s(due + late) == 0, (due, late, device.replay())


# ---- lives


def disturb(device, roll):
    """One event: a reset, a power cut, a clock that is set or jumps."""
    what = roll(6)
    if what == 0:
        device.boot(False)
    elif what == 1:
        device.t += roll(3 * DAY)
        device.boot(True)
    elif what < 5:
        device.error = 0
    elif device.error is not None:
        device.error += (roll(2) * 2 - 1) * (1, MINUTE, HOUR, DAY, 400 * DAY, 8000 * DAY)[roll(6)]


def live(seed, settings, events):
    """Simulate `events` events; yields (true time, uptime) of each check-in that began."""
    roll = dice(seed)
    device = Device("ID%d" % seed, *settings, t=NOON + roll(400 * DAY))
    for _ in range(events):
        due = device.due_s()
        bounded_wait(device, due)
        answers_consistently(device, due, roll)
        until = roll((MINUTE, HOUR, DAY, 40 * DAY)[roll(4)])
        if due is None or due > until:
            device.t += until
            disturb(device, roll)
            continue
        device.t += due + roll(3)
        if device.due_s():
            continue  # too late: the window has closed
        never_outside_the_window(device)
        never_too_soon(device)
        yield device.t, device.t - device.boot_t
        if roll(8):  # otherwise the window closed during the check-in, which then does not count
            device.check(roll(90), roll(3) > 0, roll(4) // 3 * roll(2 * DAY))
        else:
            device.t += 1


def test_random_lives_keep_the_invariants():
    checks = 0
    for n, settings in enumerate(LIVES):
        for seed in range(3):
            checks += len(list(live(100 * n + seed, settings, 150)))
    for seed in (200400, 300402, 500410):  # with these seeds, a time in the window depends on an opening long ago
        checks += len(list(live(seed, LIVES[4], 300)))
    assert checks > 1000, checks


def digest_of_lives():
    import hashlib

    sha = hashlib.sha256()
    for n, settings in enumerate(LIVES):
        for at in live(7000 + n, settings, 100):
            sha.update(b"%d %d " % at)
    return "".join("%02x" % b for b in sha.digest())


def days_with_a_check(window, zone, period_s, jitter_s, begin, count, late):
    """Number of check-ins of a device without failures in `count` days."""
    device = Device("STEADY", window, zone, period_s, jitter_s, begin)
    device.error, found, roll = 0, 0, dice(4)
    while device.t < begin + count * DAY:
        device.t += device.due_s() + roll(late + 1)
        if device.due_s() == 0:
            device.check(20, True)
            found += 1
    return found


def test_time_a_little_before_the_period_is_accepted():
    """A check-in may be early by a minute or 1/256 period, whichever is less; not after a failure or during a hold."""
    window = parse("0 2 * * *")
    opens = days(2027, 6, 2) * DAY + 2 * HOUR
    place = NOON + due(window, UTC, NOON, "ID", jitter=HOUR)
    assert opens < place < opens + 50
    for period in (HOUR, 4 * HOUR, 13 * HOUR):
        for early in range(-70, 71):  # the wait ends this many seconds after the device's own time
            tried = place + early - period  # the period has passed `early` seconds after the device's own time
            for failures, hold in ((0, 0), (1, period * 8 // 10), (0, period)):
                rest = rest_s(period, 0, failures, hold, "ID")
                tried = place + early - rest
                slack = min(SLACK_S, period >> 8) if not (failures or hold) else 0
                want = place if early <= slack else place + early if place + early < opens + 60 else place + DAY
                for now in (tried, opens - 1, opens):
                    found = due(
                        window, UTC, now, "ID", tried, up=0, cold=False, period=period, failures=failures, hold=hold
                    )
                    assert now + found == want, (period, early, failures, now - opens)
                if place + 1 < opens + 60:  # the same if asked a second later
                    found = due(
                        window,
                        UTC,
                        place + 1,
                        "ID",
                        tried,
                        up=0,
                        cold=False,
                        period=period,
                        failures=failures,
                        hold=hold,
                    )
                    assert place + 1 + found == (max(want, place + 1)), (period, early, failures)


def test_search_is_bounded():
    asked = [0]
    first = windows.next_open

    def counted(opens, unix_s, zone):
        asked[0] += 1
        return first(opens, unix_s, zone)

    windows.next_open = counted
    try:
        for text in ("*/2 * * * *", "0 2 * * *", "* 2 * 3,10 0"):
            for tried in range(NOON - 3 * MINUTE, NOON):
                for period in (1, MINUTE, DAY, 300 * DAY):
                    asked[0] = 0
                    assert due(parse(text), BERLIN, NOON, "ID", tried, up=0, period=period) is not None
                    assert asked[0] <= 3, (text, tried, period, asked)
    finally:
        windows.next_open = first


def test_daily_window_with_daily_period_is_used_daily():
    """This works although each check-in begins some seconds late, and takes longer than the rest of the window."""
    for window in ("0 2 * * *", "midnight", "night"):
        for jitter in (0, HOUR):
            found = days_with_a_check(window, UTC, DAY, jitter, NOON, 365, 2)
            assert 364 <= found <= 366, (window, jitter, found)
    # on a day of 23 hours, a period of a day has not passed, so one check-in is omitted
    assert 363 <= days_with_a_check("0 4 * * *", BERLIN, DAY, HOUR, NOON, 365, 2) <= 365


def test_period_without_a_window():
    for period, jitter in ((DAY, HOUR), (HOUR, HOUR), (MINUTE, HOUR), (DAY, 0)):
        most = 20 * DAY // period
        found = days_with_a_check("anytime", UTC, period, jitter, NOON, 20, 0)
        assert 20 * DAY // (period + jitter) - 1 <= found <= most + 1, (period, jitter, found)


# ---- single rules


def test_backoff_grows_to_its_cap_and_differs():
    for id in IDS[:300]:
        waits = [backoff_s(n, id) for n in range(1, 40)]
        assert waits == sorted(waits) and waits[6:] == [waits[6]] * 33, id
        assert all(30 << min(n, 6) <= w < 60 << min(n, 6) for n, w in enumerate(waits)), id
    for n in range(1, 8):
        even([backoff_s(n, id) for id in IDS[:2000]], 30 << n - 1, 30 << n - 1, 15)


def test_failing_device_waits_no_longer_than_a_period():
    for period in (0, 5, 30, 100, HOUR, DAY):
        rests = [rest_s(period, 0, n, 0, "ID") for n in range(1, 12)]
        assert rests == [min(backoff_s(n, "ID"), max(30, period)) for n in range(1, 12)]


def test_wait_requested_by_the_cloud():
    for hold in (1, 10, 100, HOUR, DAY, HOLD_MOST_S):
        for failures in (0, 1, 3):
            for id in IDS[:50]:
                rest = rest_s(MINUTE, 0, failures, hold, id)
                own = rest_s(MINUTE, 0, failures, 0, id)
                assert max(hold, own) <= rest <= max(hold * 5 // 4, own), (hold, failures, id, rest)
                # the same after a reset
                for gone in (0, 1, rest - 1, rest, rest + 1):
                    left = due(
                        parse("anytime"),
                        UTC,
                        NOON,
                        id,
                        NOON - gone,
                        up=0,
                        jitter=0,
                        period=MINUTE,
                        failures=failures,
                        hold=hold,
                    )
                    assert left == max(0, rest - gone), (hold, failures, id, gone, left)
    assert rest_s(MINUTE, 0, 1, 1 << 60, "ID") <= HOLD_MOST_S * 5 // 4  # the hold is limited
    even([rest_s(MINUTE, 0, 1, 4000, id) for id in IDS[:3000]], 4000, 1000, 20)
    assert rest_s(MINUTE, 0, 0, None, "ID") == rest_s(MINUTE, 0, 0, -5, "ID") == MINUTE


def test_without_a_clock():
    anytime, day = parse("anytime"), parse("day")
    assert due(anytime, UTC, None, "ID") == 0 and due(day, UTC, None, "ID") is None
    # the period is measured by the uptime
    assert due(anytime, UTC, None, "ID", 0, tried_up=100, up=100 + DAY - 1, jitter=0) == 1
    assert due(anytime, UTC, None, "ID", 0, tried_up=100, up=100 + DAY, jitter=0) == 0
    # after a reset, the time of the last check-in is unknown: its interval counts as passed; power-on adds a pause
    assert due(anytime, UTC, None, "ID", NOON, up=0, cold=False) == 0
    assert due(anytime, UTC, None, "ID", NOON, up=0, failures=9, cold=False) == 0
    assert due(anytime, UTC, None, "ID", NOON, up=0) < HOUR
    assert due(anytime, UTC, None, "ID", 0, up=0, period=0) < HOUR
    for jitter in (0, MINUTE):
        assert due(anytime, UTC, None, "ID", 0, up=0, failures=9, jitter=jitter) == POWER_S
        assert due(anytime, UTC, None, "ID", 0, up=POWER_S, failures=9, jitter=jitter) == 0
    # once the clock is set, the window applies
    assert due(day, UTC, NOON, "ID", 0, cold=False) == 0


def test_clock_jumps():
    anytime, day = parse("anytime"), parse("day")
    for jump in (-8000 * DAY, -DAY, -1, 1, DAY, 8000 * DAY):
        # within one boot, a jump changes nothing
        for up in (100, 100 + DAY // 2, 99 + DAY):
            want = 100 + DAY - up
            assert due(anytime, UTC, NOON + jump, "ID", NOON, tried_up=100, up=up, jitter=0) == want
            assert want - SLACK_S <= due(day, UTC, NOON + jump, "ID", NOON, tried_up=100, up=up, jitter=0) <= want + DAY
    for back in (1, DAY, 8000 * DAY):  # behind the last check-in: after a reset, the interval counts as passed
        assert due(anytime, UTC, NOON - back, "ID", NOON, cold=False) == 0
        assert due(anytime, UTC, NOON - back, "ID", NOON, up=0) < HOUR


def test_windows_that_never_open():
    for text in ("never", "unscheduled"):
        for now in (None, NOON):
            assert due(parse(text), UTC, now, "ID") is None


def test_spread_is_fair_and_steady():
    assert [spread("a", 0), spread("a", 1), spread("a", -0)] == [0, 0, 0]
    assert spread("DEV00000", 1 << 20) == spread("DEV00000", 1 << 20) != spread("DEV00001", 1 << 20)
    even([spread(id, 1000) for id in IDS], 0, 1000, 50)
    assert max(spread(id, 3) for id in IDS[:200]) == 2

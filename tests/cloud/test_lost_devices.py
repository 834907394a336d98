"""A device is lost if it is silent for too long; time in which no server was running does not count."""

import random

import pytest
from device_actions import ask, state
from ioto_tools.cloud.rollout import lost_devices

HOUR, DAY = 3600, 86400


def serve(cloud, seconds):
    """Let time pass while a server is running; return how many devices were marked as lost."""
    found, ends_s = 0, cloud.now_s + seconds
    while cloud.now_s < ends_s:
        cloud.now_s = min(ends_s, cloud.now_s + lost_devices.EVERY_S)
        found += lost_devices.mark_silent(cloud.site)
    return found


def pass_without_server(cloud, seconds):
    """Let time pass while no server is running."""
    cloud.now_s += seconds


@pytest.mark.sweep
def test_devices_are_not_lost_because_the_cloud_was_down(cloud):
    cloud.publish("2.0.0", stop="50% after 1")
    lost_devices.mark_silent(cloud.site)
    assert ask(cloud, "D1", next=HOUR) == ask(cloud, "D2", next=HOUR) == "2.0.0"
    assert serve(cloud, 20 * HOUR) == 0
    pass_without_server(cloud, 3 * DAY)
    assert lost_devices.mark_silent(cloud.site) == 0 and serve(cloud, HOUR) == 0
    assert ask(cloud, "D2", next=HOUR) == "2.0.0"
    assert serve(cloud, 2 * HOUR) == 0 and serve(cloud, HOUR) == 1
    assert state(cloud, "D1") == "lost" and state(cloud, "D2") == "offered"


@pytest.mark.sweep
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(1, 12))])
def test_silent_devices_are_marked_in_the_end_but_never_too_early(cloud, seed):
    draw = random.Random(seed)
    cloud.publish("2.0.0")
    lost_devices.mark_silent(cloud.site)
    grace = {"D%d" % n: draw.choice((DAY, 2 * DAY, 9 * DAY)) for n in range(4)}
    served = {}  # device -> seconds with a running server since its last check-in
    for n in range(4):
        ask(cloud, "D%d" % n, next=grace["D%d" % n] // 2)
        served["D%d" % n] = 0
        for _ in range(3):
            spent = draw.randrange(5 * HOUR)
            serve(cloud, spent)
            pass_without_server(cloud, draw.choice((0, HOUR, DAY, 9 * DAY)))
            served = {id: seconds + spent for id, seconds in served.items()}
            for id, seconds in served.items():
                assert state(cloud, id) == "offered" or seconds >= grace[id], (id, seconds)
    lost_devices.mark_silent(cloud.site)
    serve(cloud, max(grace.values()))
    assert {id: state(cloud, id) for id in served} == dict.fromkeys(served, "lost")


@pytest.mark.sweep
@pytest.mark.parametrize(
    "next, allowed", [(0, DAY), (HOUR, DAY), (12 * HOUR, DAY), (25 * HOUR, 50 * HOUR), (7 * DAY, 14 * DAY)]
)
def test_a_device_may_miss_one_check_in_of_the_interval_that_it_sent(cloud, next, allowed):
    cloud.publish("2.0.0")
    ask(cloud, "D1", next=next)
    lost_devices.mark_silent(cloud.site)
    assert serve(cloud, allowed - lost_devices.EVERY_S) == 0
    assert serve(cloud, lost_devices.EVERY_S) == 1 and state(cloud, "D1") == "lost"


@pytest.mark.sweep
@pytest.mark.parametrize("intervals, allowed", [
    ((), 50 * HOUR),  # one check-in, or a few in a row
    ((HOUR,) * 9, DAY), ((7 * DAY,), 14 * DAY),
    ((7 * DAY, 60, 60), 2 * 7 * DAY * 31 * 31 // 32 // 32),  # two restarts after a week
    ((30 * DAY, *(DAY,) * 12), 2 * DAY),  # a month without power no longer matters
    ((7 * DAY, *(60,) * 90), DAY),  # a week without power no longer matters either
])  # fmt: skip
def test_the_interval_of_other_clients_is_estimated_from_their_check_ins(cloud, intervals, allowed):
    ask(cloud, "D1")
    for seconds in intervals:
        cloud.now_s += seconds
        ask(cloud, "D1")
    cloud.publish("2.0.0")
    ask(cloud, "D1")
    allowed = max(DAY, allowed * 31 // 32)  # the last check-in counts as one more restart
    lost_devices.mark_silent(cloud.site)
    assert serve(cloud, allowed // lost_devices.EVERY_S * lost_devices.EVERY_S - lost_devices.EVERY_S) == 0
    assert serve(cloud, 2 * lost_devices.EVERY_S) == 1


def test_a_clock_that_was_ahead_does_not_delay_the_marking(cloud):
    """The clock was two days ahead: afterwards, neither the jump nor the last run, now in the future, has an effect."""
    cloud.publish("2.0.0")
    lost_devices.mark_silent(cloud.site)
    ask(cloud, "D1", next=HOUR)
    cloud.now_s += 2 * DAY
    lost_devices.mark_silent(cloud.site)
    cloud.now_s -= 2 * DAY
    assert serve(cloud, DAY - lost_devices.EVERY_S) == 0 and serve(cloud, lost_devices.EVERY_S) == 1


@pytest.mark.sweep
def test_many_outages(cloud):
    """After an hour's outage every night for three months, a device with a weekly interval is not lost."""
    cloud.publish("2.0.0")
    for n in range(90):
        lost_devices.mark_silent(cloud.site)
        if n % 7 == 0:
            ask(cloud, "D1", next=7 * DAY)
        cloud.now_s += DAY - HOUR
        lost_devices.mark_silent(cloud.site)
        cloud.now_s += HOUR
        assert lost_devices.mark_silent(cloud.site) == 0
    assert state(cloud, "D1") == "offered"

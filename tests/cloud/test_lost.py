"""Silence and whose it is: a device is lost after a day in which it could have been heard, however often nobody served meanwhile."""

import random

import pytest
from asking import ask, state
from ioto_tools.cloud import lost

HOUR, DAY = 3600, 86400


def serve(cloud, seconds):
    """So much time goes by while somebody serves; how many were lost."""
    found, ends_s = 0, cloud.now_s + seconds
    while cloud.now_s < ends_s:
        cloud.now_s = min(ends_s, cloud.now_s + lost.EVERY_S)
        found += lost.sweep(cloud.site)
    return found


def away(cloud, seconds):
    """So much time goes by while nobody does."""
    cloud.now_s += seconds


def test_a_fleet_is_not_lost_because_its_cloud_was_away(cloud):
    cloud.publish("2.0.0", stop="50% after 1")
    lost.sweep(cloud.site)
    assert ask(cloud, "D1") == ask(cloud, "D2") == "2.0.0"
    assert serve(cloud, 20 * HOUR) == 0
    away(cloud, 3 * DAY)
    assert lost.sweep(cloud.site) == 0 and serve(cloud, HOUR) == 0
    assert ask(cloud, "D2") == "2.0.0"
    assert serve(cloud, 2 * HOUR) == 0 and serve(cloud, HOUR) == 1
    assert state(cloud, "D1") == "lost" and state(cloud, "D2") == "offered"


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(1, 12))])
def test_never_too_early_and_in_the_end_for_certain(cloud, seed):
    draw = random.Random(seed)
    cloud.publish("2.0.0")
    lost.sweep(cloud.site)
    served = {}  # device -> seconds since it was heard in which somebody served
    for n in range(4):
        ask(cloud, "D%d" % n)
        served["D%d" % n] = 0
        for _ in range(3):
            spent = draw.randrange(5 * HOUR)
            serve(cloud, spent)
            away(cloud, draw.choice((0, HOUR, DAY, 9 * DAY)))
            served = {id: seconds + spent for id, seconds in served.items()}
            for id, seconds in served.items():
                assert state(cloud, id) == "offered" or seconds >= DAY, (id, seconds)
    lost.sweep(cloud.site)
    serve(cloud, DAY)
    assert {id: state(cloud, id) for id in served} == dict.fromkeys(served, "lost")

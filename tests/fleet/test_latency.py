"""Quantiles from the histogram, compared with the sorted list."""

import random

from ioto_tools.fleet.latency import Latency


def test_each_time_is_within_its_bucket():
    draw = random.Random(1)
    for us in [*range(4096), *(draw.randrange(3600 * 10**6) for _ in range(3000)), 10**14]:
        one = Latency()
        one.add(us / 1e6 + 1e-9)
        found = one.quantile(0.5) * 1e6
        assert us - 0.5 <= found + 0.5 <= us * 1.04 + 1 or us == 10**14 and found > 3600e6, us


def test_quantiles_match_the_sorted_list():
    draw = random.Random(2)
    for n in (1, 2, 10, 999):
        times = sorted(draw.expovariate(100) for _ in range(n))
        many = Latency()
        for seconds in times:
            many.add(seconds)
        for q in (0, 0.01, 0.5, 0.9, 0.99, 1):
            exact = times[max(1, round(n * q)) - 1]
            assert exact * 0.999 - 1e-6 <= many.quantile(q) <= exact * 1.04 + 1e-6
    assert Latency().quantile(0.5) == 0

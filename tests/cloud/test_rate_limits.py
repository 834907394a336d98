"""Request rate limits, compared with a model; a noisy device beside quiet ones is limited; all keep their tokens."""

import pickle
import random

import pytest
from cloud_under_test import PRODUCT, Cloud
from ioto_tools.cloud.http import rate_limits
from ioto_tools.cloud.http.errors import Refusal

SPECIAL = (b"Authentication failed", b"Cannot find device")


def test_no_interval_exceeds_the_rate_plus_one_burst():
    for seed in range(30):
        chance = random.Random(seed)
        per_minute = chance.choice((1, 2, 7, 60, 600))
        now = [0.0]
        bucket = rate_limits.RateLimits(per_minute, lambda: now[0])
        passed = []
        for _ in range(400):
            now[0] += chance.choice((0, 0, 0.1, 1, 5, 30))
            try:
                bucket.check("one")
                passed.append(now[0])
            except Refusal as e:
                assert e.status == 429 and e.retry_s >= 1
                assert now[0] + e.retry_s >= passed[0]
        for i, start in enumerate(passed):
            for j in range(i, len(passed)):
                assert j - i + 1 <= per_minute + (passed[j] - start) * per_minute / 60 + 1e-6, (seed, i, j)


def test_client_that_waits_for_retry_s_passes():
    now = [0.0]
    for per_minute in range(1, 130):
        bucket = rate_limits.RateLimits(per_minute, lambda: now[0])
        for _ in range(3):
            try:
                while True:
                    bucket.check("one")
            except Refusal as e:
                now[0] += e.retry_s
                bucket.check("one")


def test_clock_that_goes_back_locks_no_client_out():
    now = [1000.0]
    bucket = rate_limits.RateLimits(2, lambda: now[0])
    bucket.check("one")
    now[0] = 0
    bucket.check("one")
    with pytest.raises(Refusal):
        bucket.check("one")
    now[0] = 31
    bucket.check("one")


def test_number_of_buckets_is_bounded(monkeypatch):
    monkeypatch.setattr(rate_limits, "KEYS", 100)
    bucket = rate_limits.RateLimits(5, lambda: 0.0)
    for n in range(1000):
        bucket.check(n)
        bucket.check("busy") if n < 5 else None
    assert len(bucket._buckets) == 100


def test_long_keys_take_no_more_memory_than_short_ones(tmp_path):
    bucket = rate_limits.RateLimits(5, lambda: 0.0)
    for n in range(100):
        bucket.check(("id", "%d" % n + "x" * 16000))
    assert len(pickle.dumps(bucket._buckets)) < 100 * 64  # including the keys
    cloud = Cloud(tmp_path, rate=10)
    for n in range(100):  # refused before a bucket is created
        assert cloud.register("%d" % n + "x" * 10000).status == 400
    assert len(cloud.app.state.devices._buckets) == 0
    cloud.close()


def test_noisy_device_is_limited_and_no_other(tmp_path):
    cloud = Cloud(tmp_path, rate=10)
    noisy, quiet = cloud.device("D1"), cloud.device("D2")
    update = cloud.publish("2.0.0")["id"]
    replies = [cloud.check_in("D1", noisy, "1.0.0") for _ in range(50)]
    assert [reply.status for reply in replies] == [200] * 10 + [429] * 40
    for reply in replies[10:] + [cloud.report("D1", noisy, update)]:
        assert reply.status == 429 and int(reply.headers["retry-after"]) <= 7
        assert not any(text in reply.body for text in SPECIAL) and "10 a minute" in reply.json()["error"]
    assert cloud.check_in("D2", quiet, "1.0.0").status == 200
    assert cloud.register("D3").status == 200  # all devices register with the same product id
    assert [cloud.register("D4").status for _ in range(12)] == [200] * 10 + [429] * 2
    assert cloud.register("D5").status == 200
    cloud.now_s += int(replies[-1].headers["retry-after"])
    assert cloud.check_in("D1", noisy, "1.0.0").status == 200
    cloud.close()


def test_requests_with_wrong_tokens_do_not_use_up_a_devices_limit(tmp_path):
    cloud = Cloud(tmp_path, rate=5)
    token = cloud.device()
    for _ in range(30):
        cloud.check_in("D1", "wrong", "1.0.0")
        cloud.post("/device/register", {"id": 5}, PRODUCT)
    assert cloud.check_in("D1", token, "1.0.0").status == 200
    cloud.close()

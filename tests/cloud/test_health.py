"""`GET /health`: the server is ready while it can serve devices, otherwise it gives a reason; it is always alive."""

import json
import logging
import shutil
from collections import namedtuple

import pytest
from cloud_under_test import call
from ioto_tools.cloud.http.errors import Unavailable

BOTH = True


def health(cloud, path="/health"):
    reply = call(cloud.app, "GET", path)
    return reply.status, json.loads(reply.body)


def test_a_site_that_serves_is_ready(cloud):
    assert health(cloud) == (200, {"status": "ready"})
    assert health(cloud, "/health/alive") == (200, {"status": "alive"})


def test_a_database_that_does_not_answer(cloud, monkeypatch, caplog):
    def away(function, *arguments):
        raise Unavailable("postgresql://db.internal: connection refused")

    reads = cloud.site.database.read
    cloud.site.database.read = away
    with caplog.at_level(logging.WARNING, "ioto.cloud"):
        for _ in range(3):
            assert health(cloud) == (503, {"status": "not ready", "reasons": ["the database does not answer"]})
            cloud.now_s += 5
    assert caplog.text.count("db.internal") == 1, "the details are in the log, once, and not in the answer"
    assert health(cloud, "/health/alive") == (200, {"status": "alive"})
    cloud.site.database.read = reads
    cloud.now_s += 5
    assert health(cloud) == (200, {"status": "ready"})
    assert "ready again" in caplog.text


@pytest.mark.parametrize("free, status", [((16 << 20) - 1, 503), (16 << 20, 200)])
def test_a_full_disk(cloud, monkeypatch, free, status):
    usage = namedtuple("usage", "total used free")(1 << 40, (1 << 40) - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert health(cloud)[0] == status


def test_many_questions_are_one_read(cloud):
    reads = cloud.site.database.read
    asked = []
    cloud.site.database.read = lambda *arguments: asked.append(arguments) or reads(*arguments)
    for _ in range(20):
        assert health(cloud)[0] == 200
    assert len(asked) == 1

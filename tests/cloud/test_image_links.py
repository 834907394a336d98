"""Signed image links: every change is refused; lifetimes are exact to the second; several workers; new keys."""

import re

import pytest
from cloud_under_test import Cloud, call
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.images import links
from ioto_tools.cloud.storage import audit

HOUR = 3600
DAY = 24 * HOUR


def status(cloud, path):
    return call(cloud.app, "GET", path).status


def expires(path):
    return int(re.search(r"expires=(\d+)", path)[1])


def test_every_changed_character_is_refused(cloud):
    one, other = cloud.publish("1.0.0")["id"], cloud.publish("1.1.0")["id"]
    path = cloud.link(one)
    assert status(cloud, path) == 200
    for at in range(len("/image/"), len(path)):
        for character in "0A-_=&%":
            tampered = path[:at] + character + path[at + 1 :]
            assert tampered == path or path[at] == "?" or status(cloud, tampered) == 403, tampered
        for tampered in (path[:at], path[:at] + path[at + 1 :], path[:at] + path[at] + path[at:]):
            assert path[at] == "&" or status(cloud, tampered) in (403, 404), tampered  # a doubled & makes no difference
    assert status(cloud, path.replace(one, other)) == 403
    for query in (
        "",
        "?",
        "?expires=",
        "?signature=",
        "?expires=%d" % expires(path),
        "?" + path.partition("&")[2],
        "?expires=9&signature=%FF",
    ):
        reply = call(cloud.app, "GET", "/image/" + one + query)
        assert reply.status == 403 and "not signed" in reply.json()["error"] or "wrong" in reply.json()["error"], query


def test_changed_expiry_is_refused(cloud):
    update = cloud.publish("1.0.0")["id"]
    path = cloud.link(update)
    for end in (expires(path) + 1, 0, -1, "%d " % expires(path), "0%d" % expires(path), "1e9", "9" * 13):
        assert status(cloud, path.replace(str(expires(path)), str(end))) == 403, end


def test_link_is_valid_for_a_day_and_shared_within_a_span(cloud):
    update = cloud.publish("1.0.0")["id"]
    cloud.now_s = 1_800_000_000 // HOUR * HOUR
    first = cloud.link(update)
    assert expires(first) == cloud.now_s + DAY + HOUR
    seen = {}
    for _ in range(3 * 60):
        path = cloud.link(update)
        assert DAY <= expires(path) - cloud.now_s <= DAY + HOUR
        seen.setdefault(path, []).append(cloud.now_s)
        cloud.now_s += 60
    assert [len(times) for times in seen.values()] == [60, 60, 60]
    cloud.now_s = expires(first) - 1
    assert status(cloud, first) == 200
    cloud.now_s += 1
    reply = call(cloud.app, "GET", first)
    assert reply.status == 403 and "expired" in reply.json()["error"] and status(cloud, cloud.link(update)) == 200


def test_lifetime_is_configurable(tmp_path, kind):
    for lifetime_s in (1, 60, 3600, links.MAX_LIFETIME_S):
        cloud = Cloud(tmp_path / str(lifetime_s), kind, link_lifetime_s=lifetime_s)
        path = cloud.link(cloud.publish("1.0.0")["id"])
        assert lifetime_s <= expires(path) - cloud.now_s <= lifetime_s + max(1, lifetime_s // 24)
        assert status(cloud, path) == 200
        cloud.close()
    for bad in (0, -1, links.MAX_LIFETIME_S + 1, float("inf")):
        with pytest.raises(CloudError, match="link lifetime"):
            Cloud(tmp_path / "bad", link_lifetime_s=bad)


def test_new_key_keeps_old_links_valid_and_reaches_every_worker(cloud):
    update = cloud.publish("1.0.0")["id"]
    worker = links.Links(cloud.site)
    old = worker.path(update)
    assert old == cloud.link(update)
    cloud.site.links.rotate("boss")
    new = cloud.link(update)
    assert new != old and worker.path(update) == old
    cloud.now_s += 1
    query = dict(pair.split("=") for pair in new.partition("?")[2].split("&"))
    worker.verify(
        update, query["expires"], query["signature"]
    )  # signed by the other worker, with a key that this worker has not read yet
    assert worker.path(update) == new and status(cloud, old) == 200
    for _ in range(4):
        cloud.now_s += 6 * HOUR - 1
        cloud.site.links.rotate("boss")
        assert status(cloud, old) == 200
    what = [row["action"] for row in cloud.site.database.read(audit.newest)]
    assert what.count("links.rotated") == 5


def test_revoke_invalidates_earlier_links_at_once(cloud):
    update = cloud.publish("1.0.0")["id"]
    old = cloud.link(update)
    cloud.site.links.rotate("boss", revoke=True)
    assert status(cloud, old) == 403 and status(cloud, cloud.link(update)) == 200


@pytest.mark.sweep
def test_keys_are_replaced_automatically_and_old_ones_deleted(cloud):
    """Two years in steps of 12 hours: each link is valid for a day, and at most three keys are stored."""
    update = cloud.publish("2.0.0")["id"]
    seen = set()
    links_ = [cloud.link(update)]
    for step in range(2 * 2 * 365):
        cloud.now_s += DAY // 2
        cloud.site.links.refresh(links.READ_S)
        if step % 20 == 0:
            assert [status(cloud, link) for link in links_[-4:]] == [403, 403, 200, 200][-len(links_) :]
        rows = cloud.site.database.read(links._keys)
        seen |= {row["id"] for row in rows}
        assert len(rows) <= 3
        links_.append(cloud.link(update))
    assert len(seen) == 2 * 365 // 90 + 1


def test_two_workers_create_only_one_first_key(cloud):
    new_keys = [{"id": "%016x" % n, "secret": "%064x" % n} for n in range(2)]
    for each in new_keys:
        found = cloud.site.database.write(links._next_key, each, cloud.site.now_s(), None)
    assert [key["id"] for key in found] == [new_keys[0]["id"]]


def test_link_needs_no_database_between_refreshes(cloud, monkeypatch):
    """A worker reads the keys once a minute. In between, a link costs neither a query nor an HMAC."""
    update = cloud.publish("1.0.0")["id"]
    worker = links.Links(cloud.site)
    worker.refresh(links.READ_S)
    worker.path(update)
    monkeypatch.setattr(cloud.site.database, "read", None)
    monkeypatch.setattr(links, "_signature", None)
    for _ in range(links.READ_S):
        worker.refresh(links.READ_S)
        assert worker.path(update)
        cloud.now_s += 1
    with pytest.raises(TypeError):
        worker.refresh(links.READ_S)


def test_links_of_the_store_are_shared_within_a_span(cloud, monkeypatch):
    """A store that signs its own links is asked for one link per hour, not for one per check-in."""
    asked = []

    def link(checksum, seconds):
        asked.append(seconds)
        return "https://store.test/%s?n=%d" % (checksum, len(asked))

    monkeypatch.setattr(cloud.site.images, "link", link)
    release = cloud.publish("2.0.0")
    token = cloud.device()
    cloud.now_s = 1_800_000_000 // HOUR * HOUR
    urls = []
    for _ in range(90):
        urls.append(cloud.check_in("D1", token, "1.0.0").json()["url"])
        cloud.now_s += 120
    assert [urls.count(url) for url in dict.fromkeys(urls)] == [30, 30, 30] and asked == [DAY + HOUR] * 3
    assert all(url.startswith("https://store.test/" + release["checksum"]) for url in urls)

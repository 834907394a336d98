"""Every range of small files, compared with brute force, and every chunk boundary through the application."""

import itertools

from cloud_under_test import call, esp_image
from ioto_tools.cloud.http.range_requests import resolve_range
from ioto_tools.cloud.images.folder_store import CHUNK_BYTES

ETAG = '"abc"'


def expected_positions(size, first, last):
    """The positions that `bytes=first-last` selects in a file of `size` bytes; None if the range is invalid.

    "" stands for an open end.
    """
    if first == "" and last == "":
        return None
    if first == "":
        return [i for i in range(size) if i >= size - int(last)]
    if last != "" and int(last) < int(first):
        return None
    return [i for i in range(size) if i >= int(first) and (last == "" or i <= int(last))]


def test_every_range_of_small_files_matches_brute_force():
    count = 0
    numbers = ["", *map(str, range(9)), "999999999999999999"]
    for size, first, last in itertools.product(range(1, 8), numbers, numbers):
        wanted = expected_positions(size, first, last)
        got = resolve_range(size, ETAG, "bytes=%s-%s" % (first, last))
        if wanted is None:
            assert got == (200, 0, size), (size, first, last)
        elif not wanted:
            assert got == (416, 0, 0), (size, first, last)
        else:
            assert got == (206, wanted[0], len(wanted)), (size, first, last)
        count += 1
    assert count == 7 * 11 * 11


def test_unsupported_ranges_are_ignored():
    for text in (
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "lines=0-1",
        "bytes",
        "bytes=",
        "0-1",
        "bytes=a-b",
        "bytes=-",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=0x1-2",
        "bytes=１-2",
        "bytes=" + "9" * 400 + "-",
        "",
        None,
    ):
        assert resolve_range(10, ETAG, text) == (200, 0, 10), text
    assert resolve_range(10, ETAG, " Bytes = 2 - 3 ") == (206, 2, 2)


def test_if_range_requires_the_same_etag():
    for text in ('"abd"', 'W/"abc"', "abc", "Wed, 21 Oct 2015 07:28:00 GMT", "", '"abc", "x"'):
        assert resolve_range(10, ETAG, "bytes=4-", text) == (200, 0, 10), text
    assert resolve_range(10, ETAG, "bytes=4-", ETAG) == (206, 4, 6)
    assert resolve_range(10, ETAG, None, ETAG) == (200, 0, 10)
    assert resolve_range(10, ETAG, "bytes=10-", '"abd"') == (200, 0, 10)


def test_every_chunk_boundary_through_the_application(cloud):
    image = esp_image(b"chunks", 2 * CHUNK_BYTES)
    size = len(image)
    path = cloud.link(cloud.publish("1.0.0", image)["id"])
    edges = sorted({e + d for e in (0, CHUNK_BYTES, 2 * CHUNK_BYTES, size) for d in (-1, 0, 1)} - {-1})
    etag = call(cloud.app, "HEAD", path).headers["etag"]
    for first, last in itertools.product(edges, edges + [""]):
        wanted = image[first : (last + 1 if last != "" else size)]
        reply = call(cloud.app, "GET", path, {"Range": "bytes=%s-%s" % (first, last), "If-Range": etag})
        if last != "" and last < first:
            assert (reply.status, reply.body) == (200, image)
        elif first >= size:
            assert reply.status == 416 and reply.headers["content-range"] == "bytes */%d" % size, first
        else:
            assert (reply.status, reply.body) == (206, wanted), (first, last)
            assert reply.headers["content-range"] == "bytes %d-%d/%d" % (first, first + len(wanted) - 1, size)
            assert reply.headers["content-length"] == str(len(wanted))
        assert reply.status == 416 or reply.headers["etag"] == etag
        assert max(map(len, reply.chunks)) <= CHUNK_BYTES


def test_whole_image_head_and_conditional_requests(cloud):
    image = esp_image(b"whole", 3000)
    release = cloud.publish("1.0.0", image)
    path = cloud.link(release["id"])
    whole = call(cloud.app, "GET", path)
    assert (whole.status, whole.body) == (200, image)
    assert whole.headers["accept-ranges"] == "bytes" and whole.headers["etag"] == '"%s"' % release["checksum"]
    head = call(cloud.app, "HEAD", path, {"Range": "bytes=1-2"})
    assert (head.status, head.body) == (200, b"") and head.headers == whole.headers
    assert call(cloud.app, "GET", path, {"If-None-Match": whole.headers["etag"]}).status == 304
    stale = call(cloud.app, "GET", path, {"Range": "bytes=5-", "If-Range": '"%s"' % ("0" * 64)})
    assert (stale.status, stale.body) == (200, image)


def test_only_published_images_are_served(cloud):
    release = cloud.publish("1.0.0")
    for name in (
        "",
        "x",
        release["checksum"],
        "../cloud.db",
        "%2e%2e/cloud.db",
        release["id"].lower(),
        release["id"] + "/",
    ):
        for path in ("/image/" + name, cloud.link(name), cloud.link(release["id"]).replace(release["id"], name)):
            assert call(cloud.app, "GET", path).status in (307, 403, 404), path
    disabled = cloud.publish("1.1.0", enabled=False)
    assert call(cloud.app, "GET", cloud.link(disabled["id"])).status == 200  # a running download may finish


def test_lost_or_truncated_file_is_503_not_a_wrong_image(cloud):
    release = cloud.publish("1.0.0")
    path = cloud.link(release["id"])
    whole = call(cloud.app, "GET", path).body
    cloud.kind.spoil(cloud.site, release["checksum"], whole[:-1])
    reply = call(cloud.app, "GET", path)
    assert reply.status == 503 and reply.headers["retry-after"] == "30"
    cloud.kind.spoil(cloud.site, release["checksum"], None)
    assert call(cloud.app, "GET", path).status == 503
    cloud.publish("1.0.0")  # publishing the same image again restores it
    assert call(cloud.app, "GET", path).body == whole

"""Servers that send invalid replies or stall: each case is reported with its reason, and the flash does not change.

Each case is one virtual board in simulated time. After a while with the faulty server, the real cloud answers, and the
board must update from it.
"""

import hashlib
import json

import pytest
from faulty_cloud import FAULTY_S, RECOVERY_S, FaultyCloud, board, check_refused, confirmed, offer, restore_cloud, state
from ioto_tools.image import corrupt_images, esp
from ioto_tools.virtual_board.peers import ScriptedServer, http_response
from rig import PRODUCT, secure


def raw(text):
    return [text.encode(), None]


IMAGE = esp.make_image(10240, "offered")
INVALID_REPLIES = {
    "not-json": ([http_response(b"<html>hello</html>")], "reply_malformed"),
    "a-list": ([http_response(b"[1, 2]")], "reply_malformed"),
    "a-text": ("hello", "reply_malformed"),
    "no-scheme": (offer(IMAGE, url="images.test/i"), "url_invalid"),
    "ftp": (offer(IMAGE, url="ftp://images.test/i"), "url_invalid"),
    "url-number": (offer(IMAGE, url=5), "url_invalid"),
    "short-checksum": (offer(IMAGE, checksum="ab" * 31), "checksum_invalid"),
    "no-checksum": (offer(IMAGE, checksum=None), "checksum_invalid"),
    "checksum-not-hex": (offer(IMAGE, checksum="zz" * 32), "checksum_invalid"),
    "no-version": (offer(IMAGE, version=None), "version_invalid"),
    "two-numbers": (offer(IMAGE, version="1.1"), "version_invalid"),
    "same-version": (offer(IMAGE, version="1.0.0"), "version_not_newer"),
    "older": (offer(IMAGE, version="0.9.9"), "version_not_newer"),
    "no-update": (offer(IMAGE, update=None), "update_invalid"),
    "size-0": (offer(IMAGE, size=0), "size_zero"),
    "size-negative": (offer(IMAGE, size=-1), "size_zero"),
    "size-text": (offer(IMAGE, size="big"), "reply_malformed"),
    "larger-than-the-slot": (offer(IMAGE, size=65537 + 4096), "size_too_large"),  # 4096 bytes are for an envelope
    "401": ([http_response(b"no", 401)], "http_status"),
    "404": ([http_response(b'{"error":"what"}', 404)], "http_status"),
    "500": ([http_response(b"", 500)], "http_status"),
    "not-http": (raw("SSH-2.0-OpenSSH_9\r\n"), "http_malformed"),
    "long-reply": ([http_response(b" " * 9000)], "reply_too_large"),
    "endless-headers": ([b"HTTP/1.1 200 OK\r\n"] + [b"X-More: yes\r\n" * 100] * 30, "http_malformed"),
    "redirect-loop": (
        [http_response(b"", 302, [("Location", "https://cloud.test/tok/provision/update")])],
        "http_redirect",
    ),
}


@pytest.mark.sweep
@pytest.mark.parametrize("case", INVALID_REPLIES)
def test_invalid_replies_to_a_check_in_are_refused(tmp_path, case):
    check, reason = INVALID_REPLIES[case]
    check_refused(tmp_path, FaultyCloud(check), reason)


@pytest.mark.parametrize(
    "steps", [[], [b"HTTP/1.1 200 OK\r\nContent-Le"], [104], [None]], ids=["silence", "half", "reset", "close"]
)
def test_check_in_without_a_reply_is_repeated(tmp_path, steps):
    faulty = FaultyCloud(steps)
    rig = board(tmp_path, faulty)
    before = state(rig)
    run = rig.run(until_s=FAULTY_S)
    assert run.ended == "time" and faulty.checks >= 2 and state(rig) == before, run.console[-800:]
    restore_cloud(rig)
    assert rig.run(until_s=RECOVERY_S, stop=confirmed).slots[-1] == "ota_1"


def test_replies_without_an_offer(tmp_path):
    for i, check in enumerate(({}, {"other": 1}, [http_response(b"", 204)])):
        faulty = FaultyCloud(check)
        rig = board(tmp_path / str(i) if (tmp_path / str(i)).mkdir() is None else tmp_path, faulty)
        run = rig.run(until_s=FAULTY_S)
        assert "FAILED" not in run.console and faulty.checks == 1, run.console


@pytest.mark.parametrize("header,wait_s", [("7200", 7200), (None, 0)])
def test_retry_after_is_respected(tmp_path, header, wait_s):
    faulty = FaultyCloud([http_response(b"later", 429, [("Retry-After", header)] if header else [])])
    rig = board(tmp_path, faulty)
    rig.run(until_s=7000)
    assert faulty.checks == 1 if header else faulty.checks > 3
    if header:
        rig.run(until_s=7000)  # starts with a reset; ends after the first delay and during the second
        assert faulty.checks == 2


def test_replies_to_reports_do_not_cancel_retry_after(tmp_path):
    """The offer is refused, and its report goes over the same connection.

    The reply to the report has no Retry-After.
    """
    faulty = FaultyCloud(
        [http_response(json.dumps(offer(IMAGE, version="1.0.0")).encode(), 200, [("Retry-After", "7200")])]
    )
    board(tmp_path, faulty).run(until_s=7000)
    assert faulty.checks == 1 and [r["reason"] for r in faulty.reports] == ["version_not_newer"]


def image_case(image, **changes):
    return offer(image, **changes), [http_response(image)]


ROOM = 0x10000
INVALID_IMAGES = {
    "merged": (*image_case(b"\xe9\x04\x02\x20" + bytes(20) + b"\x30\0\xff\x3f" + bytes(10000)), "image_merged"),
    "whole-flash": (*image_case(b"\xff" * 12288), "image_merged"),
    "other-chip": (*image_case(corrupt_images.corrupt(IMAGE, "wrong_chip", ROOM)), "image_chip"),
    "no-description": (*image_case(corrupt_images.corrupt(IMAGE, "no_description", ROOM)), "image_malformed"),
    "truncated": (*image_case(IMAGE[:-4096]), "image_malformed"),
    "padded": (*image_case(IMAGE + b"\xff" * 4096), "image_malformed"),
    "text": (*image_case(b"This is not an image. " * 500), "image_magic"),
    "wrong-hash": (offer(IMAGE, checksum="ab" * 32), [http_response(IMAGE)], "checksum_mismatch"),
    "longer-than-announced": (offer(IMAGE), [http_response(IMAGE + b"x" * 16)], "size_mismatch"),
    "shorter-than-announced": (offer(IMAGE), [http_response(IMAGE[:-16])], "size_mismatch"),
    "html-200": (offer(IMAGE), [http_response(b"<html>error</html>")], "size_mismatch"),
    "html-size-unsaid": (offer(IMAGE, size=None), [http_response(b"<html>error</html>" * 30)], "image_magic"),
    "image-404": (offer(IMAGE), [http_response(b"", 404)], "http_status"),
    "image-204": (offer(IMAGE), [http_response(b"", 204)], "http_status"),
    "larger-than-the-slot": (offer(IMAGE, size=None), [http_response(b"\xe9" * 70000)], "size_too_large"),
    "larger-and-no-envelope": (offer(IMAGE, size=65537), [http_response(b"\xe9" * 65537)], "size_too_large"),
    "empty": (offer(IMAGE, size=None), [http_response(b"")], "size_zero"),
}


@pytest.mark.sweep
@pytest.mark.parametrize("case", INVALID_IMAGES)
def test_invalid_images_are_refused(tmp_path, case):
    check, image, reason = INVALID_IMAGES[case]
    check_refused(tmp_path, FaultyCloud(check, image), reason)


def slowly(image, seconds=1.0):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(image)
    return [head] + [(seconds, image[i : i + 1]) for i in range(300)]


STALLS = {
    "one-byte-a-second": slowly(IMAGE),
    "stops-in-the-middle": [http_response(IMAGE)[:5000]],
    "cut-in-the-middle": [http_response(IMAGE)[:5000], None],
    "reset-in-the-middle": [http_response(IMAGE)[:5000], 104],
    "silence": [],
}


@pytest.mark.sweep
@pytest.mark.parametrize("case", STALLS)
def test_stalled_download_is_resumed_later(tmp_path, case):
    faulty = FaultyCloud(offer(IMAGE), STALLS[case])
    rig = board(tmp_path, faulty)
    before = state(rig)
    run = rig.run(until_s=FAULTY_S)
    assert run.ended == "time" and state(rig) == before and run.slots == ["ota_0"], run.console[-800:]
    faulty.image = [http_response(IMAGE)]
    run = rig.run(until_s=RECOVERY_S, stop=confirmed)
    assert run.slots[-1] == "ota_1", run.console[-1500:]


def test_upper_case_checksum_is_accepted(tmp_path):
    faulty = FaultyCloud(offer(IMAGE, checksum=hashlib.sha256(IMAGE).hexdigest().upper()), [http_response(IMAGE)])
    assert board(tmp_path, faulty).run(until_s=FAULTY_S).slots[-1] == "ota_1"


@pytest.mark.parametrize("text", ["Authentication failed", "Cannot find device"])
def test_special_texts_make_the_device_register_again(tmp_path, text):
    faulty = FaultyCloud([http_response(text.encode(), 401)])
    rig = board(tmp_path, faulty)
    registered = []
    answer = faulty.answer

    def counting(method, path, headers, body):
        if path.endswith("/register"):
            registered.append(headers["authorization"])
        return answer(method, path, headers, body)

    rig.air.peers[(rig.air.names["cloud.test"], 443)] = secure(ScriptedServer(counting))
    run = rig.run(until_s=FAULTY_S)
    assert run.ended == "time" and 2 <= len(registered) <= 10, registered
    assert set(registered) == {"bearer " + PRODUCT}
    restore_cloud(rig)
    assert rig.run(until_s=RECOVERY_S, stop=confirmed).slots[-1] == "ota_1"


def test_unusual_headers_of_an_image_store_are_accepted(tmp_path):
    """A second Date, a Content-Encoding that changes no byte, and a weak ETag, which If-Range does not allow.

    The download resumes nevertheless.
    """
    odd = [
        ("Date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("Date", "Fri, 15 Jan 2027 08:00:01 GMT"),
        ("Content-Encoding", "aws-chunked"),
        ("ETag", 'W/"1"'),
    ]
    asked = []

    def answer(method, path, headers, body):
        if path.endswith("/i"):
            asked.append(headers.get("range", ""))
            first = int(asked[-1][6:-1] or 0) if "if-range" not in headers else 0
            if not first:
                return [http_response(IMAGE, 200, odd)[:5000], 104]
            return [
                http_response(
                    IMAGE[first:],
                    206,
                    odd + [("Content-Range", "bytes %d-%d/%d" % (first, len(IMAGE) - 1, len(IMAGE)))],
                )
            ]
        found = faulty.answer(method, path, headers, body)
        return [
            found[0].replace(
                b"\r\n", b"\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\nDate: Fri, 15 Jan 2027 08:00:01 GMT\r\n", 1
            )
        ]

    faulty = FaultyCloud(offer(IMAGE))
    rig = board(tmp_path, faulty)
    for name in ("cloud.test", "images.test"):
        rig.air.peers[(rig.air.names[name], 443)] = secure(ScriptedServer(answer))
    run = rig.run(until_s=FAULTY_S, stop=confirmed)
    assert run.slots[-1] == "ota_1" and asked == ["", "bytes=4096-"], (asked, run.console[-1500:])

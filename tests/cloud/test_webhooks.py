"""Webhooks against a real listener: events are signed, and retried for a day.

No event is lost, and no request waits for a webhook.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
import threading

import pytest
from cloud_under_test import esp_image
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, operator_tokens, webhook_delivery, webhooks
from ioto_tools.cloud.storage import audit


def deliver(cloud):
    """Post all due events once; return their number."""

    async def here(function, *arguments):
        return function(*arguments)

    return asyncio.run(webhook_delivery.deliver_due(cloud.site, here))


def delivered_actions(listener):
    return [json.loads(body)["action"] for _, body in listener.received]


def test_events_are_signed_and_delivered_once(cloud, listener):
    made = webhooks.new(cloud.site, listener.url)
    operator_tokens.new(cloud.site, "ci", "read")
    assert deliver(cloud) == 1 and deliver(cloud) == 0
    [(headers, body)] = listener.received
    [row] = cloud.site.database.read(audit.newest, 1)
    assert json.loads(body) == row and headers["Ioto-Event"] == "token.new" and row["subject"] == "ci"
    moment, signature = (part.partition("=")[2] for part in headers["Ioto-Signature"].split(","))
    wanted = hmac.new(made["secret"].encode(), ("%s." % moment).encode() + body, hashlib.sha256).hexdigest()
    assert signature == wanted and int(moment) == cloud.now_s
    [shown] = webhooks.listed(cloud.site)
    assert (
        shown["delivered_s"] == cloud.now_s and shown["waiting"] == 0 and shown["error"] == "" and "secret" not in shown
    )


def test_a_webhook_receives_only_events_it_subscribes_to(cloud, listener):
    webhooks.new(cloud.site, listener.url, ["token.revoked", "links.rotated"])
    operator_tokens.new(cloud.site, "ci", "read")
    operator_tokens.revoke(cloud.site, "ci")
    cloud.site.links.refresh()
    cloud.site.links.rotate("boss")
    while deliver(cloud):
        pass
    assert sorted(delivered_actions(listener)) == ["links.rotated", "token.revoked"]
    other = webhooks.new(cloud.site, listener.url + "&other")
    webhooks.test(cloud.site, other["id"])
    assert deliver(cloud) == 1 and delivered_actions(listener)[-1] == "webhook.test"


@pytest.mark.parametrize("status", [300, 302, 400, 404, 410, 429, 500, 503])
def test_a_rejected_event_is_retried_with_growing_delays(cloud, listener, status):
    webhooks.new(cloud.site, listener.url)
    operator_tokens.new(cloud.site, "ci", "read")
    listener.answers = [status] * 6 + [204]
    began = last = cloud.now_s
    waits = []
    while webhooks.listed(cloud.site)[0]["waiting"]:
        if deliver(cloud):
            waits.append(cloud.now_s - last)
            last = cloud.now_s
        cloud.now_s += 5
        assert cloud.now_s < began + 3000
    assert (
        waits == [0] + [webhooks.RETRY_S * 2**n for n in range(6)] and delivered_actions(listener) == ["token.new"] * 7
    )
    assert len({body for _, body in listener.received}) == 1 and not any(
        "elsewhere" in str(headers) for headers, _ in listener.received
    )


def test_events_scheduled_by_a_clock_that_was_ahead_are_delivered_after_its_correction(cloud, listener):
    """The clock was two days ahead: one event has reached the longest retry delay, another one has not been tried."""
    webhooks.new(cloud.site, listener.url)
    cloud.now_s += 2 * 24 * 3600
    operator_tokens.new(cloud.site, "ci", "read")
    listener.answers = [500]
    while cloud.now_s < 1_800_000_000 + 2 * 24 * 3600 + 9000:
        deliver(cloud)
        cloud.now_s += 60
    operator_tokens.new(cloud.site, "more", "read")
    listener.answers = [204]
    cloud.now_s = 1_800_000_100
    assert deliver(cloud) == 2 and webhooks.listed(cloud.site)[0]["waiting"] == 0
    operator_tokens.new(cloud.site, "last", "read")
    listener.answers = [500]
    assert deliver(cloud) == 1 and deliver(cloud) == 0  # the event waits for its retry, as usual


@pytest.mark.sweep
def test_an_event_is_given_up_after_a_day_and_the_next_one_is_delivered(cloud, listener):
    hook = webhooks.new(cloud.site, listener.url)
    operator_tokens.new(cloud.site, "ci", "read")
    listener.answers = [500]
    times = 0
    while webhooks.listed(cloud.site)[0]["waiting"]:
        times += deliver(cloud)
        cloud.now_s += 60
    assert 24 <= times <= 40
    [row] = cloud.site.database.read(audit.newest, 1)
    assert (row["action"], row["subject"], row["detail"]["error"]) == ("webhook.gave_up", hook["id"], "status 500")
    listener.answers = [200]
    operator_tokens.revoke(cloud.site, "ci")
    assert deliver(cloud) == 1 and delivered_actions(listener)[-1] == "token.revoked"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/closed", "https://127.0.0.1:1/", "http://nowhere.invalid/"])
def test_an_unreachable_webhook(cloud, url):
    webhooks.new(cloud.site, url)
    operator_tokens.new(cloud.site, "ci", "read")
    assert deliver(cloud) == 1
    [shown] = webhooks.listed(cloud.site)
    assert shown["waiting"] == 1 and shown["error"] and shown["delivered_s"] is None


def test_events_of_a_killed_worker_are_delivered_after_its_lease(cloud, listener):
    webhooks.new(cloud.site, listener.url)
    operator_tokens.new(cloud.site, "ci", "read")
    taken = cloud.site.database.write(webhooks.lease_due, cloud.now_s)  # then the worker is killed
    assert len(taken) == 1 and cloud.site.database.write(webhooks.lease_due, cloud.now_s) == []
    for _ in range(webhooks.LEASE_S // 10):
        assert deliver(cloud) == 0
        cloud.now_s += 10
    assert deliver(cloud) == 1 and delivered_actions(listener) == ["token.new"]


def test_a_failed_action_creates_no_event(cloud, listener):
    webhooks.new(cloud.site, listener.url)
    for wrong in (
        lambda: operator_tokens.new(cloud.site, "a b", "read"),
        lambda: operator_tokens.revoke(cloud.site, "nobody"),
        lambda: control.revoke(cloud.site, "D9"),
    ):
        with pytest.raises(CloudError):
            wrong()
    assert deliver(cloud) == 0


def test_a_removed_webhook_receives_nothing(cloud, listener):
    hook = webhooks.new(cloud.site, listener.url)
    operator_tokens.new(cloud.site, "ci", "read")
    webhooks.remove(cloud.site, hook["id"])
    assert deliver(cloud) == 0 and webhooks.listed(cloud.site) == []
    with pytest.raises(CloudError, match="webhook list"):
        webhooks.remove(cloud.site, hook["id"])


def test_invalid_urls_and_events_are_refused(cloud):
    for url in (
        "",
        "hooks.test",
        "ftp://hooks.test/",
        "https://",
        "https://user:secret@hooks.test/",
        "https://hooks.test/a b",
        "https://hooks.test/\n",
        "https://[::1",
        "https://hooks.test:99999/",
        "https://hooks.test:abc/",
        "https://hooks.test:0/",
        "https://hooks.test/\u00e9",
        "https://k\u00fcche.test/",
    ):
        with pytest.raises(CloudError, match="expected"):
            webhooks.new(cloud.site, url)
    with pytest.raises(CloudError, match="release.published"):
        webhooks.new(cloud.site, "https://hooks.test/", ["release.burnt"])


@pytest.mark.sweep
def test_a_slow_webhook_delays_no_other(cloud, listener, monkeypatch):
    """The slow webhook answers byte by byte and is given up after WAIT_S; meanwhile, another one gets everything."""
    monkeypatch.setattr(webhook_delivery, "WAIT_S", 6)  # longer than the others need on a loaded machine
    monkeypatch.setattr(webhook_delivery, "POLL_S", 0.01)
    with slow_server() as url:
        made, quick = webhooks.new(cloud.site, url), webhooks.new(cloud.site, listener.url)
        operator_tokens.new(cloud.site, "first", "read")

        def shown(webhook):
            return next(each for each in webhooks.listed(cloud.site) if each["id"] == webhook["id"])

        async def story():
            async def here(function, *arguments):
                return function(*arguments)

            delivery = asyncio.create_task(webhook_delivery.run(cloud.site, here))
            for n in range(5):
                operator_tokens.new(cloud.site, "more%d" % n, "read")
                while len(listener.received) < n + 2:
                    await asyncio.sleep(0.01)
            slow = shown(made)
            assert slow["delivered_s"] is None and slow["error"] == ""  # its first post has not finished
            while not shown(made)["error"]:
                await asyncio.sleep(0.01)
            delivery.cancel()

        asyncio.run(asyncio.wait_for(story(), 30))
    assert "no answer within" in shown(made)["error"] and shown(made)["waiting"] > 0 and shown(quick)["waiting"] == 0


@contextlib.contextmanager
def slow_server():
    """The URL of a server that sends a byte of its response's header every 50 ms, forever."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            while not ended.is_set():
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=send_slowly, args=(client,), daemon=True).start()

        def send_slowly(client):
            with client, contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not ended.wait(0.05):
                    client.sendall(b"x")

        threading.Thread(target=answer, daemon=True).start()
        yield "http://127.0.0.1:%d/" % listening.getsockname()[1]
        ended.set()


@pytest.mark.sweep
def test_no_request_waits_for_a_webhook(serve, ioto, listener, tmp_path):
    """While the listener does not answer, check-ins are answered and releases published."""
    from processes import connected, post

    listener.hold.clear()
    ioto("product", "new", "thermo", "--id", "P7", "--data", "site")
    _, address = serve("--data", "site")
    ioto("webhook", "new", listener.url, "--data", "site")
    ioto("token", "new", "ci", "--data", "site")
    assert listener.arrived.acquire(timeout=30)
    (tmp_path / "a.bin").write_bytes(esp_image(b"a"))
    ioto("publish", "a.bin", "--product", "thermo", "--version", "2.0.0", "--data", "site")
    connection = connected(address)
    token = post(connection, "/device/register", "P7", {"id": "D1"})["token"]
    assert post(connection, "/tok/provision/update", token, {"id": "D1", "version": "1.0.0"})["version"] == "2.0.0"
    assert json.loads(ioto("webhook", "list", "--data", "site", "--json").stdout)[0]["delivered_s"] is None
    listener.hold.set()
    assert delivered_actions(listener)[0] == "token.new"

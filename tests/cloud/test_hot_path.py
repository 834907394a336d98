"""Database accesses of a check-in: none if nothing is new, and no access is repeated."""

import asyncio
import json
import random
import threading
from functools import partial

import pytest
from cloud_under_test import PRODUCT, Cloud, esp_image
from ioto_tools.cloud.devices.device_cache import CachedDevice, DeviceCache
from ioto_tools.cloud.devices.worker_cache import REFRESH_S, WorkerCache
from ioto_tools.cloud.http.errors import Unavailable
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rules.selection import Release
from ioto_tools.cloud.site.site import Site
from packed_release import store_packed
from processes import until
from starlette.concurrency import run_in_threadpool


class ThreadedCloud(Cloud):
    """A cloud with an event loop, threads and group commits, like a server; `accesses` counts the database accesses."""

    def __init__(self, folder, kind):
        super().__init__(folder, kind, threads=True)
        self.accesses, self.moment, self.tokens = 0, 0, {}
        self.app.state.run = self.counted
        database = self.site.database
        database.write_batched = partial(self.counted_batch, database.write_batched)
        database.read_batched = partial(self.counted_batch, database.read_batched)
        self.app.state.memory = WorkerCache(REFRESH_S, lambda: self.moment)

    async def counted(self, function, *arguments):
        self.accesses += 1
        return await run_in_threadpool(function, *arguments)

    async def counted_batch(self, batched, function, item):
        self.accesses += 1
        return await batched(function, item)

    def post(self, path, fields, authorization=None, address="device.test"):
        return asyncio.run(self._post(path, json.dumps(fields).encode(), authorization, address))

    async def _post(self, path, body, authorization, address):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "server": ("cloud.test", 80),
            "client": (address, 5000),
            "headers": [(b"host", b"cloud.test"), (b"authorization", authorization.encode())],
        }  # fmt: skip
        await self.app(scope, receive, send)
        return Answer(sent)

    def ask(self, id, version="1.0.0", **properties):
        """Check in a device; return (version offered or None, number of database accesses)."""
        if id not in self.tokens:
            self.tokens[id] = self.device(id)
        before = self.accesses
        reply = self.check_in(id, self.tokens[id], version, **properties)
        assert reply.status == 200
        return reply.json().get("version"), self.accesses - before


class Answer:
    def __init__(self, sent):
        self.status, self.body = sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    def json(self):
        return json.loads(self.body)


@pytest.fixture
def served(tmp_path, kind):
    made = ThreadedCloud(tmp_path, kind)
    yield made
    made.close()


def test_a_check_in_without_news_is_answered_from_memory(served):
    """The releases are for other devices, full, not started, or ended; some properties change at each check-in."""
    for number, said in enumerate(
        (
            {"policy": "region == 'moon'"},
            {"limit": "1"},
            {"start": "2037-01-01"},
            {"end": "2027-01-15T08:00:01Z"},
            {"percentage": "0"},
        )
    ):
        served.publish("2.%d.0" % number, **said)
    served.now_s += 1
    served.publish("1.0.0")
    assert served.ask("FIRST") == ("2.1.0", 5)  # catalogue, token, the token's first use, grant, link
    assert served.ask("D1")[1] > 1
    assert served.ask("D1")[1] == 1  # reads the device again: only now its token is cacheable
    for n in range(50):
        assert served.ask("D1", uptime=n, rssi=-n, extra=[n]) == (None, 0), n
    # A second later there is one refresh, which also contains the token's first use; later, there are only refreshes.
    served.moment += REFRESH_S
    assert [served.ask("D1")[1] for _ in range(5)] == [2, 0, 0, 0, 0]
    served.moment += REFRESH_S
    assert [served.ask("D1")[1] for _ in range(5)] == [1, 0, 0, 0, 0]


def test_only_a_check_in_with_a_failure_costs_a_database_access(served):
    for _ in range(3):
        served.ask("D1", failure={"log": "x"})
    health = {"free": 1, "resets": {"wdt": 1}}
    for failure, accesses in ((None, 0), ({"log": "x"}, 1), ("a property", 0), ({}, 0), ({"log": "y"}, 1)):
        assert served.ask("D1", health=health, failure=failure) == (None, accesses), failure
    assert {each["log"] for each in overview.device(served.site, "D1")["failures"]} == {"x", "y"}


def test_an_open_offer_of_a_packed_file_costs_no_more_than_another(served):
    """Each check-in reads the device's offers, and nothing else."""
    image = esp_image(b"2.0.0", 40_000)
    _, raw = store_packed(served.site, served.publish("2.0.0", image)["id"], image)
    device = {"accepts": ["packed"], "slotSize": 1 << 16}
    for properties in (device, {}):
        id = "packed" if properties else "whole"
        assert served.ask(id, **properties)[0] == served.ask(id, **properties)[0] == "2.0.0"
        assert [served.ask(id, **properties) for _ in range(3)] == [("2.0.0", 1)] * 3
    assert len(raw) < 40_000
    found = {each["id"]: each["update"]["file"] for each in overview.devices(served.site)}
    assert found == {"packed": "compressed", "whole": "whole"}


def test_deferred_writes_of_a_check_in_are_written_at_close(served):
    served.ask("D1")
    served.now_s += 60
    for n in range(5):
        served.ask("D1", "1.%d.0" % n, room="kitchen %d" % n)
    served.close()  # writes the deferred rows
    again = Site(served.site.data)
    found = overview.device(again, "D1")
    assert (found["version"], found["seen_s"], found["properties"]["room"]) == ("1.4.0", served.now_s, "kitchen 4")
    again.close()


def test_devices_of_two_products_with_one_id_are_both_cached_and_written(served):
    new_product(served.site, "gate", "GATE")
    held = {product: served.device(product=product) for product in (PRODUCT, "GATE")}

    def ask(product):
        before, fields = served.accesses, {"id": "D1", "product": product, "version": "1.0.0", "room": product}
        assert served.post("/tok/provision/update", fields, "bearer " + held[product]).body == b"{}"
        return served.accesses - before

    for product in (PRODUCT, "GATE") * 2:
        ask(product)
    assert [ask(product) for product in (PRODUCT, "GATE") * 3] == [0] * 6
    served.close()
    again = Site(served.site.data)
    rooms = {
        device["product"]: overview.device(again, "D1", device["product"])["properties"]["room"]
        for device in overview.devices(again)
    }
    assert rooms == {"thermo": PRODUCT, "gate": "GATE"}
    again.close()


def test_database_accesses_with_an_open_offer_and_after_success(served):
    served.publish("2.0.0")
    served.ask("D1")
    served.ask("D1")
    assert served.ask("D1") == ("2.0.0", 1)  # to check the offer; the link is known from the first one
    assert served.ask("D1", "2.0.0") == (None, 1)  # `confirmed` is stored
    assert [served.ask("D1", "2.0.0") for _ in range(3)] == [(None, 0)] * 3
    assert served.ask("D1") == (None, 0) and served.ask("D1") == (None, 1)  # the second check-in stores `reverted`;
    assert served.ask("D1") == (None, 0)  # then the next attempt is not due yet
    assert overview.device(served.site, "D1")["update"]["state"] == "reverted"


def test_a_slot_counts_from_its_grant_not_from_the_request(served):
    """A grant may wait for the writer. If the request's time counted, a period could have more grants than its rate."""
    served.publish("2.0.0", rate=1, period="60 secs")
    for _ in range(2):
        served.ask("D1", "9.0.0")
    entered, opened = threading.Event(), threading.Event()
    jobs = [threading.Thread(target=served.site.database.write, args=(lambda conn: (entered.set(), opened.wait(60)),))]
    jobs.append(threading.Thread(target=served.ask, args=("D1",)))
    jobs[0].start()
    assert entered.wait(60)
    jobs[1].start()
    until(lambda: served.site.database._writer._queue.qsize(), "nobody asks")
    served.now_s += 59
    opened.set()
    for job in jobs:
        job.join(60)
    served.now_s += 59
    assert served.ask("D2")[0] is None
    served.now_s += 1
    assert served.ask("D2")[0] == "2.0.0"


def test_one_refresh_reads_changes_of_devices_and_releases(served):
    served.publish("2.0.0", policy="false")
    for _ in range(3):
        served.ask("D1"), served.ask("D2")
        served.moment += REFRESH_S
    served.ask("D1")
    assert served.ask("D1") == served.ask("D2") == (None, 0)
    control.pin(served.site, "D1", "2.0.0")
    assert served.ask("D1") == (None, 0)
    served.moment += REFRESH_S
    assert served.ask("D2") == (None, 1)
    assert served.ask("D1")[0] == "2.0.0" and served.ask("D2") == (None, 0)
    control.remove(served.site, "D2")
    control.set_terms(served.site, "thermo@2.0.0", {"policy": "none"})
    served.moment += REFRESH_S
    assert served.check_in("D2", served.tokens["D2"], "1.0.0").body == b"Cannot find device"


def test_a_cache_that_is_too_old_is_read_anew(served):
    served.publish("2.0.0", policy="false")
    for _ in range(3):
        served.ask("D1")
    served.moment += 3600
    assert served.ask("D1") == (None, 2) and served.ask("D1") == (None, 0)  # reads the whole catalogue and the device


def test_an_unavailable_database_is_noticed_at_the_next_refresh(served):
    served.publish("2.0.0", policy="false")
    for _ in range(3):
        served.ask("D1")
    with served.kind.away(served.site):
        assert served.ask("D1") == (None, 0)
        stranger = served.check_in("D2", "token", "1.0.0")
        served.moment += REFRESH_S
        if served.kind.__class__.__name__ == "OnServers":  # with SQLite, a read does not wait for the writer
            assert served.check_in("D1", served.tokens["D1"], "1.0.0").status == stranger.status == 503
    assert served.ask("D1")[0] is None


def test_a_release_that_was_full_before_its_change_is_not_marked_full():
    """The database's answer may arrive after the refresh that contained the change."""
    memory = WorkerCache(0)
    for looked, full in ((5, "limit"), (6, None)):
        memory.seq = looked
        memory.mark_full("R%d" % looked, "limit", 0, None, 5)
        assert memory.slot_check(0)(Release("R%d" % looked, "1.0.0", (), "", 0, True, "active", None, {})) == full


@pytest.mark.parametrize("error", [Unavailable("away"), OSError("refused")])
def test_requests_that_wait_for_a_failing_refresh_do_not_repeat_it(error):
    """If they did, all of them would wait for an unreachable database, one after the other."""
    refreshes = []

    async def read(function, seq):
        refreshes.append(seq)
        await asyncio.sleep(0.01)
        raise error

    async def ask():
        memory = WorkerCache()
        for _ in range(2):
            said = await asyncio.gather(*(memory.refresh(read) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(each, (Unavailable, OSError)) for each in said)

    asyncio.run(ask())
    assert len(refreshes) == 2


def test_the_device_cache_keeps_the_most_recently_used():
    draw, devices, model = random.Random(1), DeviceCache(5), []
    for _ in range(3000):
        id, token = draw.randrange(12), draw.randrange(2)
        hash = "%d-%d" % (id, token)
        if draw.random() < 0.1:
            devices.forget(id)
            model = [each for each in model if each[1] != id]
        elif any(each[0] == hash for each in model):
            assert devices.get(hash).key == id
            model = [each for each in model if each[0] != hash] + [(hash, id)]
        else:
            assert devices.get(hash) is None
            devices.put(hash, CachedDevice(id, "D%d" % id, "P", False, True, True, None))
            model = ([each for each in model if each[1] != id] + [(hash, id)])[-5:]  # one token per device
        assert len(devices) == len(model) and {each[0] for each in model} == set(devices._by_hash), model

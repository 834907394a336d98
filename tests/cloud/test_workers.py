"""`ioto cloud serve --workers`: processes at one socket; kill -9 of one, of all, of the one that watches over them."""

import http.client
import json
import signal
import threading
import time
from urllib.parse import urlsplit

import psutil
import pytest
from processes import until, workers

COUNT = 3


@pytest.fixture
def served(make_site, ioto, serve, tmp_path):
    make_site.settings(tmp_path / "site")
    ioto("product", "new", "thermo", "--id", "P7", "--data", "site")
    process, address = serve("--data", "site", "--workers", str(COUNT), "--rate", "0")
    return process, urlsplit(address).netloc


class Devices(threading.Thread):
    """Registers one device after the other, each over a connection of its own; `known`: those that were told so."""

    def __init__(self, netloc, name):
        super().__init__(daemon=True)
        self.netloc = netloc
        self.name_ = name
        self.known = []
        self.cut = 0
        self.wrong = []
        self.going = True

    def run(self):
        number = 0
        while self.going:
            number += 1
            id = "%s-%d" % (self.name_, number)
            try:
                connection = http.client.HTTPConnection(self.netloc, timeout=30)
                connection.request("POST", "/device/register", json.dumps({"id": id}), {"Authorization": "bearer P7"})
                reply = connection.getresponse()
                reply.read()
                connection.close()
            except (OSError, http.client.HTTPException):
                self.cut += 1  # the worker it had reached was killed
                continue
            if reply.status == 200:
                self.known.append(id)
            else:
                self.wrong.append((id, reply.status))


def test_a_killed_worker_takes_nothing_along_and_is_replaced(served, ioto):
    process, netloc = served
    devices = [Devices(netloc, "abcd"[n]) for n in range(4)]
    for device in devices:
        device.start()
    for _ in range(2):
        before = workers(process)
        assert len(before) == COUNT
        seen = [len(device.known) for device in devices]
        victim = min(before)
        psutil.Process(victim).send_signal(signal.SIGKILL)
        until(lambda: all(len(device.known) > count + 1 for device, count in zip(devices, seen)), "the others do not go on")
        until(lambda: len(workers(process) - {victim}) == COUNT, "nobody follows")
    for device in devices:
        device.going = False
    for device in devices:
        device.join(60)
        assert device.wrong == [] and device.cut < 20
    listed = {device["id"] for device in json.loads(ioto("devices", "--data", "site", "--json").stdout)}
    assert listed >= {id for device in devices for id in device.known}
    left = [psutil.Process(pid) for pid in workers(process)]
    for each in left:  # Ctrl-C: a terminal sends it to all of them
        each.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert psutil.wait_procs(left, 30)[1] == []


def test_all_end_with_the_one_that_watches(served):
    process, _ = served
    left = [psutil.Process(pid) for pid in workers(process)]
    process.kill()
    process.wait(30)
    assert psutil.wait_procs(left, 30)[1] == []

"""`ioto cloud serve --workers`: processes that share one socket; SIGKILL and Ctrl-C for workers and their parent."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from urllib.parse import urlsplit

import psutil
import pytest
from cloud_under_test import COMMAND, ENV
from processes import until, workers

COUNT = 3


@pytest.fixture
def served(make_site, ioto, serve, tmp_path):
    make_site.settings(tmp_path / "site")
    ioto("product", "new", "thermo", "--id", "P7", "--data", "site")
    process, address = serve("--data", "site", "--workers", str(COUNT), "--requests-per-minute", "0")
    return process, urlsplit(address).netloc


class Devices(threading.Thread):
    """Registers one device after another, each over its own connection. `known`: the ids of the registered ones."""

    def __init__(self, netloc, name):
        super().__init__(daemon=True)
        self.netloc = netloc
        self.name_ = name
        self.known = []
        self.interrupted = 0
        self.wrong = []
        self.active = True

    def run(self):
        number = 0
        while self.active:
            number += 1
            id = "%s-%d" % (self.name_, number)
            try:
                connection = http.client.HTTPConnection(self.netloc, timeout=30)
                connection.request("POST", "/device/register", json.dumps({"id": id}), {"Authorization": "bearer P7"})
                reply = connection.getresponse()
                reply.read()
                connection.close()
            except (OSError, http.client.HTTPException):
                self.interrupted += 1  # its worker was killed
                continue
            if reply.status == 200:
                self.known.append(id)
            else:
                self.wrong.append((id, reply.status))


@pytest.mark.sweep
def test_killed_worker_loses_no_registration_and_is_replaced(served, ioto):
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
        until(
            lambda: all(len(device.known) > count + 1 for device, count in zip(devices, seen)),
            "the other workers do not answer",
        )
        until(lambda: len(workers(process) - {victim}) == COUNT, "the worker is not replaced")
    for device in devices:
        device.active = False
    for device in devices:
        device.join(60)
        assert device.wrong == [] and device.interrupted < 20
    listed = {device["id"] for device in json.loads(ioto("devices", "--data", "site", "--json").stdout)}
    assert listed >= {id for device in devices for id in device.known}
    left = [psutil.Process(pid) for pid in workers(process)]
    for each in left:  # Ctrl-C: a terminal sends it to all of them
        each.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert psutil.wait_procs(left, 30)[1] == []


@pytest.mark.sweep
@pytest.mark.parametrize("count", [1, 2])
def test_second_ctrl_c_ends_the_server_without_output(tmp_path, count):
    """The second Ctrl-C, which a terminal sends to all, comes while the server waits for a request that never ends."""
    with started(tmp_path, count) as process:
        netloc = urlsplit(process.stdout.readline().split()[3].rstrip(",")).netloc
        host, _, port = netloc.partition(":")
        with socket.create_connection((host, int(port)), 30) as open_request:
            open_request.sendall(
                b"POST /device/register HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\nExpect: "
                b"100-continue\r\nContent-Length: 10\r\n\r\n"
            )
            assert open_request.recv(12) == b"HTTP/1.1 100"
            os.killpg(process.pid, signal.SIGINT)
            until(lambda: not listens(process), "it still accepts connections")
            os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


@pytest.mark.sweep
def test_workers_ignore_ctrl_c_while_they_start(tmp_path):
    with started(tmp_path, 2) as process:
        until(lambda: len(workers(process)) == 2, "no workers")
        for pid in workers(process):
            os.kill(pid, signal.SIGINT)
        assert process.stdout.readline().startswith("device cloud at ")  # no worker has ended
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0 and process.stderr.read() == ""


@contextlib.contextmanager
def started(folder, count):
    """Run `ioto cloud serve` as the leader of a process group, as in a terminal."""
    command = [*COMMAND, "cloud", "serve", "--data", "site", "--port", "0", "--workers", str(count)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=ENV, start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()  # if a test has failed; its workers end with it


def listens(process):
    """Does the server, or one of its workers, accept connections?"""
    for pid in workers(process) or {process.pid}:
        try:
            if any(each.status == psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("tcp")):
                return True
        except psutil.NoSuchProcess:
            pass
    return False


@pytest.mark.sweep
def test_workers_end_with_their_parent_process(served):
    process, _ = served
    left = [psutil.Process(pid) for pid in workers(process)]
    process.kill()
    process.wait(30)
    assert psutil.wait_procs(left, 30)[1] == []

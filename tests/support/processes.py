"""Processes of a cloud: its workers, requests to them, and a child process that is killed at a given line of code."""

import http.client
import json
import os
import signal
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import ioto_tools.cloud
import psutil


def workers(process):
    """The ids of the worker processes, without the resource tracker of multiprocessing, which is also a child."""
    children = psutil.Process(process.pid).children()
    live = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return {child.pid for child in live if "spawn_main" in " ".join(child.cmdline())}


def until(true, what, within_s=60):
    give_up = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)


def post(connection, path, token, fields):
    connection.request(
        "POST", path, json.dumps(fields), {"Authorization": "bearer " + token, "Content-Type": "application/json"}
    )
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status == 200, (reply.status, body)
    return json.loads(body)


def connected(address):
    return http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)


def in_child(work, lines, kind=signal.SIGKILL):
    """Run work() in a forked process; return whether it was killed.

    The process gets the signal `kind` before its `lines`-th line of code in ioto_tools.cloud.
    """
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] != 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore SIGINT
    left = [lines]
    folder = str(Path(ioto_tools.cloud.__file__).parent)

    def trace(frame, event, arg):
        if not frame.f_code.co_filename.startswith(folder):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), kind)
        return trace

    status = 1
    try:
        sys.settrace(trace)
        work()
        status = 0
    finally:
        sys.settrace(None)
        os._exit(status)

"""Servers on loopback that may violate any protocol, and the agent's client as a MicroPython process."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent.parent / "network"
LIB = HERE.parent.parent / "lib"
MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"


class Server:
    """A TCP server: `answer(conn, request)` handles each request; if it returns True, the connection is kept."""

    def __init__(self, answer, context=None, host="127.0.0.1"):
        self.answer = answer
        self.context = context
        self.requests = []
        self.connections = []  # number of requests over each connection, in the order of closing
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.create_server((host, 0), family=self.family, backlog=50)
        self.port = self.sock.getsockname()[1]
        self.url = "%s://%s:%d" % ("https" if context else "http", "[%s]" % host if ":" in host else host, self.port)
        self.closed = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            conn.settimeout(10)
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
            with conn:
                if self.context:
                    shaken(conn)
                self._requests(conn)
        except (OSError, ValueError):
            pass  # the client closed the connection, as expected

    def _requests(self, conn):
        n = 0
        try:
            while request := read_request(conn):
                self.requests.append(request)
                n += 1
                if self.answer(conn, request) is not True:
                    break
        finally:
            self.connections.append(n)

    def pause(self, seconds):
        """Sleep until the server is closed, at most `seconds`."""
        self.closed.wait(seconds)

    def close(self):
        self.closed.set()
        self.sock.close()


def shaken(conn):
    try:
        conn.do_handshake()
    except ssl.SSLError:
        # A socket that is closed with unread data sends a reset, and the alert with the reason may be lost.
        raw = socket.socket(fileno=conn.detach())
        raw.settimeout(2)
        with raw:
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
        raise


def read_request(conn):
    """The bytes of one request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = conn.recv(4096)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += conn.recv(4096)
    return head + b"\r\n\r\n" + body


def run(cases, timeout=60):
    """The results of run_client.py for the cases, in one process."""
    done = subprocess.run(
        [MICROPYTHON, "-X", "heapsize=64m", str(HERE / "run_client.py"), str(LIB)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=dict(os.environ, TZ="UTC"),
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(cases), "after %d results of %d: %s" % (
        len(lines),
        len(cases),
        done.stdout[-2000:] + done.stderr[-3000:],
    )
    return [json.loads(line) for line in lines]


def one(url, **case):
    return run([dict(case, url=url)])[0]


def reason(result):
    """The failure in one word: the reason of an UpdateError, "os" for an OSError, None for success."""
    error = result.get("error")
    return error and (error[1] if error[0] == "UpdateError" else "os" if error[0] == "OSError" else error[0])


class Datagrams:
    """A UDP server: `answer(data)` returns a list of datagrams to send back."""

    def __init__(self, answer, host="127.0.0.1", port=0):
        self.answer = answer
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(2048)
            except OSError:
                return
            if data == b"stop":
                return
            self.asked.append(data)
            for reply in self.answer(data):
                self.send(reply, peer)

    def send(self, reply, peer):
        self.sock.sendto(reply, peer)

    def close(self):
        # close() alone does not wake a thread in recvfrom().
        host, port = self.sock.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"stop", (host, port))

"""Servers that do as they like, as real sockets on loopback, and the client under MicroPython as a process."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
LIB = HERE.parent.parent / "lib"
MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"


class Server:
    """Listens on loopback; every connection's request goes to `answer(conn, request)`, which may do what it likes. If
    it returns True, the connection is good for another request.
    """

    def __init__(self, answer, context=None, host="127.0.0.1"):
        self.answer = answer
        self.context = context
        self.requests = []
        self.connections = []  # how many requests came over each, in the order of their ends
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
            pass  # the client left, as it should

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
        """Sleep that ends with the server."""
        self.closed.wait(seconds)

    def close(self):
        self.closed.set()
        self.sock.close()


def shaken(conn):
    try:
        conn.do_handshake()
    except ssl.SSLError:
        # Closed with something unread, a socket sends a reset, and the alert that says why may be lost on its way.
        raw = socket.socket(fileno=conn.detach())
        raw.settimeout(2)
        with raw:
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
        raise


def read_request(conn):
    """The bytes of one request, its body included."""
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
    """Results of client.py for the cases, one process for all."""
    done = subprocess.run(
        [MICROPYTHON, "-X", "heapsize=64m", str(HERE / "client.py"), str(LIB)],
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
    """What went wrong in one word: the reason of an UpdateError, "os" for the world, None for success."""
    error = result.get("error")
    return error and (error[1] if error[0] == "UpdateError" else "os" if error[0] == "OSError" else error[0])


class Datagrams:
    """A UDP server: `answer(data)` returns the datagrams to send back, in their order."""

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
        # A thread in recvfrom is not woken by close alone.
        host, port = self.sock.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"stop", (host, port))

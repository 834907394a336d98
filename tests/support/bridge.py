"""A server that shares a serial port on the network: plain bytes (socket://), or RFC 2217 (rfc2217://)."""

import socket
import threading
from contextlib import contextmanager, suppress

import serial
from serial.rfc2217 import PortManager


class Line(serial.Serial):
    """A serial port without modem control lines, because a pseudo terminal has none."""

    cts = dsr = ri = cd = False
    _update_rts_state = _update_dtr_state = _update_break_state = lambda self: None


@contextmanager
def bridge(port, protocol):
    """Serve `port` to one client; yields the URL."""
    with Line(port, 115200, timeout=0.02) as line, socket.create_server(("127.0.0.1", 0)) as server:
        threads = threading.Thread(target=_serve, args=(line, server, protocol), daemon=True)
        threads.start()
        yield "%s://127.0.0.1:%d" % (protocol, server.getsockname()[1])
        threads.join(10)  # until the client has disconnected


def _serve(line, server, protocol):
    client, _ = server.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer = type("Writer", (), {"write": staticmethod(client.sendall)})
    manager = PortManager(line, writer) if protocol == "rfc2217" else None
    gone = threading.Event()

    def down():
        while not gone.is_set():
            if raw := line.read(max(1, line.in_waiting)):
                with suppress(OSError):
                    client.sendall(b"".join(manager.escape(raw)) if manager else raw)

    back = threading.Thread(target=down, daemon=True)
    back.start()
    with client, suppress(OSError):
        while raw := client.recv(1024):
            line.write(b"".join(manager.filter(raw)) if manager else raw)
    gone.set()
    back.join(10)

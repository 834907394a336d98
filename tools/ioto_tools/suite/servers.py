"""The servers for the suite: HTTPS with one valid and three invalid certificates, HTTP, and a silent name server."""

import datetime
import functools
import hashlib
import re
import socket
import ssl
import tempfile
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..cloud.site import certificates
from ..image import esp

_PIECE = bytes(range(256)) * 64
_LONG_AGO = datetime.timedelta(days=2000)


class Servers:
    """`with Servers(address, image) as host`: servers at `address`, an IP address of this machine.

    `given` is the information about the servers for the board; `authority` is the content of ca.pem.
    """

    def __init__(self, address: str, image: bytes) -> None:
        self.address, self.image = address, image

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            now = datetime.datetime.now(datetime.UTC)
            certificates.make(folder / "ours", [self.address])
            self.authority = (folder / "ours" / "ca.pem").read_bytes()
            self.given: dict[str, Any] = {
                "host": self.address,
                "checksum": hashlib.sha256(self.image).hexdigest(),
                "size": len(self.image),
            }
            self._serve(stack, "plain", None)
            self._serve(stack, "right", folder / "ours")
            for name, where, names, when in (
                ("other_name", "ours", ["other.test"], now),
                ("expired", "ours", [self.address], now - _LONG_AGO),
                ("other_authority", "theirs", [self.address], now),
            ):
                certificates.make(folder / where, names, when)
                self._serve(stack, name, folder / where)
            mute = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            mute.bind((self.address, 0))
            self.given["mute"] = mute.getsockname()[1]
            self.close = stack.pop_all().close
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, stack: ExitStack, name: str, certificate: Path | None) -> None:
        server = stack.enter_context(_Server((self.address, 0), functools.partial(_Handler, self.image)))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "server.pem", certificate / "server.key")
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        stack.callback(server.shutdown)
        self.given[name] = server.server_address[1]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: boards are expected to reject certificates."""


class _Handler(BaseHTTPRequestHandler):
    """GET /bytes/N returns N bytes, GET /image returns the image."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def __init__(self, image: bytes, *args: Any) -> None:
        self.image = image
        super().__init__(*args)

    def do_GET(self) -> None:
        found = re.fullmatch(r"/bytes/(\d{1,8})", self.path)
        if not found and self.path != "/image":
            return self.send_error(404)
        size = int(found[1]) if found else len(self.image)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.path == "/image":
            self.wfile.write(self.image)
            return None
        for at in range(0, size, len(_PIECE)):
            self.wfile.write(_PIECE[: size - at])

    def log_message(self, *args: Any) -> None:
        pass


def make_image(chip: int, blocks: int) -> bytes:
    """A valid application image for `chip`, of slightly less than `blocks` times 4 KiB. It is never started."""
    return esp.make_image(blocks * 4096 - 2048, "the on-board suite's", chip)


def own_address() -> str:
    """The IP address of this machine in its network; determined without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # a public address that is reserved for documentation
            return s.getsockname()[0]
        except OSError:
            return "127.0.0.1"

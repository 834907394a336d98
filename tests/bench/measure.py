"""Counts, not times: sizes of modules; instructions, allocations, heap and flash operations per block."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.agent_build import agent_files, agent_sources, compile_module, compiled_files
from ioto_tools.image import esp
from ioto_tools.image.pack import pack
from packed_pairs import etboard

HERE = Path(__file__).parent
MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent))


def parts(blocks):
    """(base, image) of so many blocks: the starts of two real images, made three months apart."""
    return tuple(raw[: blocks * 4096] for raw in etboard())


def file(mode, blocks):
    """What a download in this mode of onboard.py fetches."""
    if mode not in ("compressed", "delta"):
        return esp.make_image(blocks * 4096, "bench")
    base, new = parts(blocks)
    return pack(new, base if mode == "delta" else b"")


class Images(BaseHTTPRequestHandler):
    """Answers GET /MODE/N with a file of N blocks."""

    def do_GET(self):
        _, mode, blocks = self.path.split("/")
        image = file(mode, int(blocks))
        self.send_response(200)
        self.send_header("Content-Length", str(len(image)))
        self.end_headers()
        self.wfile.write(image)

    def log_message(self, *args):
        pass


class Server:
    """A server of images; its context manager returns the port. `secure`: over TLS."""

    def __init__(self, secure=False):
        self.secure = secure

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
        if self.secure:
            with tempfile.TemporaryDirectory() as folder:
                certificates.make(folder, ["127.0.0.1"])
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(folder + "/server.pem", folder + "/server.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()


def run(mode, port, blocks, before=(), heap="256k"):
    """The numbers printed by onboard.py: bytes allocated, erases, programs, reads, heap at block 4 and at block 400.

    In mode `load`, the first one is the heap used by the loaded agent. Also returns what was printed to stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        lib = Path(folder) / "ioto"
        lib.mkdir()
        for name, raw in agent_files("linux").items():
            (lib / Path(name).name).write_bytes(raw)
        if mode in ("compressed", "delta"):
            Path(folder, "slot.base").write_bytes(parts(blocks)[0])
        command = [
            *before,
            MICROPYTHON,
            "-X",
            "heapsize=" + heap,
            str(HERE / "onboard.py"),
            mode,
            str(port),
            str(blocks),
            folder + "/slot",
        ]
        if before:
            command.insert(len(before), sys.executable)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=dict(os.environ, MICROPYPATH=folder + ":.frozen")
        )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return [int(n) for n in done.stdout.split()[-6:]], done.stderr


def instructions(mode, port, few=40, many=140):
    """Instructions per 4 KiB block: the difference between two downloads, so that the start is not counted."""
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        for blocks in (few, many):
            valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=%s/%d" % (folder, blocks)]
            _, said = run(mode, port, blocks, valgrind)
            counts.append(int(re.search(r"Collected : (\d+)", said)[1]))
    return (counts[1] - counts[0]) / (many - few)


def sizes():
    """({file: bytes} on an ESP32, {module: bytes} compiled separately)."""
    shipped = {name: len(raw) for name, raw in compiled_files().items()}
    return shipped, {name: len(compile_module(text, name + ".py")) for name, text in agent_sources().items()}

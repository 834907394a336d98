"""Packed files on a board: instructions, times on the simulated clock, and what is fetched twice after a cut."""

import hashlib
import json
import shutil
import tempfile
from statistics import mean

from ioto import packed
from ioto_tools.image.pack import pack
from ioto_tools.virtual_board import flash
from ioto_tools.virtual_board.peers import ScriptedServer, http_response
from packed_pairs import etboard
from rig import Rig, secure

from .measure import Server, instructions

BLOCK_US = 86000  # erase, program and read back a block of 4 KiB on the chip
RATES = (10_000, 50_000)


class Download:
    """The download of `raw` by a board that runs `base`, at `rate` bytes a second."""

    def __init__(self, raw, base, new, rate):
        self.raw, self.new = raw, new
        peers = {("cloud.test", 443): secure(ScriptedServer(self.answer))}
        with tempfile.TemporaryDirectory() as folder:
            self.rig = Rig(folder, cloud=False, first=base, air={"peers": peers, "bytes_per_s": rate})
            run = self.rig.run(stop=lambda line: line.startswith("DEVICE:UPDATE"))
            if "DEVICE:UPDATE" not in run.console:
                raise RuntimeError(run.console[-1000:])
            self.took_s = (self.rig.board.clock.now_us - self.began_us) / 1e6

    def answer(self, method, path, headers, body):
        if path == "/image":
            self.began_us = self.rig.board.clock.now_us
            return [http_response(self.raw)]
        answers = {"register": {"api": "https://cloud.test", "token": "T", "registered": True}, "update": self.offer()}
        return [http_response(json.dumps(answers.get(path.split("/")[-1], {})).encode())]

    def offer(self):
        checksum = hashlib.sha256(self.new).hexdigest()
        found = {"url": "https://cloud.test/image", "checksum": checksum, "update": "U", "version": "1.0.1"}
        return {**found, "size": len(self.raw)}


def main():
    base, new = etboard()
    files = {"delta": pack(new, base), "compressed": pack(new)}
    for name, raw in files.items():
        twice = fetched_twice(raw)
        print(
            "Fetched twice after a cut at any byte, %s: %d at most, %.0f on average" % (name, max(twice), mean(twice))
        )
    times(base, new, files["delta"])
    if not shutil.which("valgrind"):
        print("Instructions: not counted, valgrind is not installed (apt-get install valgrind)")
        return
    with Server() as port:
        raw, *packed_ = (instructions(mode, port) for mode in ("agent", "delta", "compressed"))
    print("Instructions of each block of the image: raw %d; delta %.1f times that, compressed %.1f" % (
        raw, *(count / raw for count in packed_)))  # fmt: skip


def times(base, new, delta):
    flash._ERASE_US = BLOCK_US - flash._PROGRAM_US * 16 - flash._READ_US
    for rate in RATES:
        raw, small = (Download(file, base, new, rate).took_s for file in (new, delta))
        apart_s = len(new) / packed.BLOCK * BLOCK_US / 1e6
        apart = (len(delta) / rate + apart_s) / (len(new) / rate + apart_s)
        print("Download at %d KB/s, without computation: raw %.1f s, delta %.1f s, ratio %.2f; %.2f if nothing arrives "
              "while the flash is written" % (rate // 1000, raw, small, small / raw, apart))  # fmt: skip


def fetched_twice(raw):
    """[bytes for a cut at each byte of `raw`], of the connection or of the power.

    The device stores where a group starts when it has the sizes of the group's first block.
    """
    at, group, before = packed.HEADER_BYTES, 0, 0
    found = []
    while at < len(raw):
        starts, *sizes = packed.sizes(raw[at : at + packed.SIZES_BYTES])
        if starts and found:
            before, group = group, at
        end = at + packed.SIZES_BYTES + sum(sizes)
        found += [cut - (group if cut >= at + packed.SIZES_BYTES else before) for cut in range(at, end)]
        at, before = end, group
    return found

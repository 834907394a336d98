"""Boards: making a flash image, deploying one changed file over serial, and the agent's heap on a board."""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.device_files import create_folder, device_files
from ioto_tools.image import esp, samples
from ioto_tools.virtual_board import Board

IOTO = str(Path(sys.executable).parent / "ioto")


def ioto(*words):
    """Run a command as a user types it; return (seconds, its output)."""
    began = time.perf_counter()
    done = subprocess.run([IOTO, *map(str, words)], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


@contextmanager
def board(folder):
    """Run a virtual board with the files of a device's folder; yield its serial port."""
    flash = folder / "board.flash"
    made = Board.create(
        flash, esp.make_image(8192, "bench"), device_files(folder / "thermo"), flash_bytes=1 << 20, slot_bytes=0x10000
    )
    made.set_otadata("1/VALID -")
    made.close()
    going = subprocess.Popen(
        [IOTO, "board", "run", flash, "--serial", "--wifi", "net:secret", "--network"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield going.stdout.readline().split()[-1]
    finally:
        going.kill()
        going.communicate()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates.make(folder / "tls", ["cloud.test"])
        create_folder(
            folder / "thermo", {"builder": "https://cloud.test", "ntp.server": ""}, [folder / "tls" / "ca.pem"]
        )
        (folder / "stock.bin").write_bytes(samples.merged("generic"))
        seconds, _ = ioto("image", folder / "stock.bin", folder / "thermo", "-o", folder / "whole.flash")
        print("Flash image of a stock 4 MiB board, the whole command: %.1f s" % seconds)
        with board(folder) as port:
            with open(folder / "thermo" / "main.py", "a") as f:
                f.write("# changed\n")
            seconds, said = ioto("deploy", port, "--folder", folder / "thermo")
            assert "1 file copied" in said
            print("Deploy of one changed file over the virtual serial port, the whole command: %.1f s" % seconds)
            words = (
                "--only",
                "download",
                "--ssid",
                "net",
                "--password",
                "secret",
                "--host",
                "127.0.0.1",
                "--yes",
                "--json",
            )
            found = json.loads(ioto("board", "test", port, *words)[1])["checks"][0]["found"]
            before, idle, most = (found["heap_%s_bytes" % when] for when in ("before", "idle", "download"))
            print(
                "Heap of the agent on a virtual board: idle %d bytes, while it downloads over TLS %d"
                % (idle - before, most - before)
            )

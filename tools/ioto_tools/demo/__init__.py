"""The demonstration: a virtual board, a device cloud over TLS, real firmware and signed releases, in real time.

1. A good image: check-in, download, staged, applied, trial, confirmed, reported.
2. A delta from the image that the board runs, and a power cut during its download: the download is resumed.
3. An image that crashes at start: the bootloader rolls back; the agent makes three attempts, then gives up.
4. A forged release: refused before the first erase.
"""

import hashlib
import json
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ..cloud.app import create_app
from ..cloud.operators import overview, release_files
from ..cloud.packing import making, plan
from ..cloud.releases.publish import new_product, publish
from ..cloud.site import certificates
from ..cloud.site.site import Site
from ..cloud.storage.tables import Row
from ..deploy.agent_build import agent_files
from ..image import keys, release, samples
from ..image.corrupt_images import with_version
from ..virtual_board import Board, Cut, Run
from ..virtual_board.peers import AsgiServer, RealServer, TlsServer
from ..virtual_board.simulated_network import SimulatedNetwork

_LIMIT_S = 180  # limit for one part
_STOP_S = 20  # for the device cloud to stop, with the process that makes packed files
_CUT = 500  # the flash operation at which the power is cut, in the middle of the download
_CHECK_IN_BYTES = 16384  # a connection that receives more is a download
_REPEATED_BYTES = 40960  # maximum: 16 KiB of the packed file, a TLS record of 16 KiB in transit, and TLS itself
_HOST = "cloud.example"
_URL = "https://" + _HOST


class DemonstrationError(Exception):
    """A part of the demonstration had an unexpected result."""


class Demonstration:
    """With `real_time`, a server process runs beside the board; otherwise both run here, in simulated time."""

    def __init__(
        self,
        folder: str | Path,
        firmware: Path | None = None,
        console: Console | None = None,
        real_time: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.real_time = real_time
        self.images = {name: samples.application(name, firmware) for name in samples.SAMPLES}
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.server: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self._create_folder()
        self.site = Site(self.folder / "cloud", make=True)
        self.product = new_product(self.site, "blinker")["id"]
        self.key = keys.create(self.folder / "release.pem", b"")
        certificates.make(self.folder / "tls", [_HOST])  # the only authority that the board trusts
        self.certificate = [str(self.folder / "tls" / name) for name in ("server.pem", "server.key")]
        cloud = self._start_server() if self.real_time else self._simulate_server()
        self.network = SimulatedNetwork(
            {"time.example": "10.0.9.9"}, {(_HOST, 443): cloud}, unix_s=int(time.time()), latency_ms=20
        )
        self.board = self._create_board()
        return self

    def _create_folder(self) -> None:
        """Create an empty folder; removes an existing one only if it is from an earlier demonstration."""
        if self.folder.exists():
            if any(self.folder.iterdir()) and not (self.folder / "cloud").is_dir():
                raise DemonstrationError(
                    "%s: not the folder of an earlier demonstration, and not empty: choose another --folder"
                    % self.folder
                )
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)

    def _simulate_server(self) -> TlsServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate)
        return TlsServer(AsgiServer(create_app(self.folder / "cloud", _URL, threads=False)), context)

    def _start_server(self) -> RealServer:
        """Start the device cloud as an operator would; returns the peer that forwards to it."""
        command = [sys.executable, "-m", "ioto_tools.cli", "cloud", "serve", "--data", str(self.folder / "cloud")]
        command += ["--port", "0", "--public-url", _URL]
        command += ["--certificate", self.certificate[0], "--key", self.certificate[1]]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.server.stdout
        for line in self.server.stdout:
            if found := re.search(r"https://[^:/ ]+:(\d+)", line):
                return RealServer("127.0.0.1", int(found[1]))
        raise DemonstrationError("the device cloud did not start")

    def _create_board(self) -> Board:
        here = files("ioto_tools.demo") / "board"
        contents = dict(agent_files())
        contents["ca.pem"] = (self.folder / "tls" / "ca.pem").read_bytes()
        contents["release.pub.pem"] = keys.public_bytes(self.key.public_key())
        contents["main.py"] = (here / "main.py").read_bytes()
        settings = dict(json.loads((here / "ioto.json").read_text()), product=self.product)
        contents["ioto.json"] = json.dumps(settings).encode()
        contents["device.json"] = json.dumps({"id": "auto", "model": "virtual ESP32", "region": "roof"}).encode()
        board = Board.create(
            self.folder / "board.flash",
            self.images["generic"],
            contents,
            air=self.network,
            real_time=self.real_time,
            seed=int(time.time()),
        )
        board.set_otadata("1/VALID -")
        return board

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.server:
            self.server.terminate()
            try:
                self.server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.server.kill()  # the process that makes packed files then ends itself
                self.server.wait()
        self.site.close()
        self.board.close()

    # ---- the four parts

    def good_update(self) -> None:
        self._print_title(
            "1. A good update", "ESP32_GENERIC v1.25.0 runs; another real firmware is published as 1.26.0"
        )
        self._sign_and_publish(self.images["etboard-0608"], "1.26.0")
        self._run(stop=lambda line: line.startswith("device:confirmed: version 1.26.0"))
        self._deliver_reports()
        self._expect("1.26.0", "confirmed")
        self.console.print("   slots: %s, otadata %s" % (self._describe_slots(), self.board.describe_otadata()))

    def delta_update(self) -> None:
        self._print_title(
            "2. A delta, and a power cut", "a later build of this firmware is published as 1.27.0; the board has 1.26.0"
        )
        self._sign_and_publish(self.images["etboard-0831"], "1.27.0")
        self.console.print("   the cloud makes a delta from the image of 1.26.0")
        self._wait_for_delta("1.27.0")
        before = len(self.network.log)
        run = self._run(cut=Cut(op=_CUT, when="during"), stop=lambda line: False)
        if run.ended != "cut":
            raise DemonstrationError("the run ended with %r instead of the power cut" % run.ended)
        self.console.print("   [bold red]power cut[/] at flash operation %d; the power is back" % _CUT)
        self._run(stop=lambda line: line.startswith("device:confirmed: version 1.27.0"))
        self._deliver_reports()
        self._expect("1.27.0", "confirmed")
        fetched = sum(c.received for c in self.network.log[before:] if c.received > _CHECK_IN_BYTES)
        self._print_saving("1.27.0", fetched)

    def crashing_update(self) -> None:
        self._print_title("3. An image that crashes at start", "published as 1.28.0; three attempts, then never again")
        image = with_version(self.images["generic"], "v1.28.0")
        self.board.faults[hashlib.sha256(image).hexdigest()] = "crash"
        self._sign_and_publish(image, "1.28.0", begin_at_once=True)  # without waiting for its packed files
        self._run(stop=lambda line: sum("device:rollback" in each for each in self.lines) == 3)
        attempts = sum("attempt" in line and "1.28.0" in line for line in self.lines)
        if attempts != 3:
            raise DemonstrationError("%d attempts with the crashing image, not 3" % attempts)
        self._deliver_reports()
        self._expect("1.27.0", "failed")
        self.console.print(
            "   the bootloader rolled back %d times; otadata %s" % (attempts, self.board.describe_otadata())
        )

    def forged_update(self) -> None:
        self._print_title(
            "4. A forged release", "published as 1.28.1 by an attacker who controls the cloud, but not the release key"
        )
        thief = keys.create(self.folder / "thief.pem", b"")
        self._sign_and_publish(self.images["etboard-0608"], "1.28.1", thief, begin_at_once=True)
        before = self._flash_hash()
        self._run(stop=lambda line: line.startswith("device:update:failed: signature_invalid"))
        self._deliver_reports()
        self._expect("1.27.0", "refused")
        if self._flash_hash() != before:
            raise DemonstrationError("a slot or otadata has changed")
        self.console.print("   both slots and otadata are unchanged")

    # ---- helpers

    def _print_title(self, title: str, text: str) -> None:
        self.console.print("\n[bold]%s[/]\n   %s" % (title, text))

    def _sign_and_publish(
        self, image: bytes, version: str, key: RSAPrivateKey | None = None, begin_at_once: bool = False
    ) -> None:
        path = self.folder / ("%s.bin" % version)
        path.write_bytes(image)
        signed = path.with_suffix(".signed")
        with open(signed, "wb") as out:
            release.sign(path, out, key or self.key, self.product, version)
        publish(self.site, signed, self.product, version, begin_at_once=begin_at_once)

    def _wait_for_delta(self, version: str) -> None:
        """Wait until the packed files of the release are made, by the server process or, without one, here."""
        word = "%s@%s" % (self.product, version)
        if not self.server:
            planned = plan.apply(self.site, word)
            while making.make_next(self.site, planned["id"]):
                pass
        end_s = time.monotonic() + _LIMIT_S
        while not (files := self._packed_files(version)) or any(each["state"] == "waiting" for each in files):
            if time.monotonic() > end_s:
                raise DemonstrationError("the packed files of %s are not made in %d s" % (version, _LIMIT_S))
            time.sleep(0.1)

    def _packed_files(self, version: str) -> list[Row]:
        return release_files.of_release(self.site, "%s@%s" % (self.product, version))["files"][1:]

    def _print_saving(self, version: str, fetched: int) -> None:
        """Show what the delta saved. `fetched`: bytes that the board received in downloads, with TLS."""
        installed = [each for each in self._packed_files(version) if each["kind"] == "delta" and each["installed"]]
        if not installed:
            raise DemonstrationError("%s was not installed from a delta" % version)
        size = installed[0]["size"]
        whole = size + installed[0]["saved"]  # by one device
        self.console.print(
            f"   delta: {size:,} bytes instead of {whole:,} ({100 * size / whole:.0f} %); "
            f"{fetched:,} came over the air: {fetched - size:,} for TLS and fetched twice"
        )
        if not 0 <= fetched - size <= _REPEATED_BYTES:
            raise DemonstrationError("%d bytes came over the air for a delta of %d" % (fetched, size))

    def _run(self, stop: Callable[[str], bool], cut: Cut | None = None) -> Run:
        """Run the board until `stop(line)` is true; shows its output and a progress bar."""
        columns = (TextColumn("   {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task("download", total=None, visible=False)

            def show(line: str) -> None:
                self.lines.append(line)
                if line.startswith("progress "):
                    done, size, _ = (int(n) for n in line.split()[1:])
                    bar.update(task, completed=done, total=size, visible=done < size)
                else:
                    self.console.print("   [dim]board[/] " + escape(line))

            run = self.board.run(until_s=_LIMIT_S, cut=cut, console=show, stop=stop)
        if run.ended not in ("stopped", "cut"):
            raise DemonstrationError(
                "the board did not finish in %d s: %s\n%s" % (_LIMIT_S, run.ended, run.console[-2000:])
            )
        return run

    def _deliver_reports(self) -> None:
        """Run the board until its reports are delivered."""
        self.board.run(until_s=6, console=self.lines.append, cause=2)

    def _expect(self, version: str, state: str) -> None:
        """Show what the cloud stores about the device; raise unless it runs `version` and has reported `state`."""
        device = overview.devices(self.site)[0]
        stored = overview.device(self.site, device["id"])
        self.console.print("   [bold]stored in the cloud:[/] device %s runs %s" % (device["id"], device["version"]))
        states: dict[str, list[str]] = {}
        for report in stored["reports"]:
            reason = " (%s)" % report["reason"] if report["reason"] else ""
            states.setdefault(report["version"], []).append(report["state"] + reason)
        for each, reported in states.items():
            self.console.print("      %s: %s" % (each, ", ".join(reported)))
        if device["version"] != version or state not in [r["state"] for r in stored["reports"]]:
            raise DemonstrationError("version %s, %s is not stored in the cloud" % (version, state))

    def _flash_hash(self) -> str:
        """Hash of everything that an update may change: otadata and both slots."""
        found = hashlib.sha256()
        for label in ("otadata", "ota_0", "ota_1"):
            part = self.board.partition(label)
            found.update(self.board.flash.peek(part.address, part.size))
        return found.hexdigest()

    def _describe_slots(self) -> str:
        return ", ".join("%s %d bytes" % (label, len(self.board.read_slot(label))) for label in ("ota_0", "ota_1"))

"""The agent's time of day when certificates, NTP and the clock contradict each other; uses Mbed TLS.

libfaketime sets the clock of the process to the time in a file, which the board's set_time() writes.
"""

import json
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from issue_certificates import DAY, Certificate
from issue_certificates import HERE as NAMES
from loopback import HERE, LIB, MICROPYTHON, Server

FAKETIME = next((p for p in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
YEAR = 365 * DAY
NEVER_SET = "2000-01-01 00:00:05"
needs_faketime = pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed (apt-get install libfaketime)")


def test_not_before_agrees_with_cryptography():
    """The certificates have many years in UTCTime, and subjects of many lengths."""
    rng = random.Random(5)
    made, told = [], []
    for year in range(1950, 2050, 3):
        at = (year - 1970) * 31556952 + rng.randrange(300) * DAY + rng.randrange(DAY)
        made.append(Certificate("s" * rng.randrange(1, 60), first=at, last=at + rng.randrange(60) * YEAR, now=1e-9))
        told.append(at)
    der = [each.der() for each in made] + [b"", b"\x17\x0d", bytes(2000), b"\x17\x0d" * 400, made[0].der()[:60]]
    done = subprocess.run(
        [MICROPYTHON, HERE / "run_not_before.py", LIB],
        input="\n".join(d.hex() for d in der).replace("\n\n", "\n00\n"),
        capture_output=True,
        text=True,
    )
    assert [int(n) for n in done.stdout.split()] == told + [0] * 5, done


class Ntp:
    """An NTP server on loopback, and a copy of the agent that uses its port."""

    def __init__(self, time_s):
        self.time_s = time_s
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                asked, who = self.sock.recvfrom(100)
                stamp = struct.pack(">II", int(self.time_s()) + 2208988800, 0)
                self.sock.sendto(b"\x24\x01\x00\xec" + bytes(20) + asked[40:48] + stamp * 2, who)
        except OSError:  # closed
            pass

    def agent(self, folder):
        shutil.copytree(Path(LIB) / "ioto", folder / "lib" / "ioto")
        module = folder / "lib" / "ioto" / "clock.py"
        text = module.read_text()
        assert "port=123" in text
        module.write_text(text.replace("port=123", "port=%d" % self.sock.getsockname()[1]))
        return folder / "lib"


class World:
    """A cloud on loopback with a certificate valid from `first` to `last` (seconds from now), and a device."""

    def __init__(self, folder, first=-DAY, last=30 * DAY, date=time.time, trusted=True, ntp=None):
        """`ntp()` returns the time of an NTP server; None: no server answers."""
        self.folder, self.date = folder, date
        self.lib, self.ntp = LIB, None
        if ntp:
            self.ntp = Ntp(ntp)
            self.lib = self.ntp.agent(folder)
        ca = Certificate("ca", authority=True, first=-20 * YEAR, last=20 * YEAR)
        (ca if trusted else Certificate("other", authority=True)).save(folder, "ca")
        Certificate("cloud", ca, NAMES, first=first, last=last).save(folder, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.server = Server(self.answer, context=context)
        config = {
            "product": "P",
            "api": self.server.url,
            "token": "T",
            "tls": {"ca": "ca.pem"},
            "ntp": {"server": "127.0.0.1" if ntp else "127.0.0.77"},
            "network": {"timeout": 5},
        }
        (folder / "ioto.json").write_text(json.dumps(config))
        (folder / "device.json").write_text('{"id": "D1"}')

    def answer(self, conn, request):
        body = b"" if request.startswith(b"HEAD") else b"{}"
        date = "Date: %s\r\n" % formatdate(self.date(), usegmt=True) if self.date else ""
        conn.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\n%s" % (date.encode(), body))

    def run(self, clock, rounds=1, last=0):
        """[(time of the clock, is it known, reason for the failure, last known time)] after each round."""
        stamp = self.folder / "clock"
        stamp.write_text(clock + "\n")
        environment = dict(
            os.environ,
            TZ="UTC",
            LD_PRELOAD=str(FAKETIME),
            FAKETIME_TIMESTAMP_FILE=str(stamp),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        )
        command = [
            MICROPYTHON,
            str(HERE / "run_agent_clock.py"),
            str(self.lib),
            str(self.folder) + "/",
            str(rounds),
            str(last),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        self.server.close()
        if self.ntp:
            self.ntp.sock.close()
        assert done.returncode == 0, done.stdout + done.stderr
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    def methods(self):
        return [request.split(b" ")[0].decode() for request in self.server.requests]


def right(unix_s):
    return abs(unix_s - time.time()) < 60


@needs_faketime
@pytest.mark.parametrize("first", [-DAY, -2 * YEAR], ids=["younger-than-the-agent", "older"])
def test_a_clock_that_was_never_set(tmp_path, first):
    """Without NTP, the time comes from the cloud, whose certificate is newer or older than the agent's build."""
    world = World(tmp_path, first=first)
    ((now, known, error, last),) = world.run(NEVER_SET)
    assert right(now) and known and not error and world.methods() == ["HEAD", "POST"]
    assert not last  # only the cloud has sent a time
    assert b"uthorization" not in world.server.requests[0]


@needs_faketime
def test_a_clock_that_ntp_set_wrong_is_corrected(tmp_path):
    """The clock is far ahead or behind, so no certificate is valid: the agent doubts NTP, and asks the cloud."""
    for name, clock, why in (
        ("ahead", "2090-01-01 00:00:00", "tls_expired"),
        ("behind", "2024-06-01 00:00:00", "tls_not_yet"),
    ):
        (tmp_path / name).mkdir()
        first, then = World(tmp_path / name).run(clock, rounds=2)
        assert first[1:] == (True, why, 0), first
        assert right(then[0]) and not then[2] and not then[3], then


@needs_faketime
def test_the_last_known_time_rises_with_two_witnesses(tmp_path):
    ((now, _, error, last),) = World(tmp_path, ntp=time.time).run(NEVER_SET)
    assert right(now) and right(last) and not error


@needs_faketime
@pytest.mark.parametrize("ntp, date, kept", [
    (None, 300 * DAY, 0), (0, 300 * DAY, 0), (300 * DAY, 0, 0), (300 * DAY, 200 * DAY, 200 * DAY),
], ids=["ntp-silent", "cloud-ahead", "ntp-ahead", "both-ahead"])  # fmt: skip
def test_one_wrong_witness_does_not_raise_the_last_known_time(tmp_path, ntp, date, kept):
    """The earlier of the two times is stored; without NTP, no time is stored, although the clock is set."""
    world = World(
        tmp_path, last=2 * YEAR, date=lambda: time.time() + date, ntp=None if ntp is None else lambda: time.time() + ntp
    )
    ((now, known, error, last),) = world.run(NEVER_SET)
    assert known and not error and (last == 0 if ntp is None else abs(last - kept - time.time()) < 60), (now, last)


@needs_faketime
def test_a_wrong_last_known_time_is_corrected_by_ntp_and_cloud_together(tmp_path):
    """The last known time is 300 days ahead; at that time, the cloud's certificate, valid for 30 days, has expired."""
    ((now, known, error, last),) = World(tmp_path, ntp=time.time).run(NEVER_SET, last=int(time.time()) + 300 * DAY)
    assert right(now) and known and not error and right(last)


@needs_faketime
@pytest.mark.parametrize("ntp, date", [(-200 * DAY, 0), (0, 2 * 3600)], ids=["ntp-behind", "cloud-ahead"])
def test_witnesses_that_disagree_do_not_lower_the_last_known_time(tmp_path, ntp, date):
    kept = int(time.time()) + (0 if ntp else 3600)
    world = World(tmp_path, first=-YEAR, date=lambda: time.time() + date, ntp=lambda: time.time() + ntp)
    ((now, _, _, last),) = world.run(NEVER_SET, last=kept)
    assert last >= kept and abs(now - time.time() - date) < 60, (now, last)


@needs_faketime
@pytest.mark.parametrize(
    "first, last, why", [(-9 * DAY, -DAY, "tls_expired"), (DAY, 9 * DAY, "tls_not_yet")], ids=["expired", "not-yet"]
)
def test_a_cloud_that_contradicts_its_own_certificate(tmp_path, first, last, why):
    """The certificate is not valid at the time in Date: the check-in fails, and that time is not stored."""
    world = World(tmp_path, first=first, last=last)
    ((now, known, error, kept),) = world.run(NEVER_SET)
    assert right(now) and error == why and not kept and "POST" not in world.methods()


@needs_faketime
@pytest.mark.parametrize("changes, why", [
    ({"trusted": False}, "tls_untrusted"), ({"date": None}, "tls_not_yet"), ({"date": lambda: 1_700_000_000},
        "tls_not_yet"),
], ids=["unknown-authority", "no-date", "a-date-long-past"])  # fmt: skip
def test_the_clock_stays_unset_if_the_cloud_does_not_know_the_time(tmp_path, changes, why):
    """The clock is not set, so no window opens."""
    world = World(tmp_path, **changes)
    ((now, known, error, kept),) = world.run(NEVER_SET)
    assert not known and now < 946684900 and error == why and not kept, (now, error)
    assert "POST" not in world.methods()


@needs_faketime
def test_a_date_before_the_last_known_time_is_not_believed(tmp_path):
    """If Date is later than the last known time, the clock is set."""
    for name, date, known in (("before", time.time() - 2 * DAY, False), ("behind", time.time() - DAY // 2, True)):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, first=-30 * DAY, date=lambda date=date: date)
        ((now, is_known, _, _),) = world.run(NEVER_SET, last=int(time.time()) - DAY)
        assert is_known == known and (not known or abs(now - date) < 60), (name, now)

"""The fleet's event loop: sends the requests that are due; their answers decide what each device does next.

Open loop: a device checks in on its schedule, however long the cloud takes to answer others. The loop does not depend
on a network or a clock: an `Ask` sends a request, `clock()` returns seconds since an arbitrary fixed time.
"""

import hashlib
import heapq
import json
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from . import phases
from .devices import NONE, Devices, Offer
from .http import Done, Reply, Sink
from .images import Images, kind
from .random_draws import draw
from .settings import Settings
from .statistics import Statistics

# What a draw is for: the first number after the seed in draw().
_REPEAT = 3
_JITTER = 4
_BACKOFF = 5
_BACKOFF_MOST_S = 600
_FINAL_REFUSALS = (400, 404, 410, 413, 422)  # a report that was rejected with one of these is not sent again
_UNREGISTERED = (b"Authentication failed", b"Cannot find device")
_HEAD_BYTES = 1024


class Ask(Protocol):
    """Sends a request; done(reply) is called later.

    `more`: further header lines; `sink` receives the body of a 2xx answer.
    """

    def __call__(
        self, method: str, url: str, token: str, body: bytes, done: Done, more: str = "", sink: Sink | None = None
    ) -> None: ...


class Fleet:
    """A fleet with `settings`, whose devices send requests to the cloud at `url` with `ask`."""

    def __init__(self, settings: Settings, url: str, ask: Ask, clock: Callable[[], float]) -> None:
        self.settings, self.url, self.ask, self.clock = settings, url, ask, clock
        self.devices = Devices(settings.devices, settings.version)
        self.images = Images(settings.version, settings.image)
        self.tally = Statistics()
        self.pending = 0  # number of requests that are not answered yet
        self._due: list[int] = []  # a heap of milliseconds << 20 | device
        now_ms = int(clock() * 1000)
        for n in range(settings.devices):
            self.devices.checkin_ms[n] = now_ms + int(settings.period_s * 1000 * draw(settings.seed, n))
            self._schedule(n, self.devices.checkin_ms[n])

    # ---- the schedule

    def due_s(self) -> float | None:
        """When the next device is due, in seconds; None if no device is."""
        return (self._due[0] >> 20) / 1000 if self._due else None

    def step(self, limit: int | None = None) -> None:
        """Handle the devices that are due now, at most `limit` of them, so that answers are processed in between."""
        now_ms = int(self.clock() * 1000)
        while self._due and self._due[0] >> 20 <= now_ms and limit != 0:
            due = heapq.heappop(self._due)
            self._send_due(due & 0xFFFFF, due >> 20)
            limit = limit and limit - 1

    def _schedule(self, n: int, ms: int) -> None:
        heapq.heappush(self._due, ms << 20 | n)

    def _schedule_in(self, n: int, seconds: float) -> None:
        self._schedule(n, int((self.clock() + seconds) * 1000))

    def _wait_for_check_in(self, n: int) -> None:
        """Wait until the next check-in, or until the phase continues if that is earlier."""
        devices, settings = self.devices, self.settings
        period_ms, now_ms = int(settings.period_s * 1000), int(self.clock() * 1000)
        if devices.checkin_ms[n] <= now_ms:
            devices.checkin_ms[n] += (now_ms - devices.checkin_ms[n]) // period_ms * period_ms + period_ms
        at = devices.checkin_ms[n] + int(
            settings.jitter_s * 1000 * draw(settings.seed, _JITTER, n, devices.checkin_ms[n])
        )
        if devices.phase[n] in (phases.WAITING, phases.PROBATION):
            at = min(at, devices.resume_ms[n])
        self._schedule(n, at)

    def _retry_later(self, n: int, reply: Reply) -> None:
        """Retry after a failed request, with exponential backoff and at least the `Retry-After` of the cloud."""
        devices = self.devices
        devices.failures[n] = min(devices.failures[n] + 1, 10)
        wait_s = min(2.0 ** devices.failures[n], _BACKOFF_MOST_S) * (
            0.5 + draw(self.settings.seed, _BACKOFF, n, devices.failures[n])
        )
        hold = reply.header("retry-after")
        self._schedule_in(n, max(wait_s, int(hold) if hold.isdigit() else 0))

    # ---- requests

    def _send_due(self, n: int, due_ms: int) -> None:
        devices, phase = self.devices, self.devices.phase[n]
        if due_ms >= devices.resume_ms[n]:
            if phase == phases.WAITING and not self.settings.asks_before_apply(n):
                devices.phase[n] = phase = phases.APPLIED
            elif phase == phases.PROBATION:
                self._revert(n)
        if phase == phases.NEW:
            self._register(n, due_ms)
        elif phase in phases.REPORTS:
            self._report(n, due_ms)
        elif phase == phases.DOWNLOAD:
            self._fetch(n, due_ms)
        else:
            self._check_in(n, due_ms)

    def _post(
        self,
        n: int,
        due_ms: int,
        kind: str,
        path: str,
        token: str,
        fields: dict[str, Any],
        answered: Callable[[int, Reply], None] | None,
    ) -> None:
        """POST `fields`; then call answered(n, reply), unless `answered` is None."""

        def done(reply: Reply) -> None:
            self._count_answer(kind, due_ms, reply)
            if answered and reply.status in (401, 404) and reply.body.startswith(_UNREGISTERED):
                self._register_again(n)
            elif answered:
                answered(n, reply)

        self.pending += 1
        self.ask("POST", self.url + path, token, json.dumps(fields).encode(), done)

    def _count_answer(self, kind: str, due_ms: int, reply: Reply) -> None:
        self.pending -= 1
        self.tally.add_answer(kind, reply, self.clock() - due_ms / 1000)

    def _register(self, n: int, due_ms: int) -> None:
        product = self.settings.product
        fields = dict(self.settings.properties_of(n), id=self.settings.id(n), product=product)
        self._post(n, due_ms, "register", "/device/register", product, fields, self._registered)

    def _check_in(self, n: int, due_ms: int) -> None:
        devices, settings = self.devices, self.settings
        fields: dict[str, Any] = {
            "id": settings.id(n),
            "product": settings.product,
            "version": self._running_version(n),
            "iotoVersion": "0.1.0",
            **self.images.properties(self._running_version(n)),
        }
        fields.update(settings.properties_of(n), attempt=devices.attempt[n], uptime=due_ms // 1000)
        if settings.asks_before_apply(n):
            fields["next"] = int(settings.period_s + settings.jitter_s)
            if devices.phase[n] == phases.WAITING:
                fields["staged"] = devices.offers[devices.update[n]]["update"]
        self._post(n, due_ms, "check_in", "/tok/provision/update", devices.token[n], fields, self._checked_in)

    def _report(self, n: int, due_ms: int) -> None:
        devices, phase, update = self.devices, self.devices.phase[n], self.devices.update[n]
        if self._outcome(n) == phases.UNREPORTED:
            return self._finish_phase(n)
        fields: dict[str, Any] = {
            "id": self.settings.id(n),
            "update": devices.offers[update]["update"],
            "success": phase not in phases.FAILURES,
        }
        attempt = 0 if phase == phases.REFUSED else devices.attempt[n]
        fields.update(
            state=phases.REPORTS[phase],
            attempt=attempt,
            reason=phases.REASONS.get(phase, ""),
            version=self._running_version(n),
        )
        if phase == phases.ROLLED_BACK:
            fields["details"] = {**phases.CRASH_DETAILS, "trace": phases.CRASH_DETAILS["trace"] % n}
        ask = "report", "/tok/provision/updateReport", devices.token[n], fields
        if draw(self.settings.seed, _REPEAT, n, update, phase, attempt) < self.settings.repeats:
            self._post(n, due_ms, *ask, None)  # as if the answer had been lost
        self._post(n, due_ms, *ask, self._reported)

    def _fetch(self, n: int, due_ms: int) -> None:
        how, offer = self.settings.download, self.devices.offers[self.devices.update[n]]
        url = self.devices.urls.pop(n)
        if how == "none":
            return self._finish_phase(n)
        sha256 = hashlib.sha256()
        file = bytearray()  # only if the devices' image is known: the files of many devices need much memory

        def received(piece: bytes) -> None:
            self.tally.bytes += len(piece)
            sha256.update(piece)
            if self.settings.image:
                file.extend(piece)

        def done(reply: Reply) -> None:
            self._count_answer("download", due_ms, reply)
            if reply.status != (200 if how == "whole" else 206):
                self.devices.urls[n] = url
                return self._retry_later(n, reply)
            if how == "whole" and self.settings.image:
                self.tally.add_file(kind(bytes(file)), len(file))
                if fault := self.images.install(bytes(file), offer, self._running_version(n)):
                    self.tally.add_fault(fault)
            elif how == "whole" and sha256.hexdigest() != offer["checksum"]:
                self.tally.add_fault("an image with another SHA-256")
            self._finish_phase(n)

        self.pending += 1
        more = "" if how == "whole" else "Range: bytes=0-%d\r\n" % (_HEAD_BYTES - 1)
        self.ask("GET", url, "", b"", done, more, received)

    # ---- answers

    def _registered(self, n: int, reply: Reply) -> None:
        token = _json_object(reply).get("token")
        if not token:
            return self._retry_later(n, reply)
        self.devices.token[n], self.devices.phase[n] = token, phases.IDLE
        self._schedule_in(n, 0)

    def _checked_in(self, n: int, reply: Reply) -> None:
        devices = self.devices
        if reply.status != 200:
            return self._retry_later(n, reply)
        devices.failures[n] = 0
        if devices.phase[n] == phases.TRIAL:
            return self._finish_phase(n)
        offer = _json_object(reply)
        if offer.get("url"):
            self._offered(n, offer)
        elif devices.phase[n] == phases.WAITING and self.settings.asks_before_apply(n):
            devices.pending[n] = NONE
            self._enter(n, phases.DROPPED)
        else:
            self._wait_for_check_in(n)

    def _offered(self, n: int, offer: Offer) -> None:
        devices = self.devices
        number = devices.offer_number(offer)
        devices.offers[number]["devices"][n] = 1
        waits, retry = devices.phase[n] == phases.WAITING, offer.get("retry", 0)
        if waits and number == devices.update[n]:
            is_due = devices.resume_ms[n] <= self.clock() * 1000 + 1  # seconds are rounded
            may = self.settings.asks_before_apply(n) and is_due
            return self._enter(n, phases.APPLIED) if may else self._wait_for_check_in(n)
        if number == devices.failed[n] and retry <= devices.retry[n]:
            devices.update[n] = number
            return self._enter(n, devices.end[n]) if devices.end[n] else self._wait_for_check_in(n)
        devices.urls[n], devices.retry[n] = offer["url"], retry
        if waits:
            devices.pending[n] = number
            return self._enter(n, phases.DROPPED)
        self._accept(n, number)

    def _accept(self, n: int, number: int) -> None:
        devices = self.devices
        devices.update[n], devices.attempt[n], devices.deferrals[n] = number, 1, 0
        self._enter(n, phases.first_phase(self._outcome(n)))

    def _reported(self, n: int, reply: Reply) -> None:
        if reply.status != 200 and reply.status not in _FINAL_REFUSALS:
            return self._retry_later(n, reply)
        self.tally.add_report(phases.REPORTS[self.devices.phase[n]])
        self._finish_phase(n)

    def _finish_phase(self, n: int) -> None:
        """Finish the phase and enter the next one."""
        devices, phase, outcome = self.devices, self.devices.phase[n], self._outcome(n)
        devices.failures[n] = 0
        if phase == phases.DROPPED:
            return self._accept(n, devices.pending[n]) if devices.pending[n] != NONE else self._enter(n, phases.IDLE)
        if phase == phases.DEFERRED:
            devices.deferrals[n] += 1
        elif phase == phases.CONFIRMED:
            devices.before[n], devices.version[n] = (
                devices.version[n],
                devices.version_number(self._running_version(n)),
            )
        elif phase in (phases.FAILED, phases.REFUSED):
            devices.failed[n], devices.end[n] = devices.update[n], phase
        to, wait = phases.next_phase(phase, outcome, devices.attempt[n], devices.deferrals[n])
        if phase == phases.ROLLED_BACK and to == phases.WAITING:
            devices.attempt[n] += 1
        self._enter(n, to, self.settings.seconds(wait, n, devices.update[n]))

    def _enter(self, n: int, phase: int, seconds: float = 0.0) -> None:
        """Enter `phase`, which begins in `seconds`; in the phases of CHECKS_IN, the device keeps checking in."""
        self.devices.phase[n] = phase
        if phase in phases.CHECKS_IN:
            self.devices.resume_ms[n] = int((self.clock() + seconds) * 1000)
            self._wait_for_check_in(n)
        elif phase != phases.GONE:
            self._schedule_in(n, seconds)

    def _revert(self, n: int) -> None:
        """Run the old version again, as if it had been installed over the update, and don't accept the update again."""
        devices = self.devices
        devices.version[n], devices.failed[n], devices.phase[n] = devices.before[n], devices.update[n], phases.IDLE
        devices.end[n] = phases.NEW

    def _register_again(self, n: int) -> None:
        self.devices.phase[n] = phases.NEW
        self.devices.urls.pop(n, None)
        self._schedule_in(n, 1)

    def _outcome(self, n: int) -> str:
        return self.settings.outcome(n, zlib.crc32(self.devices.offers[self.devices.update[n]]["version"].encode()))

    def _running_version(self, n: int) -> str:
        devices = self.devices
        if devices.phase[n] in (phases.TRIAL, phases.CONFIRMED):
            return devices.offers[devices.update[n]]["version"]
        return devices.versions[devices.version[n]]


def _json_object(reply: Reply) -> dict[str, Any]:
    """The JSON object in an answer; {} if there is none."""
    try:
        found = json.loads(reply.body) if reply.status == 200 else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}

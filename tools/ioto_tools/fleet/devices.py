"""The state of all devices, in arrays: about 150 bytes per device with its token, so 15 MB for 100,000 devices."""

from array import array
from typing import Any

from . import phases

NONE = 0xFFFF  # no offer

Offer = dict[str, Any]  # a reply of the cloud to a check-in


class Devices:
    """`count` devices, none registered yet. Versions and offers are stored as indexes of `versions` and `offers`."""

    def __init__(self, count: int, version: str) -> None:
        self.phase = bytearray(count)  # phases.NEW
        self.token = [""] * count
        self.version = array("H", bytes(2 * count))  # the running version
        self.before = array("H", bytes(2 * count))  # the version before it
        self.update = array("H", bytes(2 * count))  # the current offer
        self.pending = array("H", bytes(2 * count))  # the offer to accept after DROPPED; NONE: no offer
        self.failed = array("H", [NONE]) * count  # the offer that failed and is not accepted again
        self.end = bytearray(count)  # the final phase of the failed offer; phases.NEW: not reported
        self.retry = bytearray(count)  # the `retry` of the current or the failed offer
        self.attempt = bytearray(count)
        self.deferrals = bytearray(count)
        self.failures = bytearray(count)  # consecutive failed requests
        self.checkin_ms = array("Q", bytes(8 * count))  # the next scheduled check-in, without jitter
        self.resume_ms = array("Q", bytes(8 * count))  # when the phase continues
        self.urls: dict[int, str] = {}  # device -> url, from the offer to its download
        self.versions = [version]
        self.offers: list[dict[str, Any]] = []  # {update, version, checksum, size, devices}
        self._offer_numbers: dict[str, int] = {}

    def version_number(self, version: str) -> int:
        if version not in self.versions:
            self.versions.append(version)
        return self.versions.index(version)

    def offer_number(self, offer: Offer) -> int:
        """The index in `offers` of an offer; new offers are added."""
        number = self._offer_numbers.get(offer["update"])
        if number is None:
            number = self._offer_numbers[offer["update"]] = len(self.offers)
            kept = {name: offer.get(name) for name in ("update", "version", "checksum", "size")}
            self.offers.append(dict(kept, devices=bytearray(len(self.phase))))
        return number

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """({version: number of devices}, {phase name: number of devices})."""
        by_version: dict[str, int] = {}
        by_phase: dict[str, int] = {}
        for number, phase in zip(self.version, self.phase, strict=True):
            version, name = self.versions[number], phases.PHASES[phase]
            by_version[version] = by_version.get(version, 0) + 1
            by_phase[name] = by_phase.get(name, 0) + 1
        return by_version, by_phase

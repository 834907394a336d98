"""The state of every device in arrays: some 150 bytes each with its token, so 100,000 of them in 15 MB."""

from array import array

from . import life

NONE = 0xFFFF  # no offer

class Devices:
    """`count` devices, none of them registered. `versions` and `offers` are what the numbers in the arrays stand for."""

    def __init__(self, count, version):
        self.phase = bytearray(count)  # life.NEW
        self.token = [""] * count
        self.version = array("H", bytes(2 * count))  # what runs
        self.before = array("H", bytes(2 * count))  # what ran before that
        self.update = array("H", bytes(2 * count))  # the offer in work
        self.pending = array("H", bytes(2 * count))  # the offer that comes after DROPPED
        self.failed = array("H", [NONE]) * count  # the offer that is not taken again
        self.end = bytearray(count)  # the phase in which that one ended; life.NEW: it does not say
        self.retry = bytearray(count)  # of the offer in work, or of the one that failed
        self.attempt = bytearray(count)
        self.deferrals = bytearray(count)
        self.failures = bytearray(count)  # of the cloud, in a row
        self.checkin_ms = array("Q", bytes(8 * count))  # the next place in the schedule, without jitter
        self.resume_ms = array("Q", bytes(8 * count))  # when the phase goes on
        self.urls = {}  # device -> url, from the offer to its download
        self.versions = [version]
        self.offers = []  # {update, version, checksum, size}
        self._numbers = {}

    def version_number(self, version):
        if version not in self.versions:
            self.versions.append(version)
        return self.versions.index(version)

    def offer_number(self, offer):
        """The number of an offer (a reply of the cloud) among all that were seen."""
        number = self._numbers.get(offer["update"])
        if number is None:
            number = self._numbers[offer["update"]] = len(self.offers)
            kept = {name: offer.get(name) for name in ("update", "version", "checksum", "size")}
            self.offers.append(dict(kept, devices=bytearray(len(self.phase))))
        return number

    def counts(self):
        """({version: devices that run it}, {phase name: devices})."""
        by_version, by_phase = {}, {}
        for number, phase in zip(self.version, self.phase, strict=True):
            version, name = self.versions[number], life.PHASES[phase]
            by_version[version] = by_version.get(version, 0) + 1
            by_phase[name] = by_phase.get(name, 0) + 1
        return by_version, by_phase


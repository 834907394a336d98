"""The images that the devices of a fleet run: what they tell the cloud about them, and how they check a file.

Each file is unpacked once for each version that devices run, not once for each device.
"""

from hashlib import sha256
from typing import Any

from ioto import packed
from ioto.bounds import ENVELOPE_BYTES

from ioto_tools.image.pack import PackError
from ioto_tools.image.unpack import unpack

from .devices import Offer

SLOT_BYTES = 0x1F0000
_CHIP = slice(12, 14)  # of the header of an image, little endian


class Images:
    """The images by version. `image`: of `version`, which all devices run at first; None: it is unknown."""

    def __init__(self, version: str, image: bytes | None) -> None:
        self._images = {version: image} if image else {}
        self._faults: dict[tuple[bytes, str], str] = {}  # (SHA-256 of a file, version of the device) -> install()

    def properties(self, version: str) -> dict[str, Any]:
        """What a device that runs `version` sends about its image. It accepts packed files if its image is known."""
        image = self._images.get(version)
        if image is None:
            return {"accepts": ["raw"]}
        facts = {"chip": int.from_bytes(image[_CHIP], "little"), "slotSize": SLOT_BYTES}
        return {"accepts": ["raw", "packed"], "image": sha256(image).hexdigest(), **facts}

    def install(self, file: bytes, offer: Offer, runs: str) -> str:
        """Check the file of `offer` on a device that runs the version `runs`; return its fault, or ""."""
        key = sha256(file).digest(), runs
        if key not in self._faults:
            self._faults[key] = self._check(file, offer, runs)
        return self._faults[key]

    def _check(self, file: bytes, offer: Offer, runs: str) -> str:
        envelope, image = _split(file)
        if packed.is_packed(image):
            try:
                image = unpack(image, self._images.get(runs, b""))
            except PackError as e:
                return "a packed file: %s" % e
        if sha256(envelope + image).hexdigest() != offer["checksum"]:
            return "an image with another SHA-256"
        self._images[offer["version"]] = image
        return ""


def kind(file: bytes) -> str:
    """The kind of a downloaded file: `whole`, `compressed` or `delta`."""
    _, image = _split(file)
    if not packed.is_packed(image):
        return "whole"
    return "delta" if packed.parse(image[: packed.HEADER_BYTES])[2] else "compressed"


def _split(file: bytes) -> tuple[bytes, bytes]:
    """(the envelope of a signed release, or nothing; the image or its packed form)."""
    size = ENVELOPE_BYTES if file.startswith(b"IOTO-REL") else 0
    return file[:size], file[size:]

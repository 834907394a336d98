"""Support for tests of signed releases: keys, signed files, and a rig whose cloud offers any file.

The file may be signed, forged or unsigned.
"""

import functools
import hashlib
import io
import tempfile

from cryptography.hazmat.primitives.asymmetric import rsa
from embedthis import EmbedThis
from ioto_tools.image import keys, release
from ioto_tools.virtual_board.nvs import Nvs
from ioto_tools.virtual_board.peers import AsgiServer
from rig import PRODUCT, Rig, secure


@functools.cache
def key(name):
    """The private key with this name, the same during the whole test run."""
    return rsa.generate_private_key(65537, 3072)


def pem(name):
    return keys.public_bytes(key(name).public_key())


def sealed(image, version, by="ours", product=PRODUCT, any_file=False, **more):
    """The bytes of a signed release file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(image)
        file.flush()
        out = io.BytesIO()
        release.sign(file.name, out, key(by), product, version, any_file, **more)
    return out.getvalue()


def trusting(folder, trusted=("ours",), air=None, ranges=True, **changes):
    """(rig, cloud): a board that trusts these public keys, and a cloud that does not support signatures."""
    cloud = EmbedThis(PRODUCT, ranges=ranges)
    cloud.builder, cloud.api, cloud.images = "https://builder.test/api", "https://api.test", "https://images.test"
    peers = {(host, 443): secure(AsgiServer(cloud)) for host in ("builder.test", "api.test", "images.test")}
    files = {"%s.pem" % name: pem(name) for name in trusted}
    changes["update__keys"] = list(files)
    rig = Rig(
        folder,
        cloud=False,
        air=dict(air or {}, peers=peers),
        files=files,
        builder="https://builder.test/api",
        **changes,
    )
    return rig, cloud


def erases(folder, **options):
    """Indices of the flash operations that erase the inactive slot in an uninterrupted signed download.

    `options` are those of trusting().
    """
    rig, cloud = trusting(folder, **options)
    cloud.release("1.0.1", sealed(rig.image(1), "1.0.1", by=(options.get("trusted") or ("ours",))[0]))
    trace = rig.run(until_s=7200, stop=lambda line: line.startswith("DEVICE:UPDATE")).trace
    slot = rig.board.partition("ota_1")
    return [
        n for n, op in enumerate(trace.ops) if op[0] == "erase" and slot.address <= op[1] < slot.address + slot.size
    ]


def slots(rig):
    """One hash over both slots and otadata, to check that they do not change."""
    found = hashlib.sha256()
    for label in ("otadata", "ota_0", "ota_1"):
        part = rig.board.partition(label)
        found.update(rig.board.flash.peek(part.address, part.size))
    return found.hexdigest()


def nvs_floor(rig):
    """The version floor in the board's NVS, "" if none."""
    nvs = Nvs(rig.board.flash, rig.board.partition("nvs"))
    found = [value for (space, _, name), (_, _, _, value) in nvs.items.items() if name == "floor"]
    return found[0].decode() if found else ""


def installed(rig, run, version="1.0.1"):
    assert run.slots[-1] == "ota_1" and rig.board.describe_otadata() == "1/VALID 2/VALID", run.console[-2000:]
    assert "CONFIRMED %s" % version in run.console

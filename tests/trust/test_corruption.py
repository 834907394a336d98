"""Any corruption of a signed release or its key is refused with a reason."""

import io
import json
import subprocess

import corrupt_release
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from ioto import release
from ioto_tools.image import keys
from ioto_tools.image import release as host
from loopback import LIB, MICROPYTHON


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    image = tmp_path_factory.mktemp("image") / "image.bin"
    image.write_bytes(b"image")
    private = rsa.generate_private_key(65537, 2048)
    out = io.BytesIO()
    host.sign(image, out, private, "P1", "1.2.0", any_file=True)
    return out.getvalue()[: release.ENVELOPE_BYTES], keys.public_bytes(private.public_key(), der=True)


def on_micropython(block, der, seed, count):
    done = subprocess.run(
        [MICROPYTHON, "-X", "heapsize=8m", corrupt_release.__file__, LIB, str(seed), str(count)],
        input="%s\n%s\n" % (block.hex(), der.hex()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("count, there", [(3000, 1000), pytest.param(120_000, 30_000, marks=pytest.mark.sweep)])
def test_no_corruption_is_accepted(signed, count, there):
    """All corruptions run on CPython, and some also on the unix port, where the reasons are the same."""
    assert corrupt_release.decided(signed[0], [corrupt_release.pss.public_key(signed[1])])["product"] == "P1"
    told = corrupt_release.run(*signed, count, count)
    assert {
        "signature_invalid",
        "manifest_malformed",
        "unsigned",
        "not an RSA public key (PEM or DER) of 2048 to 4096 bits with exponent 65537",
    } <= set(told), told
    assert told["signature_invalid"] > count / 5 and told["unchanged"] < count / 6, told
    assert on_micropython(*signed, count, there) == corrupt_release.run(*signed, count, there)

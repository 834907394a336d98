"""Publishers, a server and devices as concurrent processes: complete images, no version published twice."""

import hashlib
import http.client
import json
import subprocess
import sys
import threading
import urllib.request
from urllib.parse import urlsplit

import pytest
from cloud_under_test import ENV, esp_image
from processes import post

# Publishes its arguments one after the other, because starting a process for each takes longer than the work.
PUBLISHER = """
import sys
from ioto_tools.cloud.releases.publish import publish
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.site.site import Site
site = Site("site")
for pair in sys.argv[1:]:
    path, version = pair.split("@")
    try:
        publish(site, path, "thermo", version)
        print("published", version)
    except CloudError as e:
        print("refused", version, e)
"""


class Device(threading.Thread):
    """Checks in repeatedly, and downloads, runs and reports each release that it is offered."""

    def __init__(self, id, address, last):
        super().__init__(daemon=True)
        self.id = id
        self.address = urlsplit(address).netloc
        self.last = last
        self.versions = ["0.0.1"]
        self.error = None

    def run(self):
        try:
            self.live()
        except Exception as e:
            self.error = e
            raise

    def live(self):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        token = post(connection, "/device/register", "P7", {"id": self.id})["token"]
        for _ in range(3000):
            offer = post(connection, "/tok/provision/update", token, {"id": self.id, "version": self.versions[-1]})
            if offer:
                with urllib.request.urlopen(offer["url"], timeout=30) as reply:
                    image = reply.read()
                assert len(image) == offer["size"] and hashlib.sha256(image).hexdigest() == offer["checksum"]
                self.versions.append(offer["version"])
                post(
                    connection,
                    "/tok/provision/updateReport",
                    token,
                    {"id": self.id, "update": offer["update"], "success": True},
                )
            if self.versions[-1] == self.last:
                return
        raise AssertionError("never saw %s, only %s" % (self.last, self.versions))


@pytest.mark.sweep
def test_publishers_and_devices_run_concurrently(ioto, serve, make_site, tmp_path):
    make_site.settings(tmp_path / "site")
    ioto("product", "new", "thermo", "--id", "P7", "--data", "site")
    _, address = serve("--data", "site", "--requests-per-minute", "0")
    devices = [Device("D%d" % n, address, "4.4.0") for n in range(3)]
    for device in devices:
        device.start()
    # Each of four publishers has its own versions, and its own image for 1.0.0.
    publishers = []
    for number in range(4):
        pairs = []
        for minor, version in enumerate(["1.0.0"] + ["%d.%d.0" % (minor, number + 1) for minor in range(1, 5)]):
            name = "%d-%d.bin" % (number, minor)
            (tmp_path / name).write_bytes(esp_image(name.encode(), 30000))
            pairs.append("%s@%s" % (name, version))
        publishers.append(
            subprocess.Popen(
                [sys.executable, "-c", PUBLISHER, *pairs], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, text=True
            )
        )
    printed = [publisher.communicate(timeout=60)[0].splitlines() for publisher in publishers]
    assert [publisher.returncode for publisher in publishers] == [0] * 4
    firsts = sorted(lines[0].split()[0] for lines in printed)
    assert firsts == ["published", "refused", "refused", "refused"]
    assert all("never changes" in line for lines in printed for line in lines if line.startswith("refused"))
    for device in devices:
        device.join(60)
        assert device.error is None and device.versions[-1] == "4.4.0", device.error
        assert device.versions == sorted(device.versions)
    listed = json.loads(ioto("updates", "--data", "site", "--json").stdout)
    assert len(listed) == 17 and listed[0]["states"] == {"confirmed": 3}
    assert not list((tmp_path / "site" / "images").glob(".incoming*"))

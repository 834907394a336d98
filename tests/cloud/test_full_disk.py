"""A full disk under a running server: answered requests are stored, others get 503, and no file is incomplete."""

import http.client
import json
import subprocess
from urllib.parse import urlsplit

import psutil
import pytest
from cloud_under_test import esp_image
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.site.site import Site
from processes import until

FORGET = (b"Authentication failed", b"Cannot find device")
ENOUGH = 5  # after this many consecutive refusals, the free space inside existing files is used up too


class Mounted:
    """A small mounted file system."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "filler"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(
                "no disk can be mounted here (%s): the other test limits the size of files instead"
                % done.stderr.strip()
            )

    def fill(self, process):
        with open(self.file, "wb", buffering=0) as file:
            with pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))

    def free(self, process):
        self.file.unlink()

    def close(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Limited:
    """The server cannot write to any file: it gets EFBIG instead of ENOSPC. This works on every system."""

    def __init__(self, folder):
        self.folder = folder

    def fill(self, process):
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))

    def free(self, process):
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))

    def close(self):
        pass


@pytest.fixture(params=(Mounted, Limited))
def disk(request, tmp_path):
    (tmp_path / "disk").mkdir()
    made = request.param(tmp_path / "disk")
    yield made
    made.close()


class Cloud:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)

    def post(self, path, token, fields):
        """The body of the answer; None if the cloud asks to retry."""
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        self.connection.request(
            "POST", path, body, {"Authorization": "bearer " + token, "Content-Type": "application/json"}
        )
        reply = self.connection.getresponse()
        said = reply.read()
        assert reply.status in (200, 201, 503) and said not in FORGET, (path, reply.status, said)
        assert reply.status < 300 or reply.headers["Retry-After"] == "30"
        return json.loads(said) if reply.status < 300 else None

    def check_in(self, id, token, version="1.0.0"):
        return self.post("/tok/provision/update", token, {"id": id, "version": version})

    def report(self, id, token, update, state):
        return self.post(
            "/tok/provision/updateReport", token, {"id": id, "update": update, "success": True, "state": state}
        )

    def register(self, id):
        return self.post("/device/register", "P7", {"id": id})


def until_full(ask):
    """The numbers n for which ask(n) was answered before the disk was full."""
    taken, refused, n = [], 0, 0
    while refused < ENOUGH:
        n += 1
        if ask(n) is None:
            refused += 1
        else:
            taken.append(n)
            refused = 0
        assert n < 1000
    return taken


def test_a_full_disk(disk, ioto, serve, tmp_path):
    folder = disk.folder / "site"
    ioto("product", "new", "thermo", "--id", "P7", "--data", folder)
    (disk.folder / "a.bin").write_bytes(esp_image(b"a"))
    ioto("publish", disk.folder / "a.bin", "--product", "thermo", "--version", "2.0.0", "--data", folder)
    (tmp_path / "b.bin").write_bytes(esp_image(b"b", 200_000))
    operator = json.loads(ioto("token", "new", "ci", "--scope", "publish", "--data", folder, "--json").stdout)["token"]
    process, address = serve("--data", str(folder), "--requests-per-minute", "0")
    cloud = Cloud(address)
    tokens = {id: cloud.register(id)["token"] for id in ("OFFERED", "NEW", "QUIET")}
    update = cloud.check_in("OFFERED", tokens["OFFERED"])["update"]
    assert [cloud.check_in("QUIET", tokens["QUIET"], "9.0.0") for _ in range(3)] == [{}] * 3

    disk.fill(process)
    states = ("downloading", "staged", "deferred", "applied")
    registered = until_full(lambda n: cloud.register("R%d" % n))
    assert cloud.check_in("NEW", tokens["NEW"]) is None
    reported = [state for state in states if cloud.report("OFFERED", tokens["OFFERED"], update, state) is not None]
    assert cloud.check_in("QUIET", tokens["QUIET"], "9.0.1") == {}  # from memory; written when there is space
    published = cloud.post("/api/v1/products/thermo/releases?version=3.0.0", operator, esp_image(b"b", 200_000))
    assert reported == [] and published is None
    if isinstance(disk, Mounted):  # the disk is full for the command line too
        done = ioto(
            "publish", tmp_path / "b.bin", "--product", "thermo", "--version", "3.0.0", "--data", folder, ok=False
        )
        assert done.returncode == 1 and str(folder) in done.stderr and "is the disk full?" in done.stderr, done.stderr

    disk.free(process)
    until(lambda: cloud.check_in("NEW", tokens["NEW"]), "the cloud does not recover")
    assert all(cloud.report("OFFERED", tokens["OFFERED"], update, state) == {} for state in states)
    assert cloud.register("AFTER")["registered"]
    assert (
        cloud.post("/api/v1/products/thermo/releases?version=3.0.0", operator, esp_image(b"b", 200_000))["version"]
        == "3.0.0"
    )
    site = Site(folder)
    until(lambda: overview.device(site, "QUIET")["version"] == "9.0.1", "the check-in is not written")
    assert {each["id"] for each in overview.devices(site)} == {*tokens, "AFTER", *("R%d" % n for n in registered)}
    assert [each["state"] for each in overview.device(site, "OFFERED")["reports"]] == list(states)
    assert [each["version"] for each in overview.updates(site)] == ["3.0.0", "2.0.0"] and process.poll() is None
    kept = {path.name for path in (folder / "images").rglob("*") if path.is_file()}
    assert kept == {each["checksum"] for each in overview.updates(site)}
    site.close()

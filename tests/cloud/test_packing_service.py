"""`ioto cloud serve` makes packed files in a process of its own: SIGKILL, Ctrl-C, a publication by another process."""

import hashlib
import json
import os
import random
import signal

import psutil
import pytest
import sqlalchemy as sa
from ioto_tools.cloud.releases import packed
from ioto_tools.cloud.site.site import Site
from ioto_tools.cloud.storage.tables import packed_files, packers
from ioto_tools.image.unpack import unpack
from packed_release import NEW, OLD, OURS
from processes import connected, post, until, workers

pytestmark = pytest.mark.sweep


@pytest.fixture
def served(make_site, ioto, serve, tmp_path):
    """(process, address, site) of a server, with the product P7 and a release with OLD."""
    make_site.settings(tmp_path / "site")
    ioto("product", "new", "thermo", "--id", "P7", "--data", "site")
    (tmp_path / "old.bin").write_bytes(OLD)
    ioto("publish", "old.bin", "--product", "thermo", "--version", "1.0.0", "--data", "site")
    process, address = serve("--data", "site", packing=True)
    site = Site(tmp_path / "site")
    yield process, address, site
    site.close()


def publish(ioto, tmp_path, image, version="1.1.0", *options):
    (tmp_path / "new.bin").write_bytes(image)
    options = "--data", "site", "--product", "thermo", "--version", version, "--json", *options
    return json.loads(ioto("publish", "new.bin", *options).stdout)


def states(site):
    """The states of the packed files of 1.1.0, in the order of their bases."""
    return site.database.read(_states)


def _states(conn):
    rows = conn.execute(sa.text("SELECT p.state FROM packed_files p JOIN releases r ON r.id = p.release "
                                "WHERE r.version = '1.1.0' ORDER BY p.base"))  # fmt: skip
    return [row[0] for row in rows]


def is_running(site):
    return site.database.read(lambda conn: conn.execute(sa.select(packers)).first()) is not None


def check_in(address, token, **more):
    return post(connected(address), "/tok/provision/update", token, {**OURS, "id": "D1", "version": "1.0.0", **more})


def test_a_publication_by_another_process(served, ioto, tmp_path):
    process, address, site = served
    token = post(connected(address), "/device/register", "P7", {"id": "D1"})["token"]
    check_in(address, token)
    until(lambda: is_running(site), "the server makes no packed files")
    assert publish(ioto, tmp_path, NEW)["status"] == "packing"
    until(lambda: states(site) == ["made", "made"], "the files are not made")
    until(lambda: check_in(address, token).get("size", len(NEW)) < len(NEW), "no packed file is offered")
    found = site.database.read(lambda conn: conn.execute(sa.select(packed_files)).mappings().all())
    delta = next(row for row in found if row["base"])
    with site.images.open(delta["checksum"]) as file:
        assert unpack(file.read(1 << 20), OLD) == NEW and delta["base"] == hashlib.sha256(OLD).hexdigest()
    until(lambda: not workers(process), "the process has not ended")
    shown = json.loads(ioto("updates", "show", "thermo@1.1.0", "--json", "--data", "site").stdout)
    assert shown["status"] == "active"
    assert ioto("updates", "pack", "thermo@1.1.0", "--data", "site").stdout == "no packed file is missing\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0 and not is_running(site)


def test_a_killed_process_and_ctrl_c(served, ioto, tmp_path):
    """The process is killed while it packs; another makes the file. Ctrl-C leaves no process, and frees the file."""
    process, address, site = served
    token = post(connected(address), "/device/register", "P7", {"id": "D1"})["token"]
    check_in(address, token, image=None)  # it accepts no delta
    until(lambda: site.database.read(packed.is_accepted, "P7"), "the check-in is not stored")
    big = OLD + random.Random(1).randbytes(1 << 20) + b"x" * (7 << 20)
    publish(ioto, tmp_path, big, "1.1.0", "--any-file")
    until(lambda: workers(process) and _leased(site), "no process packs")
    (child,) = workers(process)
    assert psutil.Process(child).nice() == 10
    os.kill(child, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(child), "the process is there")
    assert states(site) == ["waiting"]
    site.database.write(lambda conn: conn.execute(packed_files.update().values(lease_s=site.now_s())))
    until(lambda: workers(process) and _leased(site), "no other process packs", 90)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not psutil.wait_procs(children, 10)[1]
    assert states(site) == ["waiting"] and not _leased(site) and not is_running(site)


def _leased(site):
    now_s = site.now_s()
    found = sa.select(packed_files.c.base).where(packed_files.c.lease_s > now_s, packed_files.c.state == "waiting")
    return site.database.read(lambda conn: conn.execute(found).first()) is not None


def test_a_server_that_makes_no_packed_files(make_site, ioto, serve, tmp_path):
    make_site.settings(tmp_path / "site")
    ioto("product", "new", "thermo", "--id", "P7", "--data", "site")
    process, address = serve("--data", "site")
    token = post(connected(address), "/device/register", "P7", {"id": "D1"})["token"]
    check_in(address, token)
    assert publish(ioto, tmp_path, NEW)["status"] == "active"
    assert "compressed: " in ioto("updates", "pack", "thermo@1.1.0", "--data", "site").stdout
    until(lambda: check_in(address, token).get("size", len(NEW)) < len(NEW), "no packed file is offered")

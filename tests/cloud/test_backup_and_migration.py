"""Migration, backup and restore of both kinds of site: the copy is identical, even after a killed command."""

import itertools
import json
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import sqlalchemy as sa
from cloud_under_test import ENV, esp_image
from filled_tables import fill, rows
from ioto_tools.cloud.devices import tokens
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site import attention, backup, copy_mark, copying
from ioto_tools.cloud.site.site import Site
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.storage.tables import metadata, products, releases
from site_kinds import InFolder, OnServers

WAYS = tuple(itertools.product(("folder", "servers"), repeat=2))


@pytest.fixture(
    params=[pytest.param(way, marks=() if way[0] != way[1] else pytest.mark.sweep) for way in WAYS], ids=" to ".join
)
def way(request, tmp_path):
    """(folder of a filled site, folder of a new site), for each pair of kinds."""
    servers = OnServers(request.getfixturevalue("postgresql"), request.getfixturevalue("s3"))
    kinds = {"folder": InFolder(), "servers": servers}
    folders = []
    for name, kind in zip(("old", "new"), request.param):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        if text := kinds[kind].settings():
            (folders[-1] / "site.toml").write_text(text)
    make_filled_site(folders[0], tmp_path)
    return folders


@pytest.fixture
def old(tmp_path):
    (tmp_path / "old").mkdir()
    make_filled_site(tmp_path / "old", tmp_path)
    return tmp_path / "old"


def make_filled_site(folder, tmp_path):
    """Make a site with rows in every table, and three images."""
    site = Site(folder, make=True)
    site.database.write(fill)
    site.database.write(copying._set_sequences)
    new_product(site, "thermo", "P7")
    for version in ("1.0.0", "1.1.0", "1.1.1"):
        (tmp_path / "image.bin").write_bytes(esp_image(version.encode(), 100_000))
        made = publish(site, tmp_path / "image.bin", "thermo", version)[0]
    real = {"checksum": made["checksum"], "size": made["size"]}
    site.database.write(lambda conn: conn.execute(releases.update().where(releases.c.product != "P7").values(real)))
    site.close()


def quiet(what, done, total):
    pass


def everything(folder, copied=False):
    """All rows, and the images of all releases."""
    site = Site(folder, copied=copied)
    images = {}
    for release in site.database.read(rows)["releases"]:
        with site.images.open(release["checksum"]) as file:
            images[release["checksum"]] = file.read(1 << 20)
    found = site.database.read(rows), images
    site.close()
    return found


def without_its_restore(found):
    """Remove the rows that the restore itself added from `found`, the result of everything() for a restored site."""
    tables, images = found
    restored = tables["audit"].pop()
    assert restored["action"] == "site.restored"
    backup_s = json.loads(restored["detail"])["backup_s"]
    for name in (tokens.RESTORED_BACKUP, attention.BACKED_UP):
        tables["counters"].remove({"name": name, "value": backup_s})
    return tables, images


@pytest.mark.sweep
def test_a_moved_site_is_equal_and_can_be_used(way, tmp_path):
    before, images = everything(way[0])
    assert all(before.values()) and len(images) == 3
    copied = backup.migrate(way[0], way[1], quiet)
    assert everything(way[1]) == everything(way[0]) == (before, images)
    assert {name: table["rows"] for name, table in copied["tables"].items()} == {
        name: len(found) for name, found in before.items()
    }
    assert (copied["images"], copied["bytes"]) == (3, 3 * 100_000)
    with pytest.raises(CloudError, match="already contains a site"):
        backup.migrate(way[0], way[1], quiet)
    site = Site(way[1])
    new_product(site, "another", "P8")  # new ids follow the copied ones
    ids = [row["id"] for row in site.database.read(rows)["audit"]]
    assert len(set(ids)) == len(before["audit"]) + 1 and max(ids) > max(row["id"] for row in before["audit"])
    site.close()


KILLED = """
import os, signal, sys
from ioto_tools.cloud.site import backup
command, old, new, left = sys.argv[1:]
left = int(left)
def progress(what, done, total):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
getattr(backup, command)(old, new, progress)
"""


def killed(command, old, new, call):
    """Run the command, and kill its process at the `call`-th call of progress(); return whether it was killed."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, command, old, new, str(call)],
        env=ENV,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.sweep
def test_a_move_killed_at_any_step_can_be_resumed(way):
    wanted = everything(way[0])
    calls = itertools.count(1, 7)
    while killed("migrate", *way, next(calls)):
        with pytest.raises(CloudError, match="is an incomplete copy of .*: run"):
            Site(way[1])
    assert next(calls) > len(metadata.sorted_tables)
    assert everything(way[1]) == wanted
    assert not (way[1] / copy_mark.FILE).exists()


@pytest.mark.sweep
def test_a_move_killed_at_many_lines_can_be_resumed(old, tmp_path):
    """The process is killed at many lines of its code, not only in progress()."""
    from processes import in_child

    def move():
        with suppress(CloudError):  # it has already finished: "contains a site"
            backup.migrate(old, tmp_path / "new", quiet)

    wanted = everything(old)
    for lines in itertools.count(1, 41):
        if not in_child(move, lines):
            break
    assert lines > 2000 and everything(tmp_path / "new") == wanted


@pytest.mark.sweep
def test_a_resumed_move_copies_later_changes(old, tmp_path):
    assert killed("migrate", old, tmp_path / "new", len(metadata.sorted_tables))
    site = Site(old)
    with_children = {key.column.table for table in metadata.sorted_tables for key in table.foreign_keys}
    leaves = [table for table in metadata.sorted_tables if table not in with_children]

    def change(conn):
        for table in leaves:  # delete one row of each table
            key = list(table.primary_key)[0]
            conn.execute(table.delete().where(key == conn.execute(sa.select(key)).scalar()))
        conn.execute(products.update().values(created_s=77))

    site.database.write(change)
    site.close()
    backup.migrate(old, tmp_path / "new", quiet)
    assert everything(tmp_path / "new") == everything(old)
    assert len(leaves) > 5


@pytest.mark.sweep
def test_a_source_that_changes_is_an_error_and_the_command_can_be_repeated(old, tmp_path):
    site = Site(old)
    names = itertools.count()

    def busy(what, done, total):
        new_product(site, "more%d" % next(names))

    with pytest.raises(CloudError, match="stop its servers"):
        backup.migrate(old, tmp_path / "new", busy)
    site.close()
    backup.migrate(old, tmp_path / "new", quiet)
    assert everything(tmp_path / "new") == everything(old)


@pytest.mark.sweep
def test_a_copy_that_differs_is_an_error(old, tmp_path):
    def meddle(what, done, total):
        if what == metadata.sorted_tables[-1].name:
            target = Site(tmp_path / "new", copied=True)
            target.database.write(lambda conn: conn.execute(products.update().values(created_s=77)))
            target.close()

    with pytest.raises(CloudError, match="products differ from their source"):
        backup.migrate(old, tmp_path / "new", meddle)
    backup.migrate(old, tmp_path / "new", quiet)
    assert everything(tmp_path / "new") == everything(old)


def test_a_lost_or_damaged_image_is_an_error_and_can_be_published_again(old, tmp_path):
    site = Site(old)
    first, second, _ = everything(old)[1]
    site.images.path(first).unlink()
    site.images.path(second).write_bytes(b"x" * site.images.path(second).stat().st_size)
    with pytest.raises(CloudError, match="lost or damaged") as raised:
        backup.migrate(old, tmp_path / "new", quiet)
    assert first in str(raised.value) and second in str(raised.value)
    for version in ("1.0.0", "1.1.0", "1.1.1"):
        (tmp_path / "image.bin").write_bytes(esp_image(version.encode(), 100_000))
        publish(site, tmp_path / "image.bin", "thermo", version)
    site.close()
    backup.migrate(old, tmp_path / "new", quiet)
    assert everything(tmp_path / "new") == everything(old)


@pytest.mark.sweep
def test_a_backup_is_a_snapshot_and_can_be_restored(way, tmp_path):
    """Products are created during the backup, each with its audit row."""
    site = Site(way[0], threads=True)
    finished = threading.Event()

    def busy():
        for number in itertools.count():
            if finished.is_set():
                return
            new_product(site, "more%d" % number)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        backup.backup(way[0], tmp_path / "backup", quiet)
    finally:
        finished.set()
        thread.join(60)
        site.close()
    kept = everything(tmp_path / "backup", copied=True)
    made = sum(row["name"].startswith("more") for row in kept[0]["products"])
    assert made == sum(row["action"] == "product.new" for row in kept[0]["audit"]) - 1
    with pytest.raises(CloudError, match="ioto cloud restore"):
        Site(tmp_path / "backup")
    with pytest.raises(CloudError, match="already"):
        backup.backup(way[0], tmp_path / "backup", quiet)
    backup.restore(tmp_path / "backup", way[1], quiet)
    assert without_its_restore(everything(way[1])) == kept == everything(tmp_path / "backup", copied=True)


@pytest.mark.sweep
def test_an_existing_site_or_folder_is_never_overwritten(old, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_filled_site(other, tmp_path)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "thesis.tex").write_text("")
    before = everything(other)
    for to, word in (
        (other, "already contains a site"),
        (tmp_path / "strange", "other files"),
        (old, "already contains a site"),
    ):
        for command in (backup.migrate, backup.backup):
            with pytest.raises(CloudError, match=word):
                command(old, to, quiet)
    with pytest.raises(CloudError, match="is not a complete backup"):
        backup.restore(old, tmp_path / "new", quiet)
    with pytest.raises(ZeroDivisionError):
        backup.backup(old, tmp_path / "half", lambda what, done, total: 1 / 0)
    for command in (
        lambda: backup.restore(tmp_path / "half", tmp_path / "new", quiet),
        lambda: backup.migrate(other, tmp_path / "half", quiet),
    ):
        with pytest.raises(CloudError, match="half"):
            command()
    assert everything(other) == before and not (tmp_path / "new").exists()


def test_a_second_move_to_the_same_folder_is_refused(old, tmp_path):
    refused = []

    def second(what, done, total):
        if not refused:
            with pytest.raises(CloudError, match="another command"):
                backup.migrate(old, tmp_path / "new", quiet)
            refused.append(what)

    backup.migrate(old, tmp_path / "new", second)
    assert refused and everything(tmp_path / "new") == everything(old)


@pytest.mark.sweep
def test_the_backup_restore_and_migrate_commands(old, ioto, tmp_path):
    Site(old).database.write(lambda conn: [conn.execute(table.delete()) for table in reversed(metadata.sorted_tables)])
    site = Site(old)
    new_product(site, "thermo")
    (tmp_path / "image.bin").write_bytes(esp_image(b"a"))
    publish(site, tmp_path / "image.bin", "thermo", "1.0.0")
    wanted = overview.updates(site), site.database.read(audit.newest)
    site.close()
    assert "backed up to kept" in ioto("cloud", "backup", "kept", "--data", "old").stdout
    assert "restored to again" in ioto("cloud", "restore", "kept", "--data", "again").stdout
    moved = json.loads(ioto("cloud", "migrate", "--data", "again", "--to", "new", "--json").stdout)
    assert moved["images"] == 1 and moved["tables"]["releases"]["rows"] == 1
    again = Site(tmp_path / "new")
    restored, *before = again.database.read(audit.newest)
    assert restored["action"] == "site.restored" and (overview.updates(again), before) == wanted
    again.close()
    assert "already contains a site" in ioto("cloud", "migrate", "--data", "old", "--to", "new", ok=False).stderr

"""Publishing: a refused file leaves nothing behind, and after kill -9 at any line the site is intact."""

import hashlib
import itertools
import os
import shutil
import signal
from urllib.parse import parse_qs

import pytest
from cloud_under_test import Cloud, call, esp_image
from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.images.folder_store import CHUNK_BYTES
from ioto_tools.cloud.operators import operator_tokens, overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site.site import Site
from ioto_tools.image import esp, samples
from processes import in_child


def corrupt_images():
    """Yield corrupt images as (description, bytes, a word of the error)."""
    good = esp_image(b"good", 5000)
    yield "empty", b"", "empty"
    yield "text", b"print('hello')\n" * 100, "image_magic"
    yield "short", good[:200], "image_malformed"
    yield "merged, ESP32", b"\xff" * 0x1000 + good, "image_merged"
    yield "merged, ESP32-S3", good[:24] + b"\x00\x10\x08\x40" + good[28:32] + bytes(4) + good[36:], "image_m"
    yield "no description", good[:32] + bytes(4) + good[36:], "image_malformed"
    yield "padded", good + b"\xff" * 16, "image_malformed"
    yield "one byte more", good + b"\0", "image_malformed"
    for cut in (1, 16, 32, 33, 1000):
        yield "cut by %d" % cut, good[:-cut], "image_malformed"
    for at in (40, 300, 4000, len(good) - 40, len(good) - 1):
        yield "a bit of byte %d" % at, good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :], "SHA-256"


@pytest.mark.parametrize("what, image, word", list(corrupt_images()), ids=[what for what, _, _ in corrupt_images()])
def test_corrupt_images_are_refused_and_leave_nothing(cloud, what, image, word):
    with pytest.raises(CloudError) as refused:
        cloud.publish("1.0.0", image)
    assert word in str(refused.value) and "image.bin" in str(refused.value)
    assert cloud.kind.images(cloud.site) == [] and overview.updates(cloud.site) == []


@pytest.mark.sweep
@pytest.mark.parametrize("name", samples.SAMPLES)
def test_the_application_of_a_whole_firmware_file_is_published(cloud, ioto, name):
    """Real firmware files are published by the function, the API and the command line, signed and unsigned."""
    whole, alone = samples.merged(name), samples.application(name)
    made = cloud.publish("1.0.0", whole)
    assert (made["size"], made["checksum"]) == (len(alone), hashlib.sha256(alone).hexdigest())
    assert call(cloud.app, "GET", cloud.link(made["id"])).body == alone
    if name != "generic":
        return
    (cloud.folder / "whole.bin").write_bytes(whole)
    ioto("product", "new", "thermo", "--id", "P", "--data", "other")
    ioto("keys", "new", "k.pem", "--no-passphrase")
    done = ioto("publish", "whole.bin", "--product", "thermo", "--version", "1.0.0", "--data", "other")
    assert (
        "using its application, %d bytes from offset 0xF000" % len(alone) in done.stderr
        and made["checksum"] in done.stdout
    )
    ioto("publish", "whole.bin", "--product", "thermo", "--version", "1.0.1", "--key", "k.pem", "--data", "other")
    ioto("sign", "whole.bin", "--product", "P", "--version", "1.0.2", "--key", "k.pem")
    ioto("publish", "whole.bin.signed", "--data", "other")
    for options in (
        ["--version", "2"],
        ["--version", "2.0.0", "--allow-downgrade"],
    ):  # the error names this file, not a temporary one
        assert (
            "Error: whole.bin: "
            in ioto("sign", "whole.bin", "--product", "P", "--key", "k.pem", *options, ok=False).stderr
        )
    assert (cloud.folder / "whole.bin.signed").read_bytes()[4096:] == alone


@pytest.mark.sweep
def test_a_damaged_whole_firmware_file_is_refused_as_damaged(cloud, ioto):
    """The error does not say that the kind of file is unknown, whether it is published, signed or sent to the API."""
    whole = samples.merged("generic")
    token = operator_tokens.new(cloud.site, "ci", "publish")["token"]
    ioto("keys", "new", "k.pem", "--no-passphrase")
    for what, damaged in (
        ("cut", whole[:-5000]),
        ("bit", whole[:0x30000] + bytes([whole[0x30000] ^ 1]) + whole[0x30001:]),
        ("short", whole[:0x8000]),
    ):
        said = (
            "image.bin: the partition table has factory at 0x10000, but there is no application: is the file cut short?"
            ": build or download it again"
        )
        if what != "short":
            said = "image.bin: the application at 0x10000 is damaged or cut short: .*: build or download it again"
        with pytest.raises(CloudError, match=said.replace("short?", "short[?]")):
            cloud.publish("1.0.0", damaged)
        for command in (("publish", "--data", "site"), ("sign", "--key", "k.pem")):
            done = ioto(command[0], "image.bin", "--product", "thermo", "--version", "1.0.0", *command[1:], ok=False)
            assert "Error: image.bin: the" in done.stderr and "build or download it again" in done.stderr
        path = "/api/v1/products/thermo/releases?version=1.0.0"
        reply = call(cloud.app, "POST", path, {"Authorization": "Bearer " + token}, damaged)
        assert reply.status == 400 and "build or download it again" in reply.json()["error"]
    assert overview.updates(cloud.site) == []


def test_remedies_in_error_messages_work(cloud):
    """Each remedy is applied as the message says; then the file is accepted."""
    named = esp.make_image(2000, "x", version="2.5.0")
    with pytest.raises(CloudError, match="build it with this version, or publish it as the version that it contains"):
        cloud.publish("1.0.0", named)
    assert cloud.publish("2.5.0", named)
    path = cloud.folder / "linux.tar"
    path.write_bytes(b"not an image" * 100)
    with pytest.raises(CloudError, match="for a file for Linux devices, use --any-file"):
        publish(cloud.site, path, "thermo", "3.0.0")
    assert publish(cloud.site, path, "thermo", "3.0.0", any_file=True)
    merged = b"\xff" * 0x1000 + esp_image(b"x")
    with pytest.raises(CloudError, match="a complete firmware .bin as downloaded from MicroPython"):
        cloud.publish("4.0.0", merged)
    assert cloud.publish("4.0.0", samples.merged("generic"))


def test_any_file_accepts_other_files_than_applications(cloud):
    path = cloud.folder / "root.tar"
    path.write_bytes(b"linux" * 1000)
    made, new = publish(cloud.site, path, "thermo", "1.0.0", any_file=True)
    assert new and call(cloud.app, "GET", cloud.link(made["id"])).body == path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(CloudError, match="empty"):
        publish(cloud.site, path, "thermo", "1.0.1", any_file=True)


def test_sizes_around_a_chunk(cloud):
    for number, size in enumerate((1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES)):
        path = cloud.folder / "file"
        path.write_bytes(bytes([number]) * size)
        seen = []
        made, new = publish(cloud.site, path, "thermo", "1.0.%d" % number, any_file=True, progress=seen.append)
        assert made["size"] == sum(seen) == size and max(seen) <= CHUNK_BYTES
        assert call(cloud.app, "GET", cloud.link(made["id"])).body == path.read_bytes()


def test_invalid_versions_are_refused(cloud):
    for version in ("", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0 ", "latest"):
        with pytest.raises(CloudError, match="SemVer"):
            cloud.publish(version)
    with pytest.raises(CloudError, match="ioto product new"):
        cloud.publish("1.0.0", product="nobody")
    with pytest.raises(CloudError, match="no-such-file"):
        publish(cloud.site, cloud.folder / "no-such-file", "thermo", "1.0.0")


def test_a_version_never_changes(cloud):
    first, other = esp_image(b"first"), esp_image(b"other")
    made = cloud.publish("1.0.0", first)
    for version, image in itertools.product(("1.0.0", "1.0.0+build", "1.0.0+other"), (first, other)):
        if (version, image) == ("1.0.0", first):
            assert cloud.publish(version, image)["id"] == made["id"]
            continue
        with pytest.raises(CloudError, match="never changes"):
            cloud.publish(version, image)
    assert [update["version"] for update in overview.updates(cloud.site)] == ["1.0.0"]
    assert len(cloud.kind.images(cloud.site)) == 1
    cloud.publish("1.0.1", first)  # the same content under two versions is stored once
    assert len(cloud.kind.images(cloud.site)) == 1


def test_duplicate_and_invalid_products_are_refused(cloud):
    for name, id in (
        ("thermo", None),
        ("other", "PRODUCT7"),
        ("", None),
        ("a b", None),
        ("ü", None),
        ("x", "y z"),
        ("x" * 65, None),
    ):
        with pytest.raises(CloudError, match="product"):
            new_product(cloud.site, name, id)
    assert [product["name"] for product in overview.products(cloud.site)] == ["thermo"]


@pytest.mark.sweep
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.sweep)], ids=["every-fifth", "every"])
def test_kill_at_every_line_of_a_publish(tmp_path, step):
    """The process is killed at every `step`-th line, and at each of the last lines, which follow the commit."""
    cloud = Cloud(tmp_path)
    old = cloud.publish("1.0.0", esp_image(b"old"))
    site, folder, template = cloud.site, tmp_path / "site", tmp_path / "template"
    site.close()  # closes the site's files; each run opens them again
    shutil.copytree(folder, template)
    image = tmp_path / "new.bin"
    image.write_bytes(esp_image(b"new", 3000))

    def killed(lines):
        """None if publishing finished before the kill; otherwise, whether the release is visible."""
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        if not in_child(lambda: publish(site, image, "thermo", "2.0.0"), lines):
            return None
        found = published_completely(site, image, old, "killed before line %d" % lines)
        site.close()
        return found

    seen = list(itertools.takewhile(lambda found: found is not None, map(killed, itertools.count(1, step))))
    end = 1 + step * len(seen)
    seen += [found for found in map(killed, range(end - 2 * step, end)) if found is not None]
    assert len(seen) > 80 // step and 0 < sum(seen) < len(seen)


def published_completely(site, image, old, when):
    """After the kill, the update is published completely or not at all, and publishing it again succeeds.

    Return whether it was published.
    """
    found = overview.updates(site)
    assert found[-1]["update"] == old["id"], when
    if len(found) == 1:
        assert publish(site, image, "thermo", "2.0.0")[1], when
    assert content(site, overview.updates(site)[0]["update"]) == image.read_bytes(), when
    return len(found) == 2


def content(site, update):
    query = parse_qs(site.links.path(update).partition("?")[2])
    file, _ = registration.open_image(site, update, None, query["expires"][0], query["signature"][0])
    with file:
        return file.read()


@pytest.mark.sweep
@pytest.mark.parametrize(
    "end", (pytest.param(signal.SIGKILL, marks=pytest.mark.sweep), signal.SIGINT), ids=("kill -9", "Ctrl-C")
)
def test_interrupted_creation_of_a_site_can_be_repeated(make_site, tmp_path, end):
    """Creating a site and its first product is interrupted at many lines; the same command then succeeds."""

    def make():
        site = make_site(tmp_path / "site")
        new_product(site, "thermo", "P")

    ended = 0
    for lines in itertools.count(1, 14):
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        make_site.settings(tmp_path / "site")
        if not in_child(make, lines, end):
            break
        ended += 1
        site = make_site(tmp_path / "site")
        if not overview.products(site):
            new_product(site, "thermo", "P")
        assert [product["id"] for product in overview.products(site)] == ["P"], lines
        site.close()
    assert ended > 5


def test_a_folder_with_other_files_is_not_changed(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(CloudError, match="--data"):
        Site(tmp_path, make=True)
    with pytest.raises(CloudError, match="--data"):
        Site(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "cloud.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(CloudError, match="cloud.db"):
        Site(tmp_path / "site")


@pytest.fixture
def folder_cloud(tmp_path):
    made = Cloud(tmp_path)
    yield made
    made.close()


def test_publishing_again_replaces_an_open_image_file(folder_cloud):
    cloud = folder_cloud
    release = cloud.publish("1.0.0")
    path = cloud.site.images.path(release["checksum"])
    with open(path, "rb") as reader:
        cloud.publish("1.0.0")
        assert os.fstat(reader.fileno()).st_ino != path.stat().st_ino


def test_commits_are_flushed_to_the_disk(cloud):
    """`synchronous` must be FULL (2): only then does each commit in WAL mode wait for the disk."""

    def said(conn):
        if conn.dialect.name == "postgresql":
            return conn.exec_driver_sql("SHOW synchronous_commit").scalar()
        return [
            conn.exec_driver_sql("PRAGMA " + name).scalar() for name in ("synchronous", "journal_mode", "foreign_keys")
        ]

    assert cloud.site.database.write(said) in ("on", [2, "wal", 1])


def test_temporary_files_of_a_killed_publisher_are_deleted_after_a_day(cloud):
    folder = cloud.site.images.folder
    folder.mkdir(exist_ok=True)
    young, old = folder / ".incoming-1-a", folder / ".incoming-1-b"
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (1_000_000, 1_000_000))
    cloud.publish("1.0.0")
    assert young.exists() and not old.exists()

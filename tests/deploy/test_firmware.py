"""firmware/: its tables equal those of `ioto flash`, its manifest names existing files, and all of them compile."""

import csv
import importlib.util
import re
import runpy
from pathlib import Path

import pytest
from ioto_command import command
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.agent_build import compile_module
from ioto_tools.deploy.device_files import create_folder, device_files
from ioto_tools.deploy.flash_image import choose_layout
from ioto_tools.image import layout, samples

ROOT = Path(__file__).parent.parent.parent
MANIFESTFILE = ROOT / ".build" / "firmware" / "stubber" / "tools" / "manifestfile.py"  # from a wheel
FIRMWARE = ROOT / "firmware"
TYPES = {
    ("data", "nvs"): (1, 2),
    ("data", "ota"): (1, 0),
    ("data", "phy"): (1, 1),
    ("data", "littlefs"): (1, 0x83),
    ("app", "ota_0"): (0, 16),
    ("app", "ota_1"): (0, 17),
}


@pytest.mark.parametrize("mib", [4, 8, 16, 32])
def test_partition_tables_equal_those_of_ioto_flash(mib):
    text = (FIRMWARE / "partitions" / ("%dMiB.csv" % mib)).read_text().splitlines()[1:]
    rows = [
        layout.Partition(*TYPES[kind, subtype], int(address, 0), int(size, 0), label)
        for label, kind, subtype, address, size in csv.reader(text, skipinitialspace=True)
    ]
    assert rows == choose_layout(mib << 20, len(samples.application("generic")))
    page = (ROOT / "docs" / "boards.md").read_text()
    assert "| %d MiB | 0x%X" % (mib, rows[3].size) in page and f"{rows[-1].size:,} bytes |" in page


@pytest.fixture
def device(tmp_path):
    """A folder of `ioto init`, after `ioto freeze`."""
    certificates.make(tmp_path / "tls", ["cloud.test"])
    create_folder(
        tmp_path / "device",
        {"product": "P7", "version": "2.1.0", "builder": "https://cloud.test"},
        [tmp_path / "tls" / "ca.pem"],
    )
    done = command("ioto", "freeze", tmp_path / "device")
    assert done.returncode == 0 and "anyone who has the firmware image can read these files" in done.stderr, done.stderr
    return tmp_path / "device"


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """manifest(device): {path: file} that MicroPython's manifestfile.py reads from firmware/manifest.py."""
    port = tmp_path / "micropython" / "ports" / "esp32"
    (port / "modules").mkdir(parents=True)
    (port / "boards").mkdir()
    for name in ("_boot.py", "flashbdev.py", "inisetup.py"):
        (port / "modules" / name).write_text("# the port's\n")
    (port / "boards" / "manifest.py").write_text('freeze("$(PORT_DIR)/modules")\n')
    spec = importlib.util.spec_from_file_location("manifestfile", MANIFESTFILE)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)

    def read(device):
        monkeypatch.setenv("IOTO_DEVICE", str(device))
        made = theirs.ManifestFile(
            theirs.MODE_FREEZE, {"PORT_DIR": str(port), "MPY_DIR": str(tmp_path / "micropython")}
        )
        made.execute(str(FIRMWARE / "manifest.py"))
        names = [each.target_path for each in made.files()]
        assert len(names) == len(set(names)), "mpy-tool refuses two files with the same name"
        assert all(each.kind == theirs.KIND_FREEZE_AS_MPY for each in made.files())
        return {each.target_path: Path(each.full_path) for each in made.files()}

    read.error = theirs.ManifestFileError
    return read


@pytest.mark.sweep
def test_manifest_freezes_the_agent_and_the_device(manifest, device):
    found = manifest(device)
    ours = {"ioto/" + path.name: path for path in (ROOT / "lib" / "ioto").glob("*.py")}
    ours.update(
        {name: device / name for name in ("boot.py", "main.py", "ioto_build.py")}, **{"_boot.py": FIRMWARE / "_boot.py"}
    )
    assert {name: path for name, path in found.items() if name in ours} == ours
    assert {name for name in found if name not in ours} == {"flashbdev.py", "inisetup.py"}
    for name, path in ours.items():
        assert compile_module(path.read_text(), name)[:1] == b"M", name


def test_manifest_without_a_device_is_an_error(manifest, device, tmp_path):
    for wrong in ("", "relative", tmp_path):
        with pytest.raises(
            manifest.error, match="IOTO_DEVICE=.*: not a folder with ioto_build.py: run `ioto freeze FOLDER`"
        ):
            manifest(wrong)


@pytest.mark.sweep
def test_files_that_are_frozen_of_a_device(device, tmp_path):
    made = runpy.run_path(device / "ioto_build.py")
    assert (made["PRODUCT"], made["VERSION"]) == ("P7", "2.1.0")
    assert made["FILES"] == {name: (device / name).read_bytes() for name in ("ca.pem", "device.json", "ioto.json")}
    assert "ioto_build.py" not in device_files(device)  # a file of that name would replace the frozen one
    command("ioto", "freeze", device)  # the second output does not contain the first one
    assert runpy.run_path(device / "ioto_build.py")["FILES"] == made["FILES"]
    (device / "ca.pem").unlink()
    told = command("ioto", "freeze", device)
    assert told.returncode == 1 and "ioto.json: tls.ca" in told.stderr


@pytest.mark.parametrize("board", sorted(path.name for path in (FIRMWARE / "boards").iterdir() if path.is_dir()))
def test_a_board_definition_names_existing_files(board):
    board = FIRMWARE / "boards" / board
    cmake = (board / "mpconfigboard.cmake").read_text()
    named = re.findall(r"MICROPY_BOARD_DIR\}/(\S+?)\)?$", cmake, re.M)
    assert named == ["../sdkconfig.ioto", "sdkconfig.board", "../../manifest.py"] and all(
        (board / name).exists() for name in named
    )
    assert re.search(r'MICROPY_HW_MCU_NAME "ESP32', (board / "mpconfigboard.h").read_text())
    config = (board / "../sdkconfig.ioto").read_text() + (board / "sdkconfig.board").read_text()
    table = re.search(r'FILENAME="\$\{MICROPY_BOARD_DIR\}/(.+)"', config)[1]
    assert (board / table).exists() and "ROLLBACK_ENABLE=y" in config
    assert "FLASHSIZE_%sMB=y" % re.search(r"(\d+)MiB", table)[1] in config

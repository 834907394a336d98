"""firmware/: its tables are those of `ioto flash`, its manifest names what is there, and all of it compiles."""

import csv
import re
from pathlib import Path

import pytest
from ioto_tools.board import layout
from ioto_tools.deploy.compiled import compiled
from ioto_tools.deploy.flash_image import rows_for
from ioto_tools.image import samples

ROOT = Path(__file__).parent.parent.parent
FIRMWARE = ROOT / "firmware"
TYPES = {("data", "nvs"): (1, 2), ("data", "ota"): (1, 0), ("data", "phy"): (1, 1), ("data", "littlefs"): (1, 0x83), ("app", "ota_0"): (0, 16), ("app", "ota_1"): (0, 17)}


@pytest.mark.parametrize("mib", [4, 8, 16, 32])
def test_tables(mib):
    text = (FIRMWARE / "partitions" / ("%dMiB.csv" % mib)).read_text().splitlines()[1:]
    rows = [
        layout.Partition(*TYPES[kind, subtype], int(address, 0), int(size, 0), label)
        for label, kind, subtype, address, size in csv.reader(text, skipinitialspace=True)
    ]
    assert rows == rows_for(mib << 20, len(samples.application("generic")))
    page = (ROOT / "docs" / "boards.md").read_text()
    assert "| %d MiB | 0x%X" % (mib, rows[3].size) in page and "{:,} bytes |".format(rows[-1].size) in page


class Manifest:
    """MicroPython's manifest functions (docs: reference/manifest), as far as ours uses them."""

    def __init__(self):
        self.included, self.frozen = [], {}

    def include(self, path):
        self.included.append(path)

    def package(self, name, base_path, opt):
        for file in sorted((FIRMWARE / base_path / name).glob("*.py")):
            self.frozen["%s/%s" % (name, file.name)] = (file, opt)

    def module(self, name, base_path, opt):
        self.frozen[name] = (FIRMWARE / base_path / name, opt)


def test_manifest():
    manifest = Manifest()
    names = {n: getattr(manifest, n) for n in ("include", "package", "module")}
    exec(compile((FIRMWARE / "manifest.py").read_text(), "manifest.py", "exec"), names)
    assert manifest.included == ["$(PORT_DIR)/boards/manifest.py"]
    assert {"ioto/agent.py", "ioto/start.py", "boot.py"} <= set(manifest.frozen)
    assert len(manifest.frozen) == len(list((ROOT / "lib" / "ioto").glob("*.py"))) + 1
    for name, (file, opt) in manifest.frozen.items():
        assert compiled(file.read_text(), name, opt)[:1] == b"M", name


def test_the_board_definition_names_what_is_there():
    board = FIRMWARE / "boards" / "IOTO_ESP32"
    assert (board / re.search(r"MICROPY_BOARD_DIR\}/(\.\./\.\./manifest\.py)", (board / "mpconfigboard.cmake").read_text())[1]).exists()
    config = (board / "sdkconfig.board").read_text()
    assert (board / re.search(r'FILENAME="\$\{MICROPY_BOARD_DIR\}/(.+)"', config)[1]).exists()
    assert "ROLLBACK_ENABLE=y" in config

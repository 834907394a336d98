"""Flashing an empty board, one with stock MicroPython, and one with the agent; refused boards are not written to."""

import subprocess
import sys
from pathlib import Path

import pytest
from fake_loader import FakeLoader
from ioto_tools.deploy.flashing import plan, write
from ioto_tools.deploy.rom_loader import Loader, parse_protections
from ioto_tools.image import esp, layout
from ioto_tools.image.firmware import FLASH_SIZES, parse
from ioto_tools.virtual_board import Board
from ioto_tools.virtual_board import file_system as littlefs
from stock_firmware import merged

BIN = Path(sys.executable).parent
FLASH = 4 << 20
MINE = {
    "notes.txt": b"mine",
    "main.py": b"print('mine')\n",
    "data/log.csv": b"1,2\n",
    "state/provision.json": b'{"token": "t"}',
}


def stock_board(files=MINE, nvs=b"\xfe" * 4096):
    """A board with stock MicroPython, and files of its user."""
    chip = FakeLoader(b"\xff" * FLASH)
    raw = merged("ESP32")
    chip.data[0x1000 : 0x1000 + len(raw)] = raw
    chip.data[0x9000 : 0x9000 + len(nvs)] = nvs
    vfs = littlefs.build_image(files, 0x200000)
    chip.data[0x200000:0x400000] = vfs
    return chip


def files_of(chip, made):
    vfs = made.image.partition("vfs")
    return littlefs.read_image(chip.read(vfs.address, vfs.size))


def refused(chip, files, words, **options):
    before = bytes(chip.data)
    with pytest.raises(ValueError, match=words):
        plan(chip, parse(merged("ESP32")), files, **options)
    assert bytes(chip.data) == before and not chip.writes


def test_flashing_an_empty_board(files):
    chip = FakeLoader(b"\xff" * FLASH)
    made = plan(chip, parse(merged("ESP32")), files)
    assert not chip.writes and any("nothing to keep" in line for line in made.lines())
    assert any("a release may grow by 194208" in line for line in made.lines())
    write(chip, made)
    assert bytes(chip.data) == made.image.to_bytes()


def test_a_board_in_use_keeps_its_nvs_and_its_files(files):
    chip = stock_board()
    made = plan(chip, parse(merged("ESP32")), files)
    assert made.kept == ["data/log.csv", "notes.txt", "state/provision.json"] and made.replaced == ["main.py"]
    assert "replace files: main.py" in list(made.lines())
    write(chip, made)
    assert files_of(chip, made) == {**MINE, **files}
    assert chip.read(0x9000, 4096) == b"\xfe" * 4096
    assert layout.parse(chip.read(0x8000, 0xC00)) == layout.ota(FLASH, 0x1C0000)


def part(kind, subtype, address, size, label):
    return layout.Partition(kind, subtype, address, size, label)


HEAD = layout.stock()[:2]  # nvs, phy_init
# Layouts of MicroPython's tables (ports/esp32/partitions-*.csv and boards/): rows, address of the files, flash size.
LAYOUTS = {
    "1.25": (layout.stock(), 0x200000, FLASH),
    "1.25-ota": (layout.ota(FLASH, 0x180000), 0x310000, FLASH),
    "1.27": ([*HEAD, part(0, 0, 0x10000, 0x210000, "factory")], 0x220000, FLASH),
    "1.27-8MiB": ([*HEAD, part(0, 0, 0x10000, 0x210000, "factory")], 0x220000, 8 << 20),
    "1.27-ota": (layout.ota(FLASH, 0x180000)[:-1], 0x310000, FLASH),
    "1.27-romfs": ([*HEAD, part(0, 0, 0x10000, 0x1D0000, "factory"), part(1, 0x8F, 0x1E0000, 0x20000, "romfs")],
    0x200000, FLASH),
    "tinyuf2": (
        [part(1, 2, 0x9000, 0x5000, "nvs"), part(1, 0, 0xE000, 0x2000, "otadata"), part(0, 16, 0x10000, 0x180000,
            "ota_0"),
         part(0, 17, 0x190000, 0x180000, "ota_1"), part(0, 0, 0x310000, 0x40000, "uf2"), part(1, 0x81, 0x350000,
         0xB0000, "ffat")],
        0x350000, FLASH,
    ),
}  # fmt: skip
FAT = """
import sys, vfs
class Disk:
    raw = bytearray(int(sys.argv[2]))
    def readblocks(self, n, buf):
        buf[:] = self.raw[n * 512 : n * 512 + len(buf)]
    def writeblocks(self, n, buf):
        self.raw[n * 512 : n * 512 + len(buf)] = buf
    def ioctl(self, op, arg):
        return {4: len(self.raw) // 512, 5: 512}.get(op, 0)
disk = Disk()
vfs.VfsFat.mkfs(disk)
fs = vfs.VfsFat(disk)
for name, raw in eval(sys.argv[3]).items():
    if "/" in name:
        fs.mkdir(name.split("/")[0])
    with fs.open(name, "wb") as f:
        f.write(raw)
fs.umount()
with open(sys.argv[1], "wb") as f:
    f.write(disk.raw)
"""


def fat(folder, files, size):
    """The bytes of a FAT file system, written by MicroPython's driver."""
    (folder / "fat.py").write_text(FAT)
    words = [BIN / "micropython", "-X", "heapsize=8m", folder / "fat.py", folder / "fat", size, files]
    subprocess.run([str(word) for word in words], check=True)
    return (folder / "fat").read_bytes()


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_are_kept_wherever_micropython_has_them(tmp_path, files, name):
    rows, at, size = LAYOUTS[name]
    chip = FakeLoader(b"\xff" * size)
    raw = merged("ESP32")
    chip.data[0x1000 : 0x1000 + len(raw)] = raw
    chip.data[0x8000:0x8C00] = layout.build(rows)
    end = next((p.address + p.size for p in rows if p.address == at), size)
    chip.data[at:end] = fat(tmp_path, MINE, end - at) if name == "tinyuf2" else littlefs.build_image(MINE, end - at)
    made = plan(chip, parse(raw), files)
    assert made.kept == ["data/log.csv", "notes.txt", "state/provision.json"] and made.replaced == ["main.py"]
    write(chip, made)
    assert files_of(chip, made) == {**MINE, **files}


@pytest.mark.parametrize("name", ["1.27", "tinyuf2"])
def test_a_dump_of_such_a_board_runs_as_a_virtual_board(tmp_path, name):
    """The board has littlefs after the last partition, or FAT in `ffat`."""
    rows, at, size = LAYOUTS[name]
    main = {
        "main.py": b"import os\nfrom esp32 import Partition\nopen('new', 'w').close()\nprint(sorted(os.listdir()), "
        b"Partition.find(1, label='vfs'))\n"
    }
    image = {next(p.label for p in rows if p.type == layout.APP): esp.make_image(8192, "app")}
    board = Board.create(tmp_path / "b.flash", image, main if name == "1.27" else {}, size, rows=rows)
    if name == "tinyuf2":
        board.flash.data[at:size] = fat(tmp_path, main, size - at)
    told = board.run(until_s=5).console
    assert told.startswith("['main.py', 'new'] [") and ("label=vfs" in told) == (name == "1.27"), told
    assert board.files() == {**main, "new": b""}


def test_partitions_that_would_be_lost_are_listed(tmp_path, files):
    rows, at, size = LAYOUTS["1.27-romfs"]
    chip = stock_board()
    more = [*rows, part(1, 0x82, 0x200000, 0x10000, "second"), part(0x40, 0, 0x210000, 0x1000, "own")]
    chip.data[0x8000:0x8C00] = layout.build(more)
    chip.data[0x1E0000 : 0x1E0000 + 3] = b"rom"
    chip.data[0x200000:] = b"\xff" * 0x11000 + littlefs.build_image(MINE, FLASH - 0x211000)
    told = [line for line in plan(chip, parse(merged("ESP32")), files).lines() if line.startswith("lose")]
    assert [line.split()[1] for line in told] == ["0x1e0000", "0x200000", "0x210000"], told
    assert (
        "romfs: the new table has no such partition; read it out first" in told[0]
        and "(it seems to be empty)" in told[1]
    )
    assert not [line for line in plan(stock_board(), parse(merged("ESP32")), files).lines() if line.startswith("lose")]
    uf2 = stock_board()
    uf2.data[0x8000:0x8C00] = layout.build(LAYOUTS["tinyuf2"][0])
    uf2.data[0x350000:0x400000] = b"\xff" * 0xB0000
    assert [
        line.split()[4] for line in plan(uf2, parse(merged("ESP32")), files).lines() if line.startswith("lose")
    ] == ["uf2:"]


def test_flashing_again_changes_only_new_files(files):
    chip = stock_board({})
    write(chip, plan(chip, parse(merged("ESP32")), files))
    before = bytes(chip.data)
    made = plan(chip, parse(merged("ESP32")), files)
    assert made.replaced == []
    write(chip, made)
    assert bytes(chip.data) == before
    made = plan(chip, parse(merged("ESP32")), {**files, "main.py": b"print('new')\n"})
    assert made.replaced == ["main.py"]


def test_erase_keeps_nothing(files):
    chip = stock_board()
    made = plan(chip, parse(merged("ESP32")), files, erase=True)
    assert made.kept == [] and "erase everything else on the chip" in list(made.lines())
    write(chip, made)
    assert bytes(chip.data) == made.image.to_bytes()


def test_a_larger_flash_gets_larger_slots(files):
    chip = FakeLoader(b"\xff" * (16 << 20))
    made = plan(chip, parse(merged("ESP32")), files)
    assert made.image.flash_bytes == 16 << 20 and made.image.partition("ota_0").size == 0x270000
    assert plan(chip, parse(merged("ESP32")), files, flash_bytes=FLASH_SIZES["4M"]).image.flash_bytes == 4 << 20


def test_boards_that_are_refused_are_not_written_to(files):
    refused(FakeLoader(b"\xff" * FLASH, number=9), files, "ESP32-S3, the firmware is for ESP32")
    refused(FakeLoader(b"\xff" * FLASH, protected=["flash encryption"]), files, "has flash encryption enabled")
    refused(FakeLoader(b"\xff" * FLASH, protected=["secure boot"]), files, "has secure boot enabled")
    refused(FakeLoader(b"\xff" * (2 << 20)), files, "two slots of 0x1a0000 bytes leave nothing of 2M")
    refused(FakeLoader(b"\xff" * FLASH), files, "more than the 4 MiB", flash_bytes=8 << 20)
    refused(stock_board(nvs=b"\xfe" * 0x5000), files, "NVS uses more than the 0x4000 bytes")
    refused(stock_board({**MINE, "big.bin": bytes(700000)}), files, "does not fit")


FUSES = {"esp32": ("FLASH_CRYPT_CNT", "ABS_DONE_0", "ABS_DONE_1")}
OTHERS = ("SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN")
CHIPS = ["esp32"] + [
    pytest.param(name, marks=pytest.mark.sweep)
    for name in ("esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32p4")
]


@pytest.mark.sweep
@pytest.mark.parametrize("chip", CHIPS)
def test_protections_agree_with_espefuse(tmp_path, chip):
    """Compared with espefuse's virtual chip: first only flash encryption is on, then only secure boot.

    Flash encryption is off if an even number of bits in its counter is set.
    """

    def espefuse(*words):
        command = [
            sys.executable,
            "-m",
            "espefuse",
            "--chip",
            chip,
            "--virt",
            "--path-efuse-file",
            tmp_path / "fuses",
            "--do-not-confirm",
        ]
        return subprocess.run(
            [str(word) for word in [*command, *words]], capture_output=True, text=True, check=True
        ).stdout

    def found():
        return parse_protections(espefuse("summary", "--format", "json"))

    crypt, *boot = FUSES.get(chip, OTHERS)
    espefuse("burn-efuse", crypt, "1")
    assert found() == ["flash encryption"]
    espefuse("burn-efuse", crypt, "3", boot[-1], "1")
    assert found() == ["secure boot"]


def test_a_board_whose_files_cannot_be_kept_is_refused(files):
    torn = stock_board()
    torn.data[0x200000:0x400000] = b"\xeb\xfe\x90MSDOS5.0\0\x02".ljust(510, b"\0") + b"\x55\xaa" + bytes(0x1FFE00)
    refused(
        torn,
        files,
        "the FAT file system can't be read: OSError: .*ENODEV .*, so its files can't be kept .* --erase discards",
    )
    foreign = stock_board()
    foreign.data[0x200000:0x400000] = b"\xeb\xfe\x90".ljust(0x200000, b"\0")
    refused(
        foreign,
        files,
        r"neither littlefs nor FAT: .* \(`vfs`, 0x200000\), so its files can't be kept .* --erase discards everything",
    )
    torn = stock_board()
    torn.data[0x8000:0x8020] = bytes(32)
    refused(torn, files, "partition table: .* --erase discards everything")
    moved = stock_board()
    rows = [layout.Partition(1, 2, 0xA000, 0x4000, "nvs")] + layout.stock()[1:]
    moved.data[0x8000:0x8C00] = layout.build(rows)
    refused(moved, files, "NVS is at 0xa000")
    bare = stock_board()
    bare.data[0x8000:0x8C00] = layout.build(
        layout.stock()[:2]
    )  # MicroPython would look for files after phy_init, where the firmware is
    refused(bare, files, "neither littlefs nor FAT")


@pytest.fixture
def rom():
    """A simulated ROM loader behind a socket, for esptool."""
    bootloader = pytest.importorskip("esp32_mock_bootloader")
    with bootloader.mock_bootloader("esp32") as handle:
        yield handle.url()


def ioto_flash(firmware, folder, port, *words, answer=""):
    command = [BIN / "ioto", "flash", firmware, folder, "--port", port, "--no-stub", "--before", "no-reset", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, input=answer)


@pytest.mark.sweep
def test_flashing_through_esptool(tmp_path, folder, rom):
    """The test does everything except writing the whole flash, which tests/docs/test_readme_own_board.py does."""
    stock = tmp_path / "stock.bin"
    stock.write_bytes(merged("ESP32"))
    looked = ioto_flash(stock, folder, rom, "--dry-run")
    assert looked.returncode == 0 and "nothing was written" in looked.stdout, looked.stderr
    said_no = ioto_flash(stock, folder, rom, answer="n\n")
    assert (
        said_no.returncode == 1
        and "use --yes to continue without asking. Nothing was changed" in said_no.stderr
        and "Aborted" not in said_no.stderr
    )
    assert "use --yes" in ioto_flash(stock, folder, rom).stderr  # no input
    loader = Loader(rom, stub=False, before="no-reset")
    assert loader.read(layout.TABLE, 0xC00) == b"\xff" * 0xC00  # nothing has been written so far
    table = layout.build(layout.ota(FLASH))
    loader.write([(layout.TABLE, table), (0xD000, b"otadata")])
    assert loader.read(layout.TABLE, 0xC00) == table and loader.read(0xD000, 8) == b"otadata\xff"
    assert loader.identify() == (0, FLASH) and loader.protections() == []


@pytest.mark.sweep
def test_a_port_without_a_chip_is_an_error(tmp_path, folder):
    stock = tmp_path / "stock.bin"
    stock.write_bytes(merged("ESP32"))
    for port, words in (
        ("/dev/ttyNOWHERE", "there is no such port: is the board plugged in?"),
        ("socket://127.0.0.1:1", "Connection refused"),
    ):
        told = ioto_flash(stock, folder, port, "--yes")
        assert told.returncode == 1 and told.stderr.startswith("ioto flash: %s: " % port) and words in told.stderr, (
            told.stderr
        )

"""Onto a board: an empty one, one with stock MicroPython in use, one of ours; what must not be written to is not."""

import subprocess
import sys
from pathlib import Path

import pytest
from chip import Chip
from ioto_tools.board import files as littlefs
from ioto_tools.board import layout
from ioto_tools.deploy.device_files import device_files
from ioto_tools.deploy.flashing import carry_out, plan
from ioto_tools.deploy.loader import Loader, protected
from ioto_tools.image.firmware import FLASH_SIZES, parse
from stock import merged

FLASH = 4 << 20
MINE = {"notes.txt": b"mine", "main.py": b"print('mine')\n", "data/log.csv": b"1,2\n", "state/provision.json": b'{"token": "t"}'}


def stock_board(files=MINE, nvs=b"\xfe" * 4096):
    """A board with stock MicroPython on it, used for a while."""
    chip = Chip(b"\xff" * FLASH)
    raw = merged("ESP32")
    chip.data[0x1000 : 0x1000 + len(raw)] = raw
    chip.data[0x9000 : 0x9000 + len(nvs)] = nvs
    vfs = littlefs.build(files, 0x200000)
    chip.data[0x200000:0x400000] = vfs
    return chip


def files_of(chip, made):
    vfs = made.image.partition("vfs")
    return littlefs.read(chip.read(vfs.address, vfs.size))


def refused(chip, files, words, **options):
    before = bytes(chip.data)
    with pytest.raises(ValueError, match=words):
        plan(chip, parse(merged("ESP32")), files, **options)
    assert bytes(chip.data) == before and not chip.writes


def test_an_empty_board(files):
    chip = Chip(b"\xff" * FLASH)
    made = plan(chip, parse(merged("ESP32")), files)
    assert not chip.writes and any("nothing to keep" in line for line in made.lines())
    carry_out(chip, made)
    assert bytes(chip.data) == made.image.whole()


def test_a_board_in_use_keeps_its_nvs_and_its_files(files):
    chip = stock_board()
    made = plan(chip, parse(merged("ESP32")), files)
    assert made.kept == ["data/log.csv", "notes.txt", "state/provision.json"] and made.replaced == ["main.py"]
    assert "replace files: main.py" in list(made.lines())
    carry_out(chip, made)
    assert files_of(chip, made) == {**MINE, **files}
    assert chip.read(0x9000, 4096) == b"\xfe" * 4096
    assert layout.parse(chip.read(0x8000, 0xC00)) == layout.ota(FLASH)


def test_again_changes_nothing_but_what_is_new(files):
    chip = stock_board({})
    carry_out(chip, plan(chip, parse(merged("ESP32")), files))
    before = bytes(chip.data)
    made = plan(chip, parse(merged("ESP32")), files)
    assert made.replaced == []
    carry_out(chip, made)
    assert bytes(chip.data) == before
    made = plan(chip, parse(merged("ESP32")), {**files, "main.py": b"print('new')\n"})
    assert made.replaced == ["main.py"]


def test_erase_forgets_everything(files):
    chip = stock_board()
    made = plan(chip, parse(merged("ESP32")), files, erase=True)
    assert made.kept == [] and "erase everything else on the chip" in list(made.lines())
    carry_out(chip, made)
    assert bytes(chip.data) == made.image.whole()


def test_a_larger_flash_gets_larger_slots(files):
    chip = Chip(b"\xff" * (16 << 20))
    made = plan(chip, parse(merged("ESP32")), files)
    assert made.image.flash_bytes == 16 << 20 and made.image.partition("ota_0").size == 0x270000
    assert plan(chip, parse(merged("ESP32")), files, flash_bytes=FLASH_SIZES["4M"]).image.flash_bytes == 4 << 20


def test_boards_that_are_not_written_to(files):
    refused(Chip(b"\xff" * FLASH, number=9), files, "ESP32-S3, the firmware is for ESP32")
    refused(Chip(b"\xff" * FLASH, protected=["flash encryption"]), files, "has flash encryption on")
    refused(Chip(b"\xff" * FLASH, protected=["secure boot"]), files, "has secure boot on")
    refused(Chip(b"\xff" * (2 << 20)), files, "two slots of 0x1a0000 bytes leave nothing of 2M")
    refused(Chip(b"\xff" * FLASH), files, "more than the 4 MiB", flash_bytes=8 << 20)
    refused(stock_board(nvs=b"\xfe" * 0x5000), files, "NVS uses more than the 0x4000 bytes")
    refused(stock_board({**MINE, "big.bin": bytes(700000)}), files, "does not fit")


FUSES = {"esp32": ("FLASH_CRYPT_CNT", "ABS_DONE_0", "ABS_DONE_1")}
OTHERS = ("SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN")
CHIPS = ["esp32"] + [pytest.param(name, marks=pytest.mark.sweep) for name in ("esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c6")]


@pytest.mark.parametrize("chip", CHIPS)
def test_protections_are_what_espefuse_says(tmp_path, chip):
    """Its own virtual chip: one fuse, then all; the counter of flash encryption switches it off again at an even number of bits."""

    def espefuse(*words):
        command = [sys.executable, "-m", "espefuse", "--chip", chip, "--virt", "--path-efuse-file", tmp_path / "fuses", "--do-not-confirm"]
        return subprocess.run([str(word) for word in [*command, *words]], capture_output=True, text=True, check=True).stdout

    def found():
        return protected(espefuse("summary", "--format", "json"))

    crypt, *boot = FUSES.get(chip, OTHERS)
    espefuse("burn-efuse", crypt, "1")
    assert found() == ["flash encryption"]
    espefuse("burn-efuse", crypt, "3", boot[-1], "1")
    assert found() == ["secure boot"]


def test_what_can_not_be_kept_is_not_lost_in_silence(files):
    fat = stock_board()
    fat.data[0x200000:0x400000] = b"\xeb\xfe\x90MSDOS5.0".ljust(0x200000, b"\0")
    refused(fat, files, "no littlefs: .*, so its files can't be kept .* --erase begins anew")
    torn = stock_board()
    torn.data[0x8000:0x8020] = bytes(32)
    refused(torn, files, "partition table: .* --erase begins anew")
    moved = stock_board()
    rows = [layout.Partition(1, 2, 0xA000, 0x4000, "nvs")] + layout.stock()[1:]
    moved.data[0x8000:0x8C00] = layout.build(rows)
    refused(moved, files, "its NVS lies at 0xa000")
    bare = stock_board()
    bare.data[0x8000:0x8C00] = layout.build(layout.stock()[:3])
    refused(bare, files, "names no file system")


@pytest.fixture
def rom():
    """esptool's other end: a ROM loader behind a socket."""
    bootloader = pytest.importorskip("esp32_mock_bootloader")
    with bootloader.mock_bootloader("esp32") as handle:
        yield handle.url()


def ioto_flash(firmware, folder, port, *words, answer=""):
    command = [Path(sys.executable).parent / "ioto", "flash", firmware, folder, "--port", port, "--no-stub", "--before", "no-reset", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, input=answer)


def test_through_esptool_itself(tmp_path, folder, rom):
    """All but the whole flash, which tests/docs/test_own_board.py writes."""
    stock = tmp_path / "stock.bin"
    stock.write_bytes(merged("ESP32"))
    looked = ioto_flash(stock, folder, rom, "--dry-run")
    assert looked.returncode == 0 and "nothing was written" in looked.stdout, looked.stderr
    said_no = ioto_flash(stock, folder, rom, answer="n\n")
    assert said_no.returncode == 1 and "Aborted" in said_no.stderr
    loader = Loader(rom, stub=False, before="no-reset")
    assert loader.read(layout.TABLE, 0xC00) == b"\xff" * 0xC00  # so far nothing was
    table = layout.build(layout.ota(FLASH))
    loader.write([(layout.TABLE, table), (0xD000, b"otadata")])
    assert loader.read(layout.TABLE, 0xC00) == table and loader.read(0xD000, 8) == b"otadata\xff"
    assert loader.identify() == (0, FLASH) and loader.protections() == []


def test_a_port_where_nobody_is(tmp_path, folder):
    stock = tmp_path / "stock.bin"
    stock.write_bytes(merged("ESP32"))
    for port in ("/dev/ttyNOWHERE", "socket://127.0.0.1:1"):
        told = ioto_flash(stock, folder, port, "--yes")
        assert told.returncode == 1 and told.stderr.startswith("ioto flash: %s: esptool failed" % port), told.stderr


def test_device_files_are_the_agents(folder):
    assert "lib/ioto/start.mpy" in device_files(folder) and "lib/ioto/agent.py" in device_files(folder, source=True)

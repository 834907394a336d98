"""Fixtures: a virtual board in a separate process, with a serial port that real programs open."""

import pytest


@pytest.fixture
def folder(tmp_path):
    from ioto_tools.deploy.device_files import create_folder

    create_folder(
        tmp_path / "device", {"product": "P1", "builder": "http://cloud.test", "tls.plain": True, "ntp.server": ""}
    )
    return tmp_path / "device"


@pytest.fixture
def flash(tmp_path, folder):
    """A small flash file with the files that `ioto flash` would write."""
    from ioto_tools.deploy.device_files import device_files
    from ioto_tools.image import esp
    from ioto_tools.virtual_board import Board

    path = tmp_path / "board.flash"
    board = Board.create(
        path, esp.make_image(8192, "hello"), device_files(folder), flash_bytes=1 << 20, slot_bytes=0x10000
    )
    board.set_otadata("1/VALID -")
    board.close()
    return path


@pytest.fixture
def port(flash):
    """Path of the serial port of a running board."""
    from ioto_command import board

    with board(flash) as path:
        yield path

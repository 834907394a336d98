"""Fixtures; stock_firmware.py and fake_loader.py of this folder can be imported by its tests."""

import pytest


@pytest.fixture
def folder(tmp_path):
    """A folder of `ioto init`."""
    from ioto_tools.deploy.device_files import create_folder

    create_folder(tmp_path / "device", {"product": "P1", "builder": "http://cloud.test", "tls.plain": True})
    return tmp_path / "device"


@pytest.fixture
def files(folder):
    from ioto_tools.deploy.device_files import device_files

    return device_files(folder)

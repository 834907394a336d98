"""Fixtures; the tests can also import stock_firmware.py and fake_loader.py of tests/support."""

import pytest


@pytest.fixture
def folder(tmp_path):
    """A folder as `ioto init` creates it."""
    from ioto_tools.deploy.device_files import create_folder

    create_folder(tmp_path / "device", {"product": "P1", "builder": "http://cloud.test", "tls.plain": True})
    return tmp_path / "device"


@pytest.fixture
def files(folder):
    from ioto_tools.deploy.device_files import device_files

    return device_files(folder)

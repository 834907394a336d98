"""Files that do not fit into a file system are refused, whatever their size."""

import gc

import pytest
from ioto_tools.virtual_board import file_system

SIZE = 64 * 1024


@pytest.mark.sweep
@pytest.mark.parametrize("length", [0, 20, 100, 512, 4096])
def test_file_that_does_not_fit_is_refused(length):
    """littlefs reports a small file's lack of space only when the file is closed."""
    files = {"f%d" % n: bytes(length) for n in range(2000)}
    with pytest.raises(ValueError, match=r"^f\d+ \(%d bytes\) does not fit into the file system of 65536 " % length):
        file_system.build_image(files, SIZE)
    gc.collect()  # a file that is closed a second time ends the process


@pytest.mark.parametrize("length", [20, 4096])
def test_refused_change_leaves_the_other_files(length):
    raw, stored = file_system.build_image({"kept": b"kept"}, SIZE), {"kept": b"kept"}
    for n in range(2000):
        try:
            raw = file_system.change_image(raw, {"f%d" % n: bytes(length)})
        except ValueError:
            break
        stored["f%d" % n] = bytes(length)
    assert 5 < len(stored) < 2000 and file_system.read_image(raw) == stored

"""The lock of a flash file while a board runs on it."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from ioto_tools.cli import main
from ioto_tools.image import esp
from ioto_tools.virtual_board import Board


def ioto(*words, status=0):
    done = CliRunner().invoke(main, ["board", *map(str, words)])
    assert done.exit_code == status, done.output
    return done.output


def test_a_second_board_on_the_same_file_is_refused(tmp_path):
    """`show` works meanwhile, and the lock does not outlive a killed board."""
    flash = tmp_path / "b.flash"
    blink = b"import time\nwhile True:\n    print('blink')\n    time.sleep(0.1)\n"
    Board.create(
        flash, esp.make_image(8192, "app"), {"main.py": blink}, flash_bytes=1 << 20, slot_bytes=0x10000
    ).close()
    with subprocess.Popen(
        [Path(sys.executable).parent / "ioto", "board", "run", flash], stdout=subprocess.PIPE, text=True
    ) as first:
        assert "blink" in first.stdout.readline()
        for command in (("run", flash, "--seconds", "1"), ("cut", flash, "--operation", "0", "--seconds", "1")):
            assert "b.flash: another virtual board is running on this flash file: stop that one first" in ioto(
                *command, status=1
            )
        assert "main.py" in ioto("show", flash)
        first.kill()
    assert "blink" in ioto("run", flash, "--simulated", "--seconds", "2")

"""`ioto demo` in real time, with processes of its own: the device cloud, the one that packs, and the board."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from processes import until

ROOT = Path(__file__).parents[2]


@pytest.mark.sweep
def test_ctrl_c_while_the_cloud_packs_leaves_no_process(tmp_path):
    """A terminal sends Ctrl-C to all processes of its foreground group."""
    command = [sys.executable, "-m", "ioto_tools.cli", "demo", "--folder", tmp_path / "demo"]
    demo = subprocess.Popen(
        [*command, "--firmware", ROOT / ".build" / "firmware"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    others = []
    try:
        until(lambda: is_packing(demo.pid), "no process packs")
        until(lambda: len(psutil.Process(demo.pid).children()) > 1, "no board runs")
        others = psutil.Process(demo.pid).children(recursive=True)
        os.killpg(demo.pid, signal.SIGINT)
        assert "stopped;" in demo.communicate(timeout=60)[1] and demo.returncode == 130
        assert not psutil.wait_procs(others, 10)[1]
    finally:
        for each in [*others, demo]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        demo.communicate()


def is_packing(pid):
    """Is a descendant of the process nicer than the process itself?"""
    demo = psutil.Process(pid)
    try:
        return any(each.nice() > demo.nice() for each in demo.children(recursive=True))
    except psutil.NoSuchProcess:  # meanwhile
        return False

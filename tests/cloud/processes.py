"""The processes of a cloud that is served by several."""

import time

import psutil


def workers(process):
    """Ids of those that serve; spawn has one more, which tidies up."""
    return {child.pid for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())}


def until(true, what, within_s=60):
    give_up = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)

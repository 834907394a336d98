"""Helpers for a cloud that several processes serve."""

import time

import psutil


def workers(process):
    """The ids of the worker processes; multiprocessing has another child, its resource tracker."""
    return {child.pid for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())}


def until(true, what, within_s=60):
    give_up = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)

"""100,000 devices in stages: a release of which 3 % fail, then a good one; the counts of each stage are checked."""

import tempfile
from pathlib import Path

from staged_fleet import StagedFleet

from tests.fleet.test_stages import check_stages

DEVICES = 100_000


def main(devices=DEVICES):
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        fleet = StagedFleet(Path(folder), devices)
        check_stages(fleet, 1, lambda text: print("   " + text, flush=True))
        fleet.close()
